"""Measure the cost of scoring: Conspecific, pytorch-metric-learning and plain faiss on the same vectors, as a table.

    python benchmarks/scoring.py [--quick]

Every method runs three times, each time in a new process; the table shows the median. Seconds are those of scoring,
without imports. MB is the peak resident memory minus that before scoring. The vectors are random: species are scattered
around random centers. The results are also written to benchmarks/scoring.json.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
CASES = {"full": ((3_000, 1_280, 100), (100_000, 256, 1_000)), "quick": ((1_000, 128, 50), (5_000, 64, 100))}
REPEATS = 3


def main() -> None:
    """Measure every method on every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small cases, as a trial")
    parser.add_argument("--one", nargs=4, metavar=("METHOD", "IMAGES", "DIMENSIONS", "SPECIES"), help="used internally")
    given = parser.parse_args()
    if given.one:
        method, *sizes = given.one
        print(json.dumps(measure(METHODS[method], *map(int, sizes))))
        return
    found = [run(method, case) for case in CASES["quick" if given.quick else "full"] for method in METHODS]
    (HERE / "scoring.json").write_text(json.dumps(found, indent=2) + "\n")
    print("| images | dimensions | method | seconds | MB beyond the vectors | recall@1 | map@r |")
    print("|---|---|---|---|---|---|---|")
    for row in found:
        scores = " | ".join("" if row[name] is None else f"{row[name]:.4f}" for name in ("recall@1", "map@r"))
        sizes = f"{row['images']:,} | {row['dimensions']:,}"
        print(f"| {sizes} | {row['method']} | {row['seconds']:.2f} | {row['megabytes']:,.0f} | {scores} |")


def run(method: str, case: tuple[int, int, int]) -> dict[str, object]:
    """Measure one method on one case, in a new process for each repeat."""
    images, dimensions, species = case
    words = [sys.executable, str(Path(__file__)), "--one", method, *map(str, case)]
    print(method, *case, file=sys.stderr, flush=True)
    runs = [
        json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout) for _ in range(REPEATS)
    ]
    middle = {name: statistics.median(found[name] for found in runs) for name in ("seconds", "megabytes")}
    return {"method": method, "images": images, "dimensions": dimensions, "species": species} | runs[0] | middle


def measure(method: Callable[..., dict[str, float | None]], images: int, dimensions: int, species: int) -> dict:
    """Return seconds, memory and scores of one call."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % species
    vectors = rng.standard_normal((images, dimensions), dtype=np.float32)
    vectors *= max(1.0, 0.1 * dimensions**0.5)  # about the same difficulty for any number of dimensions
    vectors += rng.standard_normal((species, dimensions), dtype=np.float32)[labels]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores, seconds, megabytes = method(vectors, labels)
    return {"seconds": seconds, "megabytes": megabytes} | scores


def timed(work: Callable[[], dict[str, float | None]]) -> tuple[dict[str, float | None], float, float]:
    """Return the result, its seconds, and the growth of peak memory in MB."""
    before, began = peak(), time.perf_counter()
    found = work()
    return found, time.perf_counter() - began, peak() - before


def peak() -> float:
    """Return the peak resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def conspecific(vectors: np.ndarray, labels: np.ndarray) -> tuple[dict[str, float | None], float, float]:
    """Conspecific's scoring: search, eight metrics of every query, the per-query table, the embedding geometry."""
    import polars as pl

    from conspecific.data.manifest import Manifest
    from conspecific.data.splits import Subset
    from conspecific.evaluation import evaluate
    from conspecific.types import EmbeddingSet

    ids = np.arange(len(labels))
    names = [f"{label:06}" for label in labels]
    table = pl.DataFrame({"path": [f"{number}.jpg" for number in ids], "label": names})
    manifest = Manifest.from_table(Path("."), table)

    def work() -> dict[str, float | None]:
        result = evaluate(EmbeddingSet(vectors, ids, labels), Subset(ids, ids), manifest, "cosine")
        return {name: result.metrics[name] for name in ("recall@1", "map@r")}

    return timed(work)


def metric_learning(vectors: np.ndarray, labels: np.ndarray) -> tuple[dict[str, float | None], float, float]:
    """pytorch-metric-learning's calculator with the metrics that both have, k being the largest R."""
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    wanted = ("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank")
    calculator = AccuracyCalculator(include=wanted, k="max_bin_count", device=torch.device("cpu"))
    tensors = torch.from_numpy(vectors), torch.from_numpy(labels)

    def work() -> dict[str, float | None]:
        found = calculator.get_accuracy(*tensors)
        return {"recall@1": found["precision_at_1"], "map@r": found["mean_average_precision_at_r"]}

    return timed(work)


def plain_faiss(vectors: np.ndarray, labels: np.ndarray) -> tuple[dict[str, float | None], float, float]:
    """Exact search without scoring, k being the largest R."""
    import faiss

    def work() -> dict[str, float | None]:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        index.search(vectors, int(np.bincount(labels).max()))
        return {"recall@1": None, "map@r": None}

    return timed(work)


METHODS = {"conspecific": conspecific, "pytorch-metric-learning": metric_learning, "plain faiss": plain_faiss}


if __name__ == "__main__":
    main()
