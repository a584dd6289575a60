"""Measure the cost of scoring: Conspecific, two other libraries and plain faiss on the same vectors, as a table.

    python benchmarks/scoring.py [--quick] [--repeats 3] [--peers PYTHON]

Every method runs in a new process for each repeat (once for the million vectors); the table shows the median. Seconds
are those of scoring, without imports. MB is the peak resident memory minus that before scoring. The vectors are random:
species are scattered around random centers. Of a million vectors, 10,000 are queries, and recall@1 and map@r have the
95 % interval of their mean. `over search` is the time over that of plain faiss.

A library that cannot be imported is left out and named. `--peers` is the interpreter of another environment, such as
benchmarks/recipes/environment.py makes, in which open-metric-learning runs. The results are also written to
benchmarks/scoring.json.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
# images, dimensions, species, queries
CASES = {
    "full": (
        (3_000, 1_280, 100, 3_000),
        (10_000, 256, 100, 10_000),
        (50_000, 256, 500, 50_000),
        (100_000, 256, 1_000, 100_000),
        (1_000_000, 256, 10_000, 10_000),
    ),
    "quick": ((1_000, 128, 50, 1_000), (5_000, 64, 100, 500)),
}
SAMPLED = 1_000_000  # so many images are measured once
MOST_BYTES = 8e9  # of a matrix that a method holds at once
BLOCK = 4096
COLUMNS = ("images", "queries", "dimensions", "method", "seconds", "over search", "MB beyond the vectors")
METRICS = ("recall@1", "map@r")

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]
Found = dict[str, Any]


class CannotRun(Exception):
    """Says why a method is left out."""


def main() -> None:
    """Measure every method on every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small cases, once, as a trial")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each method")
    parser.add_argument("--peers", default=sys.executable, help="the interpreter that has open-metric-learning")
    parser.add_argument("--one", nargs=5, help="used internally: METHOD IMAGES DIMENSIONS SPECIES QUERIES")
    given = parser.parse_args()
    if given.one:
        method, *sizes = given.one
        print(json.dumps(measure(METHODS[method], *map(int, sizes))))
        return
    cases, repeats = (CASES["quick"], 1) if given.quick else (CASES["full"], given.repeats)
    rows = [
        run(method, case, 1 if case[0] >= SAMPLED else repeats, given.peers) for case in cases for method in METHODS
    ]
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    (HERE / "scoring.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    print(table(rows))


def run(method: str, case: tuple[int, int, int, int], repeats: int, peers: str) -> Found:
    """Measure one method on one case, in a new process for each repeat."""
    images, dimensions, species, queries = case
    python = peers if method == "open-metric-learning" else sys.executable
    words = [python, str(Path(__file__)), "--one", method, *map(str, case)]
    print(method, *case, file=sys.stderr, flush=True)
    outputs = [subprocess.run(words, check=True, capture_output=True, text=True).stdout for _ in range(repeats)]
    runs = [json.loads(output.splitlines()[-1]) for output in outputs]
    sizes = {"method": method, "images": images, "dimensions": dimensions, "species": species, "queries": queries}
    if "left out" in runs[0]:
        return sizes | runs[0]
    return sizes | runs[0] | {name: statistics.median(one[name] for one in runs) for name in ("seconds", "megabytes")}


def table(rows: list[Found]) -> str:
    """Return the rows in Markdown."""
    lines = ["| " + " | ".join((*COLUMNS, *METRICS)) + " |", "|---" * (len(COLUMNS) + len(METRICS)) + "|"]
    search = {row["images"]: row["seconds"] for row in rows if row["method"] == "plain faiss"}
    for row in rows:
        sizes = f"{row['images']:,} | {row['queries']:,} | {row['dimensions']:,} | {row['method']}"
        if "left out" in row:
            lines.append(f"| {sizes} | {row['left out']} | | | | |")
            continue
        cost = f"{row['seconds']:.2f} | {row['seconds'] / search[row['images']]:.2f} | {row['megabytes']:,.0f}"
        lines.append(f"| {sizes} | {cost} | {' | '.join(score(row, name) for name in METRICS)} |")
    return "\n".join(lines)


def score(row: Found, metric: str) -> str:
    """Return a metric, with its interval where the queries are a sample."""
    if row[metric] is None:
        return ""
    low, high = row.get("intervals", {}).get(metric, (None, None))
    return f"{row[metric]:.4f}" + ("" if low is None else f" ({low:.4f} to {high:.4f})")


def measure(method: Callable[..., Found], images: int, dimensions: int, species: int, queries: int) -> Found:
    """Return seconds, memory and scores of one call, or why it is left out."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % species
    vectors = rng.standard_normal((images, dimensions), dtype=np.float32)
    centers = rng.standard_normal((species, dimensions), dtype=np.float32)
    for start in range(0, images, BLOCK):  # a copy of all would hide the memory of what is measured
        block = vectors[start : start + BLOCK]
        block *= max(1.0, 0.1 * dimensions**0.5)  # about the same difficulty for any number of dimensions
        block += centers[labels[start : start + BLOCK]]
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    sample = np.sort(rng.choice(images, queries, replace=False))
    try:
        return method(vectors, labels, sample)
    except (ImportError, CannotRun) as reason:
        return {"left out": str(reason)}


def timed(work: Callable[[], Found]) -> Found:
    """Return what `work` returns, its seconds, and the growth of peak memory in MB."""
    before, began = peak(), time.perf_counter()
    found = work()
    return found | {"seconds": time.perf_counter() - began, "megabytes": peak() - before}


def peak() -> float:
    """Return the peak resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def conspecific(vectors: Vectors, labels: Labels, sample: Labels) -> Found:
    """Conspecific's scoring: search, eight metrics of every query, the per-query table, the embedding geometry."""
    import conspecific as cs
    from conspecific.metrics import paired_intervals

    def work() -> Found:
        result = cs.evaluate(vectors, labels, max_queries=len(sample))
        values = {name: result.metrics[name] for name in METRICS}
        if "sampled_from" not in result.facts:
            return values
        bounds = paired_intervals(result.per_query.select(METRICS).to_numpy())
        return values | {"intervals": {name: (one.low, one.high) for name, one in zip(METRICS, bounds, strict=True)}}

    cs.evaluate(vectors[:50], labels[:50] % 2)  # imports
    return timed(work)


def metric_learning(vectors: Vectors, labels: Labels, sample: Labels) -> Found:
    """pytorch-metric-learning's calculator with the metrics that both have, k being the largest R."""
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    wanted = ("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank")
    calculator = AccuracyCalculator(include=wanted, k="max_bin_count", device=torch.device("cpu"))
    images, species = torch.from_numpy(vectors), torch.from_numpy(labels)

    def work() -> Found:
        # the calculator takes no other sample than the first images when it leaves out each query itself
        found = calculator.get_accuracy(images[: len(sample)], species[: len(sample)], images, species, True)
        return {"recall@1": found["precision_at_1"], "map@r": found["mean_average_precision_at_r"]}

    return timed(work)


def open_metric_learning(vectors: Vectors, labels: Labels, sample: Labels) -> Found:
    """open-metric-learning's search and metrics; its map@k divides by the hits found, so that it is another metric."""
    import torch
    from oml.const import BS_KNN
    from oml.functional.knn import batched_knn
    from oml.functional.metrics import calc_retrieval_metrics

    largest = int(np.bincount(labels).max()) - 1
    if (bytes_held := 7 * BS_KNN * len(labels)) > MOST_BYTES:  # float32 distances and three masks
        raise CannotRun(f"a batch of {BS_KNN:,} queries would take {bytes_held / 1e9:.0f} GB")
    images, species = torch.from_numpy(vectors), torch.from_numpy(labels)
    ids = torch.from_numpy(sample), torch.arange(len(labels))

    def work() -> Found:
        _, retrieved, right = batched_knn(images, *ids, top_n=largest, labels_gt=species)
        ks = {"cmc_top_k": (1, 5, 10), "precision_top_k": (10,), "map_top_k": (largest,)}
        found = calc_retrieval_metrics(retrieved, right, **ks, verbose=False)
        return {"recall@1": float(found["cmc"][1]), "map@r": None}

    return timed(work)


def plain_faiss(vectors: Vectors, labels: Labels, sample: Labels) -> Found:
    """Exact search without scoring, k being the largest R."""
    import faiss

    def work() -> Found:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        index.search(vectors if len(sample) == len(labels) else vectors[sample], int(np.bincount(labels).max()))
        return dict.fromkeys(METRICS)

    return timed(work)


METHODS = {
    "conspecific": conspecific,
    "pytorch-metric-learning": metric_learning,
    "open-metric-learning": open_metric_learning,
    "plain faiss": plain_faiss,
}


if __name__ == "__main__":
    main()
