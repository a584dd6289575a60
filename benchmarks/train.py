"""Measure training: Conspecific beside a bare torch loop with the same pieces and beside the loops of other libraries.

    python benchmarks/train.py [KEY=VALUE ...] [--steps 15] [--rounds 2] [--quick]

KEY=VALUE are overrides of `conspecific train`, such as data=manifest data.path=FILE. Three cases: all weights at
224 px, the last two stages at 160 px with new augmentations, and the last two stages with cached augmentations (random
values of the right shape: the time does not depend on them). Each is trained by

- bare loop: the batches, network, loss, optimizer and schedule of `conspecific train`, without Lightning;
- conspecific: the same through the trainer that `conspecific train` builds, with its progress bar;
- pytorch-metric-learning: its loss and sampler in a plain loop, torchvision's augmentation, the same network;
- open-metric-learning: its Lightning module on the same data, where it can be imported.

A step lasts from the end of the step before it, so that waiting for data counts. The table shows the median of the
steps of all rounds after a warm-up; the ways take turns, so that a machine that does other work slows all of them.
`waiting` is the share of time in which the loop waits for the next batch. The results are also written to
benchmarks/train.json.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_metric_learning import losses, samplers
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig
from conspecific.data.cached_augmentations import CachedAugmentations
from conspecific.data.corrections import load_manifest
from conspecific.data.splits import split
from conspecific.encoding.machine import processor, versions
from conspecific.evaluation import Evaluator, device_for
from conspecific.images import workers_for
from conspecific.models import keep_freed_memory
from conspecific.training.epoch_bar import EpochBar
from conspecific.training.expected_warnings import expected_warnings
from conspecific.training.parts import Parts, build_parts
from conspecific.training.trainer import build_trainer

HERE = Path(__file__).resolve().parent
WARM_UP, VIEWS = 3, 2
QUICK = (
    *("data=butterflies", "data.species=6", "data.images=8", "data.size=64", "model.backbone=test_resnet"),
    *("model.weights=none", "loader.classes_per_batch=4", "loader.samples_per_class=2", "loader.workers=0"),
)
CASES = {
    "all weights": {"size": 224, "stages": "null", "cached": False},
    "last two stages": {"size": 160, "stages": "2", "cached": False},
    "last two stages, cached": {"size": 160, "stages": "2", "cached": True},
}
Row = dict[str, Any]


class LeftOut(Exception):
    """Says why a way is left out."""


class Timed:
    """Batches, the times at which steps end, and the seconds of waiting for each batch."""

    def __init__(self, batches: Iterable[Any], steps: int) -> None:
        self.batches, self.steps = batches, steps
        self.ends: list[float] = []
        self.waited: list[float] = []

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        given = 0
        while given < self.steps:
            batches = iter(self.batches)
            while given < self.steps:
                began = time.perf_counter()
                batch = next(batches, None)
                if batch is None:
                    break
                self.waited.append(time.perf_counter() - began)
                given += 1
                yield batch

    def step_ended(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


class Clock(pl.Callback):
    """Tells `Timed` where Lightning's steps end."""

    def __init__(self, timed: Timed) -> None:
        self.timed = timed

    def on_train_batch_end(self, *_: Any) -> None:
        self.timed.step_ended()


class PlainImages(Dataset[dict[str, Any]]):
    """Training images as tutorials read them; labels from 0."""

    def __init__(self, parts: Parts, evaluator: Evaluator, config: TrainConfig) -> None:
        ids = evaluator.splits.train
        self.paths = [evaluator.manifest.path(int(index)) for index in ids]
        self.labels = parts.module.class_of_label[torch.from_numpy(evaluator.manifest.labels[ids])].tolist()
        jitter, (low, high) = config.loader.jitter, config.loader.crop_scale
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(config.loader.train_size, scale=(low, high)),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(jitter, jitter, jitter),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> dict[str, Any]:
        from PIL import Image

        image = self.transform(Image.open(self.paths[place]).convert("RGB"))
        return {"input_tensors": image, "labels": self.labels[place]}


def bare_loop(config: TrainConfig, parts: Parts, evaluator: Evaluator, timed: Timed) -> None:
    """Train with our pieces and no framework."""
    module, device = parts.module.to(evaluator.device), evaluator.device
    made = module.optimizer.build(module.embedder, module.loss, 1, len(timed))
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    backbone = module.embedder.backbone
    module.train()
    for batch in timed:
        batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        cached = "activations" in batch
        features = backbone.forward_tail(batch["activations"].float()) if cached else backbone(batch["image"])
        loss = module.loss(module.embedder.project_features(features), module.class_of_label[batch["label"]])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, config.trainer["gradient_clip_val"])
        optimizer.step()
        scheduler.step()
        timed.step_ended()


def ours(config: TrainConfig, parts: Parts, evaluator: Evaluator, timed: Timed) -> None:
    """Train as `conspecific train` does."""
    callbacks = [EpochBar(evaluator.console), Clock(timed)]
    trainer = build_trainer(config, callbacks=callbacks, logger=False, enable_checkpointing=False)
    with expected_warnings():
        trainer.fit(parts.module, train_dataloaders=timed)


def metric_learning(config: TrainConfig, parts: Parts, evaluator: Evaluator, timed: Timed) -> None:
    """Train in the loop of pytorch-metric-learning's examples."""
    network, loss_function, optimizer = peer(parts, evaluator)
    network.train()
    for batch in timed:
        images, labels = (batch[name].to(evaluator.device) for name in ("input_tensors", "labels"))
        optimizer.zero_grad()
        loss = loss_function(network(images), labels)
        loss.backward()
        optimizer.step()
        timed.step_ended()


def open_metric_learning(config: TrainConfig, parts: Parts, evaluator: Evaluator, timed: Timed) -> None:
    """Train with open-metric-learning's Lightning module."""
    try:
        from oml.lightning.modules.extractor import ExtractorModule
    except ImportError as error:
        raise LeftOut(str(error)) from error
    module = ExtractorModule(*peer(parts, evaluator))
    precision = "bf16-mixed" if torch.cuda.is_available() else "32-true"
    options = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "precision": precision}
    trainer = pl.Trainer(max_epochs=1, devices=1, callbacks=[Clock(timed)], enable_progress_bar=False, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, train_dataloaders=timed)


def peer(parts: Parts, evaluator: Evaluator) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer]:
    """Return the network, ArcFace of pytorch-metric-learning, and AdamW of both."""
    network = parts.module.embedder.to(evaluator.device)
    classes = int(parts.module.class_of_label.max()) + 1
    loss = losses.ArcFaceLoss(classes, network.loss_dimensions(64)).to(evaluator.device)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    return network, loss, torch.optim.AdamW([*trained, *loss.parameters()], lr=1e-4)


WAYS: dict[str, Callable[[TrainConfig, Parts, Evaluator, Timed], None]] = {
    "bare loop": bare_loop,
    "conspecific": ours,
    "pytorch-metric-learning": metric_learning,
    "open-metric-learning": open_metric_learning,
}
OWN_DATA = ("bare loop", "conspecific")


def main() -> None:
    """Measure every way in every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of conspecific train")
    parser.add_argument("--steps", type=int, default=15, help="measured steps of each round")
    parser.add_argument("--rounds", type=int, default=2, help="rounds in which the ways take turns")
    parser.add_argument("--quick", action="store_true", help="a test network on drawn butterflies of 64 px, as a trial")
    given = parser.parse_args()
    keep_freed_memory()
    overrides, steps, rounds = given.overrides, given.steps, given.rounds
    if given.quick:
        overrides, steps, rounds = [*QUICK, *given.overrides], 3, 1
    rows = [row for name in CASES for row in measure(name, overrides, steps, rounds, 64 if given.quick else None)]
    machine = {"processor": processor(), "threads": torch.get_num_threads(), "versions": versions()}
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    found = {"overrides": overrides, "steps": steps, "rounds": rounds, "machine": machine, "rows": rows}
    (HERE / "train.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"{json.dumps(machine)}\n\n{table(rows)}")


def measure(case: str, overrides: list[str], steps: int, rounds: int, size: int | None) -> list[Row]:
    """Return a row for each way to train in a case. size: of the crops in pixels; None: the case's."""
    settings = CASES[case]
    side = size or settings["size"]
    sizes = [f"loader.train_size={side}", f"loader.image_size={side}", f"model.trainable_stages={settings['stages']}"]
    chosen = [*overrides, *sizes, "trainer.max_epochs=1", "recipe.cached_augmentations=0", "recipe.ema=0"]
    config = typed(compose_config("train", chosen), TrainConfig)
    manifest = load_manifest(config.data, config.allow)
    splits = split(manifest, config.protocol, **vars(config.split))
    device, console = device_for("auto"), Console(quiet=True)
    evaluator = Evaluator(manifest, splits, "", side, workers_for(config.loader.workers), device, console)
    found: dict[str, list[tuple[float, float]]] = {}
    left_out: dict[str, str] = {}
    batch = config.loader.classes_per_batch * config.loader.samples_per_class
    for _ in range(rounds):
        for name, train in WAYS.items():
            if name in left_out or (settings["cached"] and name not in OWN_DATA):
                continue
            parts = build_parts(config, evaluator)
            timed = Timed(batches(name, config, parts, evaluator, settings["cached"]), WARM_UP + steps)
            try:
                train(config, parts, evaluator, timed)
            except LeftOut as reason:
                left_out[name] = str(reason)
                continue
            seconds = np.diff(timed.ends)[WARM_UP - 1 :]
            found.setdefault(name, []).extend(zip(seconds, timed.waited[WARM_UP:], strict=True))
    rows: list[Row] = [rated(case, side, name, times, batch) for name, times in found.items()]
    for row in rows:
        row["over bare"] = rows[0]["rate"] / row["rate"] - 1
    return rows + [{"case": case, "size": side, "way": name, "left out": why} for name, why in left_out.items()]


def batches(name: str, config: TrainConfig, parts: Parts, evaluator: Evaluator, cached: bool) -> Iterable[Any]:
    """Return the batches that a way trains on."""
    if name in OWN_DATA:
        if cached:
            parts.images.cached = random_activations(parts, evaluator, config.loader.train_size)
        return parts.images.train_dataloader()
    images, loader = PlainImages(parts, evaluator, config), config.loader
    size = loader.classes_per_batch * loader.samples_per_class
    sampler = samplers.MPerClassSampler(images.labels, loader.samples_per_class, size, max(size, len(images)))
    workers = workers_for(loader.workers)
    return DataLoader(
        images, size, sampler=sampler, num_workers=workers, persistent_workers=workers > 0, drop_last=True
    )


def random_activations(parts: Parts, evaluator: Evaluator, size: int) -> CachedAugmentations:
    """Return cached augmentations of random values."""
    ids, backbone = evaluator.splits.train, parts.module.embedder.backbone
    with torch.no_grad():
        [shape] = {row.shape for row in backbone.eval().activations(torch.zeros(1, 3, size, size))}
    values = np.random.default_rng(0).random((len(ids) * VIEWS, *shape), dtype=np.float32).astype(np.float16)
    return CachedAugmentations(evaluator.manifest, ids, VIEWS, {size: values})


def rated(case: str, size: int, name: str, times: list[tuple[float, float]], batch: int) -> Row:
    """Return images per second by the median step, and the share of waiting."""
    seconds, waited = (sum(values) for values in zip(*times, strict=True))
    rate = batch / statistics.median(step for step, _ in times)
    return {"case": case, "size": size, "way": name, "rate": float(rate), "waiting": float(waited / seconds)}


def table(rows: list[Row]) -> str:
    """Return the rows in Markdown."""
    lines = ["| case | size, px | way | images/s | time over the bare loop | waiting |", "|---|---|---|---|---|---|"]
    for row in rows:
        if "left out" in row:
            result = f"{row['left out']} | | "
        else:
            over = "" if row["way"] == "bare loop" else f"{100 * row['over bare']:+.1f} %"
            result = f"{row['rate']:.1f} | {over} | {100 * row['waiting']:.0f} %"
        lines.append(f"| {row['case']} | {row['size']} | {row['way']} | {result} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
