"""Measure the leak check: its time, the copies it finds, and its recall on altered copies, as Markdown tables.

    python benchmarks/leaks.py DATA [--copies 300]

DATA has one folder of images for each species. First every image is compared with every other, with an empty cache, and
the pairs are counted. They can be true copies: inspect them. Then altered copies of some images, drawn at random, are
added to the images, one kind of alteration at a time. The results are also written to benchmarks/leaks.json.
"""

import argparse
import io
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from rich.console import Console

from conspecific.data.manifest import Manifest
from conspecific.data.sources import from_folder
from conspecific.encoding import Encoders
from conspecific.evaluation import device_for
from conspecific.images import open_rgb, workers_for
from conspecific.leaks.copies import find_copies
from conspecific.leaks.image_hashes import image_hashes

HERE = Path(__file__).resolve().parent
Alteration = Callable[[Image.Image, random.Random], Image.Image]


def main() -> None:
    """Measure the images as they are, then with altered copies added."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a folder with one folder of images for each species")
    parser.add_argument("--copies", type=int, default=300, help="number of copies of each kind")
    given = parser.parse_args()
    manifest = from_folder(given.data)
    seconds, pairs = check(manifest)
    plain = counted(manifest, seconds, pairs)
    print("| images | seconds | exact pairs | near pairs | of these under two species | peak GB |")
    print("|---|---|---|---|---|---|")
    print(f"| {' | '.join(str(value) for value in plain.values())} |", flush=True)
    known = {(row["first"], row["second"]) for row in pairs.iter_rows(named=True)}
    chosen = sorted(random.Random(0).sample(range(len(manifest)), min(given.copies, len(manifest))))
    print("\n| alteration | found | view that matched | further pairs with images that are not copies |")
    print("|---|---|---|---|")
    found = [measure(manifest, name, chosen, known) for name in ALTERATIONS]
    (HERE / "leaks.json").write_text(json.dumps({"plain": plain, "copies": found}, indent=2) + "\n")


def check(manifest: Manifest) -> tuple[float, pl.DataFrame]:
    """Return the seconds and the pairs of a check with an empty cache."""
    console = Console(file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        found = image_hashes(manifest, "benchmark", Path(folder), workers_for(None), console)
        pairs = find_copies(manifest, "benchmark", found, Path(folder), Encoders(device=device_for("auto")), console)
        return time.perf_counter() - began, pairs


def counted(manifest: Manifest, seconds: float, pairs: pl.DataFrame) -> dict[str, float]:
    """Return the row of the images as they are."""
    near = pairs.filter(pl.col("kind") == "near")
    labels = manifest.labels
    return {
        "images": len(manifest),
        "seconds": round(seconds, 1),
        "exact": pairs.height - near.height,
        "near": near.height,
        "two_species": int(np.sum(labels[near["first"].to_numpy()] != labels[near["second"].to_numpy()])),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def measure(manifest: Manifest, name: str, chosen: list[int], known: set[tuple[int, int]]) -> dict[str, object]:
    """Add altered copies to the images, check all of them together, and print the row of this alteration."""
    chance = random.Random(name)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for sample_id in chosen:
            copy = ALTERATIONS[name](open_rgb(manifest.path(sample_id)), chance)
            (root / f"{sample_id}.jpg").write_bytes(jpeg(copy, 30 if name == "JPEG quality 30" else 85))
        rows = [(str(manifest.path(place)), label) for place, label in enumerate(manifest.table["label"])]
        rows += [(str(root / f"{sample_id}.jpg"), "copy") for sample_id in chosen]
        both = Manifest.from_table(Path("/"), pl.DataFrame(rows, schema=["path", "label"], orient="row"))
        _, pairs = check(both)
    original = {len(manifest) + place: sample_id for place, sample_id in enumerate(chosen)}
    hits = [row for row in pairs.iter_rows(named=True) if original.get(row["second"]) == row["first"]]
    twins = {
        sample_id: {sample_id, *(sum(pair) - sample_id for pair in known if sample_id in pair)} for sample_id in chosen
    }
    others = [pair for pair in pairs.select("first", "second").iter_rows() if pair not in known and pair[1] in original]
    strange = sum(original.get(first, first) not in twins[original[second]] for first, second in others)
    views = ", ".join(
        f"{view} {count}" for view, count in pl.DataFrame(hits)["view"].value_counts().sort("view").iter_rows()
    )
    print(f"| {name} | {len(hits) / len(chosen):.3f} | {views} | {strange} |", flush=True)
    return {"copies": name, "found": len(hits) / len(chosen), "views": views, "strange": strange}


def jpeg(image: Image.Image, quality: int) -> bytes:
    """Return the bytes of a JPEG file."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def crop(share: float) -> Alteration:
    """Crop this share of width and of height, divided between opposite sides at random."""

    def cut(image: Image.Image, chance: random.Random) -> Image.Image:
        width, height = round(image.width * share), round(image.height * share)
        left, top = chance.randint(0, width), chance.randint(0, height)
        return image.crop((left, top, image.width - width + left, image.height - height + top))

    return cut


def one_side(share: float) -> Alteration:
    """Crop this share of one side, drawn at random."""

    def cut(image: Image.Image, chance: random.Random) -> Image.Image:
        box = [0, 0, image.width, image.height]
        side = chance.randrange(4)
        box[side] += round(share * image.size[side % 2]) * (1 if side < 2 else -1)
        return image.crop((box[0], box[1], box[2], box[3]))

    return cut


def caption(image: Image.Image, chance: random.Random) -> Image.Image:
    """White text on a black bar at the bottom left, about half the width."""
    draw, (width, height) = ImageDraw.Draw(image), image.size
    draw.rectangle((0.02 * width, 0.9 * height, 0.5 * width, 0.97 * height), fill="black")
    draw.text((0.04 * width, 0.905 * height), "(c) someone, 2013", fill="white")
    return image


ALTERATIONS: dict[str, Alteration] = {
    "JPEG quality 30": lambda image, chance: image,
    "resized to 60 %": lambda image, chance: image.resize((image.width * 3 // 5, image.height * 3 // 5)),
    "mirrored": lambda image, chance: ImageOps.mirror(image),
    "one side cut by 5 %": one_side(0.05),
    "one side cut by 10 %": one_side(0.10),
    "one side cut by 15 %": one_side(0.15),
    "width and height cut by 5 %": crop(0.05),
    "width and height cut by 10 %": crop(0.10),
    "width and height cut by 15 %": crop(0.15),
    "mirrored, width and height cut by 10 %": lambda image, chance: crop(0.10)(ImageOps.mirror(image), chance),
    "brightness x 0.7 or 1.35": lambda image, chance: ImageEnhance.Brightness(image).enhance(
        chance.choice((0.7, 1.35))
    ),
    "contrast x 0.6 or 1.5": lambda image, chance: ImageEnhance.Contrast(image).enhance(chance.choice((0.6, 1.5))),
    "a caption drawn on": caption,
}


if __name__ == "__main__":
    main()
