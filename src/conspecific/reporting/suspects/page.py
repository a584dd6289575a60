"""The page of suspect labels: each image beside the nearest of its own species and of the one it looks like."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from conspecific.data.manifest import Manifest
from conspecific.files import write_text
from conspecific.images import open_rgb
from conspecific.reporting.page.section import Section, render_page
from conspecific.reporting.page.thumbnails import Side, Thumbnails
from conspecific.reporting.page.wording import number, plural, species_name


@dataclass(frozen=True, slots=True)
class Suspect:
    """One image. sides: itself, the nearest image of its species, and that of the one it looks like."""

    place: int
    label: str
    suggested: str
    evidence: str
    sides: tuple[Side, Side, Side]


def write_suspects(path: Path, table: pl.DataFrame, manifest: Manifest, most: int, table_name: str) -> Path:
    """Write the page of the first `most` rows of what `suspect_labels` returned; return its path.

    table_name: of the file that has all of them.
    """
    shown = [_suspect(place, row) for place, row in enumerate(table.head(most).iter_rows(named=True), 1)]
    title = f"{table.height:,} of {plural(len(manifest), 'image')} look more like another species"
    if not shown:
        title = f"None of {plural(len(manifest), 'image')} looks more like another species"
    own = {
        "title": title,
        "over": f"suspect labels in {manifest.root.name}",
        "headline": f"{title}.",
        "lead": [
            "Each image below looks more like images of another species than like those of its own, the most suspect "
            "first. Not every one is an error: species that are alike are here too, further down.",
            "Images were compared in five parts, each by the labels of the other four, with the network as it was "
            "before training: no label vouches for itself.",
        ],
    }
    images = Thumbnails(lambda name: open_rgb(manifest.root / name, shorter_side=224))
    shared = {"images": images, "more": table.height - len(shown), "table_name": table_name}
    write_text(path, render_page("suspects/page.html.j2", SECTIONS, shown, shared, own, ("page/viewer.js",)))
    return path


def _suspect(place: int, row: dict[str, Any]) -> Suspect:
    label, suggested = species_name(row["label"]), species_name(row["suggested"])
    alike = f"score {number(row['like_label'])}", f"score {number(row['like_suggested'])}"
    return Suspect(
        place,
        label,
        suggested,
        number(row["evidence"]),
        (
            Side(row["path"], f"labelled {label}", "", f"Suspect image, labelled {label}"),
            Side(row["nearest"], f"nearest {label}", alike[0], f"Nearest image of {label}"),
            Side(row["nearest_suggested"], f"nearest {suggested}", alike[1], f"Nearest image of {suggested}"),
        ),
    )


def _listed(suspects: list[Suspect]) -> dict[str, Any] | None:
    return {"suspects": suspects} if suspects else None


SECTIONS: list[Section[list[Suspect]]] = [Section("images", "Images", "suspects/images.html.j2", _listed)]
