"""Measure the main job on a labelled set of photographs: every recipe under every protocol, as a Markdown table.

    python benchmarks/main_job.py DATA [KEY=VALUE ...]

DATA is a folder with images/SPECIES/IMAGE and a manifest.csv (path, label, split). Further arguments go to every run,
for example trainer.max_epochs=1 for a trial. The results are also written to benchmarks/main_job.json.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from conspecific.evaluation import Difference

RECIPES = ("default", "triplet")
PROTOCOLS = ("seen", "unseen", "query_gallery")
SHOWN = ("recall@1", "recall@5", "recall@10", "precision@10", "map@r")
HERE = Path(__file__).resolve().parent
COMMAND = Path(sys.executable).with_name("conspecific")


def main() -> None:
    """Run the recipes one after the other and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with images/ and manifest.csv")
    given, options = parser.parse_known_args()
    measured = [measure(given.data, recipe, protocol, options) for protocol in PROTOCOLS for recipe in RECIPES]
    (HERE / "main_job.json").write_text(json.dumps(measured, indent=2) + "\n")
    print(f"| protocol | encoder | {' | '.join(SHOWN)} | map@r over pooled | minutes | peak GB |")
    print("|---|---|" + "---|" * (len(SHOWN) + 3))
    for found in measured:
        print_rows(found)


def measure(data: Path, recipe: str, protocol: str, options: list[str]) -> dict[str, object]:
    """Train one recipe under one protocol and return its summary."""
    folder = Path("runs") / "main_job" / f"{protocol}_{recipe}"
    # the original set-up uses the first images of each species, not the published split
    published = ["data=manifest", f"data.path={data / 'manifest.csv'}"]
    source = ["data=folder", f"data.root={data / 'images'}"] if protocol == "query_gallery" else published
    words = [f"experiment={recipe}", f"protocol={protocol}", *source, f"hydra.run.dir={folder}", *options]
    print("conspecific train", *words, file=sys.stderr, flush=True)
    subprocess.run([COMMAND, "train", *words], check=True, stdout=sys.stderr)
    summary = json.loads((folder / "summary.json").read_text())
    return {"recipe": recipe, "protocol": protocol, "command": " ".join(words), **summary}


def print_rows(found: dict[str, object]) -> None:
    """Print the references once a protocol, before its first recipe, then the recipe."""
    tested = found["test"]
    assert isinstance(tested, dict)
    for name, metrics in tested.items():
        if name == "model" or found["recipe"] == RECIPES[0]:
            values = " | ".join(f"{metrics[metric]:.3f}" for metric in SHOWN)
            cost = f"{gain(found)} | {found['minutes']} | {found['peak_memory_gb']}" if name == "model" else "| | "
            print(f"| {found['protocol']} | {found['recipe'] if name == 'model' else name} | {values} | {cost} |")


def gain(found: dict[str, object]) -> str:
    """Format the gain in map@r over the pooled reference, with its 95 % interval."""
    gains = found["gains"]
    assert isinstance(gains, dict)
    changes = [Difference.from_json(stored) for stored in gains["pooled"]]
    [interval] = [change.interval for change in changes if change.metric == "map@r"]
    return f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


if __name__ == "__main__":
    main()
