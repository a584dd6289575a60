"""Prove that a change of the code moved no number: compare the records of two runs to the last digit.

    python benchmarks/unmoved.py OLD_RUN NEW_RUN

Run the same command once with the code before the change and once with the code after it, on the same machine, with the
same versions and number of threads. epochs.jsonl, summary.json and everything in results/ are compared: numbers must be
equal bit for bit, texts and orders too. Times, memory and paths are ignored. Keys that were renamed are compared under
their new name; keys that the new code adds are listed, and are no difference. The exit status is 1 if anything differs.
"""

import argparse
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

RENAMED = {
    "part": "subset",
    "pictures": "images",
    "tuned_share": "wise_ft_alpha",
    "rewhitened": "whitening_refitted",
}
IGNORED = {"minutes", "training_minutes", "seconds", "peak_memory_gb", "data_root", "schema_version", "checksum"}
SHOWN = 20


def main() -> int:
    """Compare, print every difference, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="the run directory of the code before")
    parser.add_argument("new", type=Path, help="the run directory of the code after")
    given = parser.parse_args()
    old, new = numbers(given.old), numbers(given.new)
    if not old:
        print(f"{given.old} holds no record: neither epochs.jsonl nor summary.json nor results/", file=sys.stderr)
        return 1
    if added := sorted(new.keys() - old.keys()):
        print(f"{len(added)} values are only in {given.new}: {', '.join(added[:SHOWN])}{' ...' * (len(added) > SHOWN)}")
    found = [f"{place}: {old[place]!r}, now {new.get(place, 'missing')!r}" for place in old if differ(old, new, place)]
    print(*found[:SHOWN], sep="\n", end="\n" if found else "")
    print(f"{len(found)} of {len(old)} values differ" if found else f"All {len(old)} values are equal.")
    return 1 if found else 0


def numbers(run: Path) -> dict[str, Any]:
    """Every value of the record under its file and its path in it, with today's names."""
    found: dict[str, Any] = {}
    for file in sorted([run / "epochs.jsonl", run / "summary.json", *run.glob("results/*")]):
        if file.is_file():
            found |= dict(leaves(read(file), file.relative_to(run).as_posix()))
    return found


def read(file: Path) -> Any:
    """A file of the record as plain containers; a table as its columns."""
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in file.read_text().splitlines()]
    return pl.read_parquet(file).to_dict(as_series=False) if file.suffix == ".parquet" else json.loads(file.read_text())


def leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Each number, text and truth value in nested containers, with where it is."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in IGNORED:
                yield from leaves(inner, f"{place}/{RENAMED.get(key, key)}")
    elif isinstance(value, list):
        yield f"{place}/length", len(value)
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{place}/{number}")
    else:
        yield place, value


def differ(old: dict[str, Any], new: dict[str, Any], place: str) -> bool:
    """Whether a value is missing in the new record, or another one. NaN equals NaN; 0.0 and -0.0 differ."""
    if place not in new:
        return True
    first, second = old[place], new[place]
    if isinstance(first, float) and isinstance(second, float):
        return struct.pack("d", first) != struct.pack("d", second)
    return type(first) is not type(second) or first != second


if __name__ == "__main__":
    sys.exit(main())
