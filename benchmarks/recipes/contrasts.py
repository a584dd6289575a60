"""What run.py has trained so far, as a Markdown table: every recipe, and how far ours lies above it.

    python benchmarks/recipes/contrasts.py OUTPUT [--ours NAME]

Differences are paired: each query's map@r is averaged over the seeds, then ours less the other's; the 95 % interval is
over queries, over whole species where they are unseen. Every metric goes to OUTPUT/contrasts.json.
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
COLUMNS = ("protocol", "recipe", "seeds", "minutes", "steps", "recall@1", METRIC, "over its start", "ours above it")


def main() -> None:
    """Print a table of everything under OUTPUT and write every number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="of run.py")
    parser.add_argument("--ours", default="ours", metavar="NAME", help="of our recipe")
    given = parser.parse_args()
    rows = [row for folder in sorted(given.output.iterdir()) if folder.is_dir() for row in measured(folder, given.ours)]
    (given.output / "contrasts.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(f"| {' | '.join(COLUMNS)} |")
    print("|---" * len(COLUMNS) + "|")
    for row in rows:
        print(f"| {' | '.join(cells(row))} |")
    print("\n" + verdict(rows))


def measured(protocol: Path, ours: str) -> list[dict[str, Any]]:
    """A row for each recipe that has a scored run, ours last; its contrast is empty where ours is not there."""
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
    """The folders of a recipe's seeds that have a result."""
    return sorted(seed for seed in recipe.glob("seed*") if (seed / "results" / "test_model.json").is_file())


def training(seed: Path) -> dict[str, Any]:
    """What is known of a training: minutes, and for the peers steps and images a second."""
    if (peer := seed / "training.json").is_file():
        facts: dict[str, Any] = json.loads(peer.read_text())
        return facts | {"minutes": facts["seconds"] / 60}
    if (summary := seed / "summary.json").is_file():
        return {"minutes": json.loads(summary.read_text())["training_minutes"]}
    return {}


def compare_seeds(ours: Sequence[EvalResult], other: Sequence[EvalResult]) -> list[Difference]:
    """Ours less the other, every query's values averaged over the seeds first."""
    first = ours[0]
    mine, theirs = (
        np.mean([paired_values(first.per_query, result.per_query)[2] for result in side], axis=0)
        for side in (ours, other)
    )
    species = first.per_query.sort("path")["label"]
    return differences(species, mine, theirs, over_species=first.facts["protocol"] == "unseen")


def cells(row: dict[str, Any]) -> list[str]:
    """One row of the table."""
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
    """A number of a training, nothing where it is not known."""
    value = facts.get(name)
    return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def above(row: dict[str, Any]) -> str:
    """How far ours lies above this recipe, with its interval."""
    if not row["contrast"]:
        return ""
    interval = difference(row).interval
    return f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def difference(row: dict[str, Any]) -> Difference:
    """The stored difference of the metric that is shown."""
    [found] = [Difference.from_json(stored) for stored in row["contrast"] if stored["metric"] == METRIC]
    return found


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    """Of how many recipes ours is above beyond the interval, protocol by protocol."""
    lines = []
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        held = [row for row in rows if row["protocol"] == protocol and row["contrast"] and row["recipe"] != "start"]
        over = sum(difference(row).interval.low > 0 for row in held)
        lines.append(f"{protocol}: {METRIC} of ours is above {over} of {len(held)} recipes, zero outside the interval.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
