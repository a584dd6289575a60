"""Made-up results of eight species, each with images of one color, and with a chosen share of hits."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from conspecific.evaluation.compare import compare
from conspecific.leaks.record import PAIRS, Leaks
from conspecific.metrics import metric_names
from conspecific.reporting.run.subject import Report
from conspecific.types import EvalResult

from .comparisons import data_root, make_comparison

__all__ = ["data_root", "make_comparison"]  # fixtures

SPECIES = 8
IMAGES = 12


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


@pytest.fixture
def make_leaks() -> Callable[..., Leaks]:
    """Return a function that makes the result of a leak check from pairs of paths of `build_result`.

    The first is a near duplicate in the train split of the second, a test query; a pair can change its columns:
    make_leaks(("Species_A/0.jpg", "Species_A/3.jpg", {"kind": "exact"}), inside=2).
    """

    def make(*pairs: tuple[str, str, dict[str, object]], **found: Any) -> Leaks:
        rows = []
        for first, second, changed in pairs:
            sides = {"first": (first, "train"), "second": (second, "test")}
            row: dict[str, object] = {"kind": "near", "view": "same", "similarity": 0.987}
            for side, (path, subset) in sides.items():
                label, _, name = path.partition("/")
                number = int(name.removesuffix(".jpg")) + (1000 if subset == "train" else 0)
                row |= {f"{side}_path": path, f"{side}_label": label, f"{side}_id": number, f"{side}_subset": subset}
            rows.append(row | changed)
        nothing: dict[str, Any] = {"inside": 0, "species": (), "compared": 240, "blank": 0}
        return Leaks(pairs=pl.DataFrame(rows, schema=PAIRS), **(nothing | found))

    return make


@pytest.fixture
def make_report() -> Callable[..., Report]:
    """Return a function that builds the subject of a report with the named species."""

    def make(species: list[str] | None = None, model: bool = True) -> Report:
        names = species or [f"Species_{letter}" for letter in "ABCDEFGH"[:SPECIES]]
        flatten, pooled, tuned = (build_result(skill, seed, names) for seed, skill in enumerate((0.2, 0.5, 0.8)))
        epochs = [
            {
                "epoch": epoch,
                "loss": 2.0 / (epoch + 1),
                "recall@1": 0.4 + 0.1 * epoch,
                "map@r": 0.2 + 0.1 * epoch,
                "gain_intervals": {"map@r": [0.05 + 0.1 * epoch, 0.15 + 0.1 * epoch]},
            }
            for epoch in range(4)
        ]
        return Report(
            title="A small run",
            facts={"data": "colored tiles", "epochs": 4, "peak_memory": "1 GB"},
            flatten=flatten,
            pooled=pooled,
            model=tuned if model else None,
            open_image=open_image,
            epochs=epochs if model else (),
            flatten_validation={"recall@1": 0.3, "map@r": 0.1},
            pooled_validation={"recall@1": 0.5, "map@r": 0.2},
            chosen_epoch=3 if model else None,
            chosen_by="map@r",
            validation=build_result(0.8, 3, names) if model else None,
            over_flatten=compare(tuned if model else pooled, flatten),
            over_pooled=compare(tuned, pooled) if model else (),
            command="conspecific train experiment=default",
            config="seed: 0\n",
        )

    return make
