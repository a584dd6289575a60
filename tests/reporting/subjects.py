"""Made-up runs of eight species, each with images of one color, and with a chosen share of hits."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from conspecific.config.compose import save_yaml
from conspecific.config.schema import TrainConfig
from conspecific.evaluation.compare import Difference, compare
from conspecific.metrics import metric_names
from conspecific.reporting.run.subject import Subject
from conspecific.runs.directory import RunDirectory
from conspecific.runs.environment import Environment
from conspecific.runs.record import Cost, Counts, Epoch, RunRecord, SelectedWeights
from conspecific.types import EvalResult

SPECIES = tuple(f"Species_{letter}" for letter in "ABCDEFGH")
IMAGES = 12
MODEL = dict.fromkeys(("backbone", "weights", "pooling", "head", "embedding_layer"), "some") | {"trainable_stages": 2}
LOSS = {"loss": {"_target_": "pytorch_metric_learning.losses.TripletMarginLoss"}}
ENVIRONMENT = Environment(
    "conspecific train experiment=default", "0", "3", {"torch": "2"}, "some", "some", 2, 2, None, None, "0", 2
)

MakeSubject = Callable[..., Subject]


def open_image(path: str) -> Image.Image:
    """Return a plain image whose color depends on its folder only."""
    color = zlib.crc32(path.split("/")[0].encode())
    return Image.new("RGB", (200, 150), (color & 255, color >> 8 & 255, color >> 16 & 255))


def build_result(skill: float, seed: int, species: list[str]) -> EvalResult:
    """Return a result in which each answer is a hit with probability `skill`."""
    generator = np.random.default_rng(seed)
    labels = [name for name in species for _ in range(IMAGES)]
    paths = [f"{label}/{number}.jpg" for number, label in enumerate(labels)]
    rows = []
    for query, label in enumerate(labels):
        wanted = generator.random(10) < skill
        same = iter(other for other in range(len(labels)) if labels[other] == label and other != query)
        different = iter(other for other in generator.permutation(len(labels)).tolist() if labels[other] != label)
        found = [next(same) if hit else next(different) for hit in wanted]
        hits = [bool(hit) for hit in wanted]
        share = float(np.mean(hits))
        row = {"id": query, "path": paths[query], "label": label, "positives": IMAGES - 1}
        row |= dict.fromkeys(metric_names(), share)
        row |= {"recall@1": float(hits[0]), "recall@10": float(any(hits)), "map@r": share**2}
        row |= {"neighbor_ids": found, "neighbor_paths": [paths[other] for other in found]}
        row |= {"neighbor_labels": [labels[other] for other in found], "neighbor_hits": hits}
        rows.append(row | {"neighbor_scores": [1.0 - 0.05 * rank for rank in range(10)]})
    table = pl.DataFrame(rows)
    means = {metric: float(np.mean(table[metric].to_list())) for metric in metric_names()}
    macro = {metric: means[metric] / 2 for metric in metric_names()}  # different, so that they cannot be confused
    facts = {"subset": "test", "protocol": "unseen", "similarity": "cosine", "dimensions": 64, "excluded": 2}
    geometry = {"alignment": 1 - skill, "uniformity": -2.5, "effective_rank": 40 * skill, "mean_similarity": 0.25}
    facts |= {"geometry": geometry | {"images": 96, "species": len(species)}, "gallery": len(labels)}
    return EvalResult(means, macro, table, {**facts, "queries": table.height, "species": len(species)})


def make_subject(folder: Path, species: tuple[str, ...] = SPECIES, trained: bool = True) -> Subject:
    """Return a made-up run in a folder, of which only the configuration is on disk."""
    run = RunDirectory(folder / "train" / "2026-01-01")
    run.path.mkdir(parents=True, exist_ok=True)
    config = TrainConfig(model=MODEL, loss=LOSS)
    save_yaml(config, run.config)
    test, gains = _results(species, trained)
    record = RunRecord(
        directory=run,
        config=config,
        environment=ENVIRONMENT,
        epochs=tuple(map(_epoch, range(4))) if trained else (),
        leaks=None,
        selection=SelectedWeights(4, 1.0, False) if trained else None,
        counts=Counts(str(folder), 240, 20, 120, 24, 96),
        cost=Cost(1.5, 1.0, 1.0),
        gains=gains,
    )
    references = {"flatten": {"recall@1": 0.3, "map@r": 0.1}, "pooled": {"recall@1": 0.5, "map@r": 0.2}}
    validation = {name: dataclasses.replace(test[name], metrics=metrics) for name, metrics in references.items()}
    if trained:
        validation["model"] = build_result(0.8, 3, list(species))
    return _with_results(Subject(record, open_image), test, validation)


def changed(
    run: Subject,
    *,
    test: Mapping[str, EvalResult] | None = None,
    validation: Mapping[str, EvalResult] | None = None,
    open_image: Callable[[str], Image.Image] | None = None,
    **fields: Any,
) -> Subject:
    """Return the run with other results of these names, another way to open images, or other fields of the record."""
    record = dataclasses.replace(run.record, **fields)
    return _with_results(
        Subject(record, open_image or run.open_image),
        {**run.record.test, **(test or {})},
        {**run.record.validation, **(validation or {})},
    )


def with_leak_policy(run: Subject, policy: str) -> TrainConfig:
    """Return the configuration of the run with another policy for leaks."""
    return dataclasses.replace(run.record.config, leaks=policy)


def _with_results(run: Subject, test: dict[str, EvalResult], validation: dict[str, EvalResult]) -> Subject:
    trained = pl.DataFrame({"label": SPECIES})
    vars(run.record).update(test=test, validation=validation, trained=trained)  # in place of the files of the record
    return run


def _epoch(place: int) -> Epoch:
    metrics = {"recall@1": 0.4 + 0.1 * place, "map@r": 0.2 + 0.1 * place}
    return Epoch(place + 1, 2.0 / (place + 1), metrics, {"map@r": [0.05 + 0.1 * place, 0.15 + 0.1 * place]})


@cache
def _results(
    species: tuple[str, ...], trained: bool
) -> tuple[dict[str, EvalResult], dict[str, tuple[Difference, ...]]]:
    """Return the test results and the paired differences."""
    skills = {"flatten": 0.2, "pooled": 0.5} | ({"model": 0.8} if trained else {})
    test = {name: build_result(skill, seed, list(species)) for seed, (name, skill) in enumerate(skills.items())}
    *others, best = test
    return test, {name: tuple(compare(test[best], test[name])) for name in others}
