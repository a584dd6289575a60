"""The story of one run, from the manifest to the scored test set."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars
import pytorch_lightning as pl
from rich.console import Console

from conspecific.config.location import options
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build
from conspecific.data.check import check_manifest
from conspecific.data.manifest import Manifest
from conspecific.data.splits import split
from conspecific.errors import ConfigError, did_you_mean
from conspecific.evaluation import Evaluator, compare, device_for, references
from conspecific.images import workers_for
from conspecific.leaks.copies import find_copies
from conspecific.leaks.finding import find_leaks
from conspecific.leaks.image_hashes import image_hashes
from conspecific.leaks.policy import apply_policy
from conspecific.leaks.record import Leaks, describe
from conspecific.metrics import metric_names
from conspecific.models import Embedder, keep_freed_memory
from conspecific.runs.directory import RunDirectory
from conspecific.runs.environment import peak_memory_gb, write_json, write_start
from conspecific.training.fit import build_parts, fit
from conspecific.training.resume import checkpoint_to_resume
from conspecific.types import EvalResult


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    validation, test: the references and, where something was trained, `model`. facts: chosen_epoch, minutes,
    training_minutes, peak_memory_gb.
    """

    config: TrainConfig
    manifest: Manifest
    validation: dict[str, EvalResult]
    test: dict[str, EvalResult]
    facts: dict[str, Any]

    @property
    def score(self) -> float:
        """The monitored validation metric at the chosen epoch, of the baseline where nothing was trained."""
        return self.validation.get("model", self.validation["flatten"]).metrics[self.config.monitor]


def train(config: TrainConfig, overrides: Sequence[str], console: Console) -> Outcome | None:
    """Run one configuration into `config.paths.run`. Returns None with `dry_run=true`, which only tries out."""
    began = time.perf_counter()
    _prepare(config)
    assert config.paths.run is not None, "the caller makes the run directory"
    run, cache = RunDirectory(Path(config.paths.run)), Path(config.paths.cache).expanduser()
    resumed = checkpoint_to_resume(config)
    evaluator, leaks, contents, copies = _without_leaks(config, _evaluator(config, cache, console), cache)
    if config.dry_run:
        _try_everything(config, evaluator)
        return None
    write_start(run, config, overrides, evaluator.fingerprint)
    evaluator.splits.save(run.splits, evaluator.manifest, contents)
    leaks.save(run.leaks)
    network = config.model["backbone"], config.model["weights"]
    validation = references(evaluator, "val", *network, cache)
    embedder: Embedder | None = None
    facts: dict[str, Any] = {}
    if config.trainer["max_epochs"] != 0:
        embedder, validation["model"], facts = fit(config, evaluator, validation, copies, run, resumed)
    test = dict(references(evaluator, "test", *network, cache))
    if embedder is not None:
        test |= evaluator.score({"model": embedder}, "test", "Scoring the test images")
    for subset, results in (("val", validation), ("test", test)):
        for name, result in results.items():
            result.save(run.results / f"{subset}_{name}")
    facts |= {"minutes": round((time.perf_counter() - began) / 60, 2), "peak_memory_gb": round(peak_memory_gb(), 2)}
    scores = {"test": {name: dict(result.metrics) for name, result in test.items()}, "gains": _gains(test)}
    write_json(run.summary, facts | _counts(evaluator) | scores)
    return Outcome(config, evaluator.manifest, validation, test, facts)


def _prepare(config: TrainConfig) -> None:
    if config.monitor not in (names := metric_names(config.metrics.ks)):
        raise ConfigError(f"monitor={config.monitor} is not a metric. {did_you_mean(config.monitor, names)}")
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
    splits = split(manifest, config.protocol, **vars(config.split))
    loader = config.loader
    device, workers = device_for("auto"), workers_for(loader.workers)
    return Evaluator(manifest, splits, fingerprint, loader.image_size, workers, device, console, ks=config.metrics.ks)


def _without_leaks(
    config: TrainConfig, evaluator: Evaluator, cache: Path
) -> tuple[Evaluator, Leaks, Sequence[str], polars.DataFrame]:
    """Look for what the parts share and do with it as `leaks` says.

    Returns also a hash of each image's content, and all pairs of images that are one.
    """
    manifest, key, console = evaluator.manifest, evaluator.fingerprint, evaluator.console
    found = image_hashes(manifest, key, cache, evaluator.workers, console)
    copies = find_copies(manifest, key, found, cache, evaluator.device, console)
    leaks = find_leaks(copies, evaluator.splits, manifest, found)
    splits = apply_policy(config.leaks, leaks, evaluator.splits, manifest)
    style = "yellow" if leaks.pairs.height or leaks.species else None
    console.print(f"Leak check: {describe(leaks)}", style=style, soft_wrap=True, highlight=False)
    return replace(evaluator, splits=splits), leaks, found.contents, copies


def _gains(test: Mapping[str, EvalResult]) -> dict[str, list[dict[str, Any]]]:
    """What the model, or else the pooled reference, has over each of the others."""
    best = "model" if "model" in test else "pooled"
    others = {name: other for name, other in test.items() if name != best}
    return {name: [change.to_json() for change in compare(test[best], other)] for name, other in others.items()}


def _counts(evaluator: Evaluator) -> dict[str, Any]:
    manifest, splits = evaluator.manifest, evaluator.splits
    return {
        "data_root": str(manifest.root),
        "images": len(manifest),
        "species": len(manifest.species),
        "train": len(splits.train),
        "val": len(splits.val.ids),
        "tested": len(splits.test.ids),
    }


def _try_everything(config: TrainConfig, evaluator: Evaluator) -> None:
    """Build every part, read one training batch, and take one step without keeping anything."""
    module, images = build_parts(config, evaluator)
    for node in (*config.callbacks.values(), *config.logger.values()):
        build(node)
    loader = images.train_dataloader()
    batch = next(iter(loader))
    loss = module.loss(module.embedder.project(batch["image"]), module.class_of_label[batch["label"]])
    evaluator.embed({"model": module.embedder}, evaluator.splits.test.ids[:4], "Trying the test images")
    counts = _counts(evaluator)
    evaluator.console.print(
        f"Everything fits: {counts['train']} training, {counts['val']} validation and {counts['tested']} test images "
        f"of {counts['species']} species; loss of one batch {loss.item():.3f}. Nothing was kept.",
        soft_wrap=True,
    )
