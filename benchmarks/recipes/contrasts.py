"""Compare the recipes that run.py has trained so far with ours, as a Markdown table.

    python benchmarks/recipes/contrasts.py OUTPUT [--ours NAME]

Differences are paired: the map@r of each query is averaged over the seeds, then the other recipe's is subtracted from
ours. The 95 % interval is over queries, for protocol unseen over species. All metrics are written to
OUTPUT/contrasts.json.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conspecific.evaluation import Difference
from conspecific.evaluation.compare import differences, paired_values
from conspecific.types import EvalResult

METRIC = "map@r"
COLUMNS = (
    "protocol",
    "recipe",
    "seeds",
    "minutes",
    "steps",
    "recall@1",
    METRIC,
    "gain over start",
    "ours minus this recipe",
)


def main() -> None:
    """Print a table of all recipes in OUTPUT and write all metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="the --output of run.py")
    parser.add_argument("--ours", default="ours", metavar="NAME", help="the --name of our recipe")
    given = parser.parse_args()
    rows = [row for folder in sorted(given.output.iterdir()) if folder.is_dir() for row in measured(folder, given.ours)]
    (given.output / "contrasts.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    for row in rows:
        print(f"| {' | '.join(cells(row))} |")
    print("\n" + verdict(rows))


def measured(protocol: Path, ours: str) -> list[dict[str, Any]]:
    """Return a row for each recipe with a scored run, ours last. The contrast is empty if ours has no scored run."""
    found = {folder.name: scored(folder) for folder in sorted(protocol.iterdir()) if folder.is_dir()}
    runs = {name: seeds for name, seeds in sorted(found.items(), key=lambda item: item[0] == ours) if seeds}
    results = {
        name: [EvalResult.load(seed / "results" / "test_model") for seed in seeds] for name, seeds in runs.items()
    }
    start = results["start"][0].metrics[METRIC] if "start" in results else None
    rows: list[dict[str, Any]] = []
    for name, own in results.items():
        contrast = compare_seeds(results[ours], own) if ours in results and name != ours else []
        rows.append(
            {
                "protocol": protocol.name,
                "recipe": name,
                "seeds": [seed.name for seed in runs[name]],
                "training": [training(seed) for seed in runs[name]],
                "metrics": {metric: [result.metrics[metric] for result in own] for metric in own[0].metrics},
                "start": start,
                "contrast": [change.to_json() for change in contrast],
            }
        )
    return rows


def scored(recipe: Path) -> list[Path]:
    """Return the seed folders of a recipe that have a result."""
    return sorted(seed for seed in recipe.glob("seed*") if (seed / "results" / "test_model.json").is_file())


def training(seed: Path) -> dict[str, Any]:
    """Return the facts of a training: minutes and, for the other libraries, steps and images a second."""
    if (peer := seed / "training.json").is_file():
        facts: dict[str, Any] = json.loads(peer.read_text())
        return facts | {"minutes": facts["seconds"] / 60}
    if (summary := seed / "summary.json").is_file():
        return {"minutes": json.loads(summary.read_text())["training_minutes"]}
    return {}


def compare_seeds(ours: Sequence[EvalResult], other: Sequence[EvalResult]) -> list[Difference]:
    """Return ours minus the other, with the values of each query averaged over the seeds first."""
    first, metrics = ours[0], list(ours[0].metrics)
    mine, theirs = (
        np.mean([paired_values(first.per_query, result.per_query, metrics)[2] for result in side], axis=0)
        for side in (ours, other)
    )
    return differences(
        metrics, first.per_query.sort("path"), mine, theirs, over_species=first.facts["protocol"] == "unseen"
    )


def cells(row: dict[str, Any]) -> list[str]:
    """Format one row of the table."""
    values = row["metrics"][METRIC]
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    costs = ["/".join(dict.fromkeys(shown(facts, name) for facts in row["training"])) for name in ("minutes", "steps")]
    return [
        row["protocol"],
        row["recipe"],
        str(len(values)),
        *costs,
        f"{statistics.fmean(row['metrics']['recall@1']):.3f}",
        f"{statistics.fmean(values):.3f}{spread}",
        "" if row["recipe"] == "start" or row["start"] is None else f"{statistics.fmean(values) - row['start']:+.3f}",
        above(row),
    ]


def shown(facts: dict[str, Any], name: str) -> str:
    """Format a number of a training; empty if it is not known."""
    value = facts.get(name)
    return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def above(row: dict[str, Any]) -> str:
    """Format ours minus this recipe, with its interval."""
    if not row["contrast"]:
        return ""
    interval = difference(row).interval
    return f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def difference(row: dict[str, Any]) -> Difference:
    """Return the stored difference of the metric that is shown."""
    [found] = [Difference.from_json(stored) for stored in row["contrast"] if stored["metric"] == METRIC]
    return found


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    """Say for each protocol how many recipes ours exceeds, with an interval that excludes zero."""
    lines = []
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        held = [row for row in rows if row["protocol"] == protocol and row["contrast"] and row["recipe"] != "start"]
        over = sum(difference(row).interval.low > 0 for row in held)
        lines.append(
            f"{protocol}: {METRIC} of ours exceeds {over} of {len(held)} recipes; these intervals exclude zero."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
