"""The page of clusters: a contact sheet for each group of images, and one of those in none."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conspecific.data.manifest import Manifest
from conspecific.evaluation.clusters import Agreement, NearestSpecies
from conspecific.files import write_text
from conspecific.images import open_rgb
from conspecific.reporting.page.section import Section, render_page
from conspecific.reporting.page.thumbnails import Thumbnails
from conspecific.reporting.page.wording import number, plural, species_name
from conspecific.types import IntArray

SHOWN = 24  # images of a cluster on the page
SIDE = 112  # pixels


@dataclass(frozen=True, slots=True)
class Sheet:
    """A cluster: its name, what it may be, and the first of its images. more: how many it has besides."""

    name: str
    size: str
    nearest: str
    paths: tuple[str, ...]
    more: int


def cluster_name(place: int) -> str:
    """Return what a cluster is called: `cluster 001` for the first."""
    return f"cluster {place + 1:03}"


def write_clusters(
    path: Path,
    manifest: Manifest,
    clusters: IntArray,
    nearest: Sequence[NearestSpecies],
    agreed: Agreement | None,
    table_name: str,
) -> Path:
    """Write the page and return its path. nearest: of each cluster, empty where no species is known."""
    count, alone = int(clusters.max(initial=-1)) + 1, int((clusters < 0).sum())
    sheets = [_sheet(manifest, clusters, place, nearest) for place in range(count)]
    title = f"{plural(count, 'cluster')} of {len(manifest) - alone:,} images; {alone:,} are in none"
    lead = [
        "Each cluster holds images that are near each other and apart from others. Two clusters may be one species, of "
        "two plumages or views, and one may hold two species that are alike."
    ]
    if agreed is not None:
        lead.append(
            f"Against the labels of {agreed.images:,} of them: adjusted Rand index {number(agreed.rand)}, V-measure "
            f"{number(agreed.v_measure)}."
        )
    own = {"title": title, "over": f"clusters in {manifest.root.name}", "headline": f"{title}.", "lead": lead}
    images = Thumbnails(lambda name: open_rgb(manifest.root / name, shorter_side=SIDE), SIDE)
    shared = {"images": images, "side": SIDE, "table_name": table_name}
    subject = sheets, _sheet(manifest, clusters, -1, ())
    write_text(path, render_page("clusters/page.html.j2", SECTIONS, subject, shared, own))
    return path


def _sheet(manifest: Manifest, clusters: IntArray, place: int, nearest: Sequence[NearestSpecies]) -> Sheet:
    members = manifest.table["path"].gather(np.flatnonzero(clusters == place)).to_list()
    like = ""
    if nearest:
        found = nearest[place]
        like = f"nearest known species: {species_name(found.species)}, score {number(found.score)}"
    name = "In no cluster" if place < 0 else cluster_name(place).capitalize()
    return Sheet(name, plural(len(members), "image"), like, tuple(members[:SHOWN]), max(0, len(members) - SHOWN))


def _clusters(subject: tuple[list[Sheet], Sheet]) -> dict[str, Any] | None:
    return {"sheets": subject[0]} if subject[0] else None


def _alone(subject: tuple[list[Sheet], Sheet]) -> dict[str, Any] | None:
    return {"sheets": [subject[1]]} if subject[1].paths else None


SECTIONS: list[Section[tuple[list[Sheet], Sheet]]] = [
    Section("clusters", "Clusters", "clusters/sheets.html.j2", _clusters),
    Section("alone", "In no cluster", "clusters/sheets.html.j2", _alone),
]
