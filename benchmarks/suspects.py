"""Measure the search for wrong labels: swap some at random, and count how many are found.

    python benchmarks/suspects.py --data PATH/manifest.csv [--share 0.03] [--seeds 0,1,2] [--backbone NAME] [--quick]

A share of the labels is replaced by that of another species, drawn at random. The images are embedded by the pooled
reference, as `conspecific suspects` does, and ranked. As many are taken from the top as were swapped: precision is the
share of them that were, and `right` the share of those whose suggested species is the true one. The others at the top
may be errors that the data set already had.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console

from conspecific.data.dataset import EvaluationImages
from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_file
from conspecific.encoding import Encoders
from conspecific.evaluation import device_for
from conspecific.evaluation.embed import embed
from conspecific.evaluation.suspects import suspect_labels
from conspecific.images import workers_for
from conspecific.models import Backbone, pooled_reference
from conspecific.types import EmbeddingSet


def main() -> None:
    """Embed once, swap and rank for each seed, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a CSV with the columns path and label")
    parser.add_argument("--share", type=float, default=0.03, help="of the labels that are swapped")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--quick", action="store_true", help="a test network with random weights, as a trial")
    given = parser.parse_args()
    manifest = from_file(str(given.data))
    name, weights, size = ("test_resnet", "none", 64) if given.quick else (given.backbone, "bundled", 224)
    images = EvaluationImages(manifest, np.arange(len(manifest)), size)
    reference, device, console = pooled_reference(Backbone(name, weights)), device_for("auto"), Console(file=sys.stderr)
    encoder = Encoders(device=device).open(reference.eval().backbone, images.sample, len(images))
    workers = workers_for(None)
    [embeddings] = embed([reference], images, workers=workers, device=device, console=console, encoder=encoder)
    print("| seed | swapped | precision | right | suspects | swapped among them | seconds |")
    print("|---|---|---|---|---|---|---|")
    for seed in map(int, given.seeds.split(",")):
        print(f"| {' | '.join(map(str, measure(embeddings, manifest, given.share, seed)))} |", flush=True)


def measure(embeddings: EmbeddingSet, manifest: Manifest, share: float, seed: int) -> tuple[float, ...]:
    """Return a row of the table."""
    rng, count = np.random.default_rng(seed), max(1, round(share * len(manifest)))
    swapped = rng.choice(len(manifest), count, replace=False)
    labels = manifest.labels.copy()
    labels[swapped] = (labels[swapped] + rng.integers(1, len(manifest.species), count)) % len(manifest.species)
    names = pl.Series([manifest.species[label] for label in labels])
    wrong = replace(manifest, labels=labels, table=manifest.table.with_columns(label=names))
    began = time.perf_counter()
    table = suspect_labels(replace(embeddings, labels=labels), wrong)
    seconds = time.perf_counter() - began
    truth = dict(zip(manifest.table["path"], manifest.table["label"], strict=True))
    bad = set(manifest.table["path"].gather(swapped))
    top = [(row["path"], row["suggested"]) for row in table.head(count).iter_rows(named=True)]
    found = [(path, suggested) for path, suggested in top if path in bad]
    right = sum(truth[path] == suggested for path, suggested in found) / max(1, len(found))
    among = len(bad & set(table["path"])) / count
    return seed, count, round(len(found) / count, 3), round(right, 3), table.height, round(among, 3), round(seconds, 1)


if __name__ == "__main__":
    main()
