"""The story of one run, from the manifest to the scored test set."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console

from conspecific.config.location import options
from conspecific.config.run_directory import RunDirectory
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build
from conspecific.data.check import check_manifest
from conspecific.data.manifest import Manifest
from conspecific.data.splits import split
from conspecific.errors import ConfigError, did_you_mean
from conspecific.evaluation import Evaluator, compare, device_for, references, workers_for
from conspecific.metrics import METRICS
from conspecific.models import Embedder, keep_freed_memory
from conspecific.training.datamodule import Pictures
from conspecific.training.expected import expected_warnings
from conspecific.training.loggers import Guarded
from conspecific.training.module import FineTuner
from conspecific.training.progress import EpochBar
from conspecific.training.record import peak_memory_gb, save_weights, write_json, write_start
from conspecific.training.resume import checkpoint_to_resume, load_checkpoint
from conspecific.training.retrieval import RetrievalCallback
from conspecific.types import EvalResult


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    validation: the references. test: the references and, where something was trained, `model`. epochs: a mapping for
    each. facts: chosen_epoch, minutes, training_minutes, peak_memory_gb.
    """

    config: TrainConfig
    manifest: Manifest
    validation: dict[str, EvalResult]
    test: dict[str, EvalResult]
    epochs: list[dict[str, float]]
    facts: dict[str, Any]

    @property
    def score(self) -> float:
        """The monitored validation metric at the chosen epoch, of the baseline where nothing was trained."""
        metric = self.config.monitor
        return max((epoch[metric] for epoch in self.epochs), default=self.validation["flatten"].metrics[metric])


def train(config: TrainConfig, overrides: Sequence[str], console: Console) -> Outcome | None:
    """Run one configuration into `config.paths.run`. Returns None with `validate=true`, which only tries out."""
    began = time.perf_counter()
    _prepare(config)
    assert config.paths.run is not None, "the caller makes the run directory"
    run, cache = RunDirectory(Path(config.paths.run)), Path(config.paths.cache).expanduser()
    resumed = checkpoint_to_resume(config)
    evaluator = _evaluator(config, cache, console)
    if config.validate:
        _try_everything(config, evaluator)
        return None
    write_start(run, config, overrides, evaluator.fingerprint)
    evaluator.splits.save(run.splits, evaluator.manifest)
    network = config.model["backbone"], config.model["weights"]
    validation = references(evaluator, "val", *network, cache)
    embedder: Embedder | None = None
    facts: dict[str, Any] = {}
    if config.trainer["max_epochs"] != 0:
        embedder, facts = _fit(config, evaluator, validation, run, resumed)
    test = dict(references(evaluator, "test", *network, cache))
    if embedder is not None:
        test |= evaluator.score({"model": embedder}, "test", "Scoring the test pictures")
    for part, results in (("val", validation), ("test", test)):
        for name, result in results.items():
            result.save(run.results / f"{part}_{name}")
    facts |= {"minutes": round((time.perf_counter() - began) / 60, 2), "peak_memory_gb": round(peak_memory_gb(), 2)}
    scores = {"test": {name: dict(result.metrics) for name, result in test.items()}, "gains": _gains(test)}
    write_json(run.summary, facts | _counts(evaluator) | scores)
    return Outcome(config, evaluator.manifest, validation, test, run.read_epochs(), facts)


def _prepare(config: TrainConfig) -> None:
    if config.monitor not in METRICS:
        raise ConfigError(f"monitor={config.monitor} is not a metric. {did_you_mean(config.monitor, METRICS)}")
    for part in ("data", "model", "loss", "optimizer", "trainer"):
        if "_target_" not in getattr(config, part):
            choices = [f"{part}={name}" for name in options(part)]
            raise ConfigError(f"a run needs {part}: choose {' or '.join(choices)}")
    if (epochs := config.trainer.get("max_epochs")) is None or epochs < 0:
        raise ConfigError(f"trainer.max_epochs must be a number of epochs, 0 for the baseline alone; found {epochs}")
    for name in ("lightning.pytorch", "pytorch_lightning", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # what device is used stands in the record
    pl.seed_everything(config.seed, workers=True, verbose=False)
    keep_freed_memory()


def _evaluator(config: TrainConfig, cache: Path, console: Console) -> Evaluator:
    manifest: Manifest = build(config.data)
    fingerprint = check_manifest(manifest, cache)
    splits = split(manifest, config.protocol, seed=config.seed, **vars(config.split))
    loader = config.loader
    device, workers = device_for("auto"), workers_for(loader.workers)
    return Evaluator(manifest, splits, fingerprint, loader.image_size, workers, device, console)


def _gains(test: Mapping[str, EvalResult]) -> dict[str, dict[str, list[float]]]:
    """What the model, or else the pooled reference, has over each of the others.

    Metric -> mean difference, and the ends of its 95 % interval.
    """
    best = "model" if "model" in test else "pooled"
    found = {name: compare(test[best], other) for name, other in test.items() if name != best}
    return {
        name: {change.metric: list(astuple(change.interval)) for change in changes} for name, changes in found.items()
    }


def _counts(evaluator: Evaluator) -> dict[str, Any]:
    manifest, splits = evaluator.manifest, evaluator.splits
    return {
        "data_root": str(manifest.root),
        "pictures": len(manifest),
        "species": len(manifest.species),
        "train": len(splits.train),
        "val": len(splits.val.ids),
        "tested": len(splits.test.ids),
    }


def _fit(
    config: TrainConfig,
    evaluator: Evaluator,
    validation: dict[str, EvalResult],
    run: RunDirectory,
    resumed: Path | None,
) -> tuple[Embedder, dict[str, Any]]:
    """Train, load the best epoch's weights, save them. Returns the embedder and what is to be known of the training."""
    module, pictures = _module(config, evaluator)
    if resumed is not None:
        begun = load_checkpoint(module, resumed)  # Lightning would do it too, without a message for people
        pictures.batches.set_epoch(begun["epoch"] + 1)  # its first batches are fetched before Lightning tells the epoch
    began = time.perf_counter()
    if resumed is None and module.loss.imprinted:
        _imprint(module, config, evaluator)
    trainer = _trainer(config, evaluator, validation, run)
    with expected_warnings():
        trainer.fit(module, datamodule=pictures, ckpt_path=resumed, weights_only=True)
    minutes = (time.perf_counter() - began) / 60
    best = load_checkpoint(module, _best_checkpoint(trainer))
    save_weights(module.embedder, run.weights)
    return module.embedder, {"chosen_epoch": best["epoch"] + 1, "training_minutes": round(minutes, 2)}


def _imprint(module: FineTuner, config: TrainConfig, evaluator: Evaluator) -> None:
    """Embed the training pictures as they are and give the loss each species' mean."""
    parts = module.embedder
    projector = Embedder(parts.backbone, parts.pooling, parts.head, normalize=True, search_head=True)
    training = replace(evaluator, image_size=config.loader.train_size)
    found = training.embed({"train": projector}, evaluator.splits.train, "Imprinting the species")["train"]
    classes = module.class_of_label[torch.from_numpy(found.labels)]
    sums = torch.zeros(int(classes.max()) + 1, found.vectors.shape[1])
    sums.index_add_(0, classes, torch.from_numpy(found.vectors))
    module.loss.imprint(sums / torch.bincount(classes)[:, None])


def _trainer(
    config: TrainConfig, evaluator: Evaluator, validation: dict[str, EvalResult], run: RunDirectory
) -> pl.Trainer:
    callbacks = [
        EpochBar(evaluator.console),  # first, so that it has gone when the epoch is scored
        RetrievalCallback(evaluator, validation, run),
        *(build(node) for node in config.callbacks.values()),
    ]
    options = dict(config.trainer)
    if options.get("precision") == "auto":
        bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        options["precision"] = "bf16-mixed" if bf16 else "32-true"
    loggers = [Guarded(build(node), name, evaluator.console) for name, node in config.logger.items()]
    for logger in loggers:
        logger.log_hyperparams(asdict(config))
    trainer: pl.Trainer = build(options, callbacks=callbacks, logger=loggers or False, default_root_dir=str(run.path))
    return trainer


def _module(config: TrainConfig, evaluator: Evaluator) -> tuple[FineTuner, Pictures]:
    torch.manual_seed(config.seed)  # again: computing the baseline draws numbers, taking it from the cache does not
    pictures = Pictures(evaluator.manifest, evaluator.splits, config.loader, config.seed)
    labels = evaluator.manifest.labels[evaluator.splits.train]
    embedder: Embedder = build(config.model)
    dimensions = embedder.loss_dimensions(config.loader.train_size)
    loss = build(config.loss, num_classes=len(set(labels.tolist())), embedding_size=dimensions)
    return FineTuner(embedder, loss, build(config.optimizer), labels), pictures


def _best_checkpoint(trainer: pl.Trainer) -> Path:
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not path:
        raise ConfigError("no checkpoint was kept: callbacks needs a ModelCheckpoint that monitors a val/ metric")
    return Path(path)


def _try_everything(config: TrainConfig, evaluator: Evaluator) -> None:
    """Build every part, read one training batch, and take one step without keeping anything."""
    module, pictures = _module(config, evaluator)
    for node in (*config.callbacks.values(), *config.logger.values()):
        build(node)
    loader = pictures.train_dataloader()
    batch = next(iter(loader))
    loss = module.loss(module.embedder.project(batch["image"]), module.class_of_label[batch["label"]])
    evaluator.embed({"model": module.embedder}, evaluator.splits.test.ids[:4], "Trying the test pictures")
    counts = _counts(evaluator)
    evaluator.console.print(
        f"Everything fits: {counts['train']} training, {counts['val']} validation and {counts['tested']} test pictures "
        f"of {counts['species']} species; loss of one batch {loss.item():.3f}. Nothing was kept.",
        soft_wrap=True,
    )
