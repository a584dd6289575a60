"""What scoring costs: ours, pytorch-metric-learning's calculator and plain faiss on the same vectors, as a table.

    python benchmarks/scoring.py [--quick]

Every method runs in a process of its own, three times over; the median is shown. Seconds are those of scoring, without
imports. MB is the largest resident memory beyond what the process held when the vectors were made. The vectors are made
up: species scattered around random centres. Results also go to benchmarks/scoring.json.
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
    """Measure every method on every case, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small cases, to see that it runs")
    parser.add_argument("--one", nargs=4, metavar=("METHOD", "PICTURES", "DIMENSIONS", "SPECIES"), help="for itself")
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
    """Measure one method on one case in fresh processes."""
    images, dimensions, species = case
    words = [sys.executable, str(Path(__file__)), "--one", method, *map(str, case)]
    print(method, *case, file=sys.stderr, flush=True)
    runs = [
        json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout) for _ in range(REPEATS)
    ]
    middle = {name: statistics.median(found[name] for found in runs) for name in ("seconds", "megabytes")}
    return {"method": method, "images": images, "dimensions": dimensions, "species": species} | runs[0] | middle


def measure(method: Callable[..., dict[str, float | None]], images: int, dimensions: int, species: int) -> dict:
    """Seconds, memory and scores of one call."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % species
    vectors = rng.standard_normal((images, dimensions), dtype=np.float32)
    vectors *= max(1.0, 0.1 * dimensions**0.5)  # as hard in many dimensions as in few
    vectors += rng.standard_normal((species, dimensions), dtype=np.float32)[labels]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores, seconds, megabytes = method(vectors, labels)
    return {"seconds": seconds, "megabytes": megabytes} | scores


def timed(work: Callable[[], dict[str, float | None]]) -> tuple[dict[str, float | None], float, float]:
    """The result, its seconds, and by how many MB the process grew meanwhile."""
    before, began = peak(), time.perf_counter()
    found = work()
    return found, time.perf_counter() - began, peak() - before


def peak() -> float:
    """Largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def conspecific(vectors: np.ndarray, labels: np.ndarray) -> tuple[dict[str, float | None], float, float]:
    """The one scoring path: search, eight metrics of every query, the table of answers, the geometry."""
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
    """pytorch-metric-learning's calculator with the metrics it shares with ours, as many neighbours as R at most."""
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
    """Exact search alone, as many neighbours as R at most: nothing is scored."""
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
