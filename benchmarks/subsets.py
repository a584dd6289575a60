"""Train on subsets of a data set and compare with the pooled reference: does the default ever do harm?

    python benchmarks/subsets.py --data PATH/manifest.csv [--name birds100] [--species 10,20] [--images 4,10]
        [--protocols unseen] [--seeds 0] [--quick] [OVERRIDE ...]

Each cell is one ordinary run of the default configuration on some species with some images of each, drawn by a seed.
Every run is one JSON line in benchmarks/subsets_NAME.jsonl; runs that are there are not repeated, so that an
interrupted grid continues. The table, and the heat map in docs/images/subsets_NAME.svg, show the mean gain in map@r
over the pooled reference on test. The last line counts the runs whose interval is below zero.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib import pyplot

import conspecific
from conspecific.data.splits import SMALLEST_SEEN

HERE = Path(__file__).resolve().parent
SPECIES, IMAGES, SEEDS = (10, 20, 37, 100), (4, 10, 20, 40, 60), (0, 1, 2)
PROTOCOLS = ("seen", "unseen", "query_gallery")
MAIN = "map@r"


def main() -> None:
    """Run the cells that are missing, and print what all of them found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a CSV with the columns path and label")
    parser.add_argument("--name", help="of the data in files and titles; default: the folder of the CSV")
    parser.add_argument("--species", default=",".join(map(str, SPECIES)))
    parser.add_argument("--images", default=",".join(map(str, IMAGES)))
    parser.add_argument("--protocols", default=",".join(PROTOCOLS))
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    parser.add_argument("--cache", default=None, help="folder of all caches, shared by all cells")
    parser.add_argument("--quick", action="store_true", help="a trial with a test network in seconds")
    parser.add_argument("--show", action="store_true", help="run nothing; show what is there")
    parser.add_argument("overrides", nargs="*", help="overrides of conspecific train")
    given = parser.parse_args()
    name = given.name or given.data.resolve().parent.name
    file = HERE / f"subsets_{name}.jsonl"
    table = pl.read_csv(given.data, columns=["path", "label"], schema_overrides={"label": pl.String})
    overrides = [*given.overrides, *(["paths.cache=" + given.cache] if given.cache else [])]
    if given.quick:
        overrides += QUICK
    sizes = [[int(each) for each in getattr(given, key).split(",")] for key in ("species", "images", "seeds")]
    wanted = cells(table, *sizes, given.protocols.split(","))
    for cell in [] if given.show else wanted:
        if cell not in [identity(row) for row in read(file)]:
            row = {**cell, **run(cell, table, given.data.resolve().parent, overrides)}
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            print(json.dumps(row), file=sys.stderr, flush=True)
    rows = read(file)
    print(markdown(rows))
    if not given.quick:
        draw(rows, name, HERE.parent / "docs" / "images" / f"subsets_{name}.svg")
    print(conclusion(rows))


QUICK = [
    "model=timm",
    "model.backbone=test_resnet",
    "model.weights=none",
    "loader.image_size=64",
    "loader.train_size=64",
    "loader.workers=0",
    "trainer.max_epochs=1",
    "encode.backend=torch",
    "recipe.cached_augmentations=2",
]


def cells(
    table: pl.DataFrame, species: Sequence[int], images: Sequence[int], seeds: Sequence[int], protocols: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield each cell of the grid that the data can fill: that many species with that many images each.

    `seen` needs images for training, validation and test of each species.
    """
    counts = table.group_by("label").len()
    for number in images:
        for kinds in species:
            if counts.filter(pl.col("len") >= number).height >= kinds:
                for protocol in (name for name in protocols if name != "seen" or number >= SMALLEST_SEEN):
                    for seed in seeds:
                        yield {"species": kinds, "images": number, "protocol": protocol, "seed": seed}


def subset(table: pl.DataFrame, species: int, images: int, seed: int) -> pl.DataFrame:
    """Return the rows of random species that have enough images, and of that many images of each."""
    rng = np.random.default_rng((seed, species, images))
    counts = table.group_by("label").len().filter(pl.col("len") >= images)
    chosen = sorted(rng.permutation(sorted(counts["label"]))[:species])
    rows = [table.filter(pl.col("label") == name) for name in chosen]
    return pl.concat([own[np.sort(rng.permutation(own.height)[:images])] for own in rows])


def run(cell: dict[str, Any], table: pl.DataFrame, root: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Train on a cell and return what the run kept and gained on test over the pooled reference."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "manifest.csv"
        subset(table, cell["species"], cell["images"], cell["seed"]).write_csv(manifest)
        own = ["data=manifest", f"data.path={manifest}", f"data.root={root}", f"protocol={cell['protocol']}"]
        if cell["protocol"] == "query_gallery":
            queries = max(1, cell["images"] // 4)
            own += [f"split.query_images={queries}", f"split.gallery_images={cell['images'] - queries}"]
        record = conspecific.train([*own, f"seed={cell['seed']}", f"hydra.run.dir={folder}/run", *overrides])
        assert record is not None
        found = {difference.metric: difference for difference in record.gains["pooled"]}
        values = {
            metric: {"pooled": found[metric].other, "model": found[metric].value, "low": found[metric].interval.low}
            | {"high": found[metric].interval.high}
            for metric in ("recall@1", MAIN)
        }
        counts = {"train": record.counts.train, "val": record.counts.val, "tested": record.counts.tested}
        return {**values, "kept": str(record.selection), **counts, "seconds": round(time.perf_counter() - began, 1)}


def identity(row: dict[str, Any]) -> dict[str, Any]:
    """Return which cell a row is of."""
    return {key: row[key] for key in ("species", "images", "protocol", "seed")}


def read(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a file, none where it is missing."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def grouped(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, int, int], list[dict[str, Any]]]:
    """Return the rows of each protocol, number of species and number of images."""
    found = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["protocol"], row["species"], row["images"], row["seed"])):
        found[row["protocol"], row["species"], row["images"]].append(row)
    return dict(found)


def gain(row: dict[str, Any], metric: str = MAIN) -> float:
    """Return the gain over the pooled reference."""
    return float(row[metric]["model"] - row[metric]["pooled"])


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table with a line for each cell, its seeds together."""
    lines = [
        "| protocol | species | images | pooled map@r | gain | lowest to highest interval | below zero | recall@1 gain "
        "| kept untrained | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (protocol, species, images), own in grouped(rows).items():
        low, high = min(row[MAIN]["low"] for row in own), max(row[MAIN]["high"] for row in own)
        worse, untrained = sum(row[MAIN]["high"] < 0 for row in own), sum("untrained" in row["kept"] for row in own)
        values = [f"{statistics.mean(row[MAIN]['pooled'] for row in own):.3f}", f"{mean_gain(own):+.3f}"]
        values += [f"{low:+.3f} to {high:+.3f}", f"{worse} of {len(own)}"]
        values += [f"{statistics.mean(gain(row, 'recall@1') for row in own):+.3f}", f"{untrained} of {len(own)}"]
        values.append(f"{statistics.median(row['seconds'] for row in own):.0f}")
        lines.append(f"| {protocol} | {species} | {images} | {' | '.join(values)} |")
    return "\n".join(lines)


def mean_gain(rows: Sequence[dict[str, Any]]) -> float:
    """Return the mean gain of the seeds of a cell."""
    return statistics.mean(gain(row) for row in rows)


def conclusion(rows: Sequence[dict[str, Any]]) -> str:
    """Return how many runs are below the pooled reference, and how many cells gain on average."""
    worse = sum(row[MAIN]["high"] < 0 for row in rows)
    own = grouped(rows).values()
    better = sum(mean_gain(cell) > 0 for cell in own)
    return (
        f"{worse} of {len(rows)} runs have an interval below zero; the mean gain is above zero in {better} of "
        f"{len(own)} cells."
    )


def draw(rows: Sequence[dict[str, Any]], name: str, file: Path) -> None:
    """Draw the mean gain of every cell as a heat map, a panel for each protocol."""
    found = grouped(rows)
    protocols = [protocol for protocol in PROTOCOLS if any(key[0] == protocol for key in found)]
    species, images = (sorted({key[place] for key in found}) for place in (1, 2))
    most = max(abs(mean_gain(own)) for own in found.values()) or 1.0
    matplotlib.rcParams["svg.hashsalt"] = name
    size = (0.9 + 3.3 * len(protocols), 1.6 + 0.5 * len(species))
    figure, axes = pyplot.subplots(1, len(protocols), figsize=size, squeeze=False, layout="constrained")
    for axis, protocol in zip(axes[0], protocols, strict=True):
        values = np.full((len(species), len(images)), np.nan)
        for (kind, row, column), own in found.items():
            if kind == protocol:
                place = species.index(row), images.index(column)
                values[place] = mean_gain(own)
                worse = any(each[MAIN]["high"] < 0 for each in own)
                text = f"{values[place]:+.3f}" + ("\nworse" if worse else "")
                dark = abs(values[place]) > 0.6 * most
                axis.text(place[1], place[0], text, ha="center", va="center", fontsize=8, color="w" if dark else "k")
        axis.imshow(values, cmap="PiYG", vmin=-most, vmax=most, aspect="auto")
        axis.set_title(protocol, fontsize=10)
        axis.set_xticks(range(len(images)), [str(each) for each in images])
        axis.set_yticks(range(len(species)), [str(each) for each in species])
        axis.set_xlabel("images of each species")
        axis.tick_params(length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
    axes[0][0].set_ylabel("species")
    figure.suptitle(f"{name}: mean gain in map@r over the pooled reference", fontsize=11)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
