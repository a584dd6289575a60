"""conspecific cluster: group images that nobody has labelled."""

from dataclasses import replace

import numpy as np
import polars as pl
from rich.console import Console

from conspecific.cli.table_and_page import print_places, table_and_page
from conspecific.config.schema import ClusterConfig
from conspecific.data.manifest import Manifest
from conspecific.errors import ConspecificError
from conspecific.evaluation.clusters import Agreement, NearestSpecies, agreement, cluster_images, nearest_species
from conspecific.files import write_text
from conspecific.reporting.clusters.page import cluster_name, write_clusters
from conspecific.reporting.page.wording import plural
from conspecific.runs.open import OpenRun, open_run
from conspecific.tables import PlainConsole, csv_text
from conspecific.types import FloatArray, IntArray

COLUMNS = ("path", "label", "nearest_species", "score")


def run(config: ClusterConfig) -> None:
    """Embed, cluster, and write a table that can be corrected and trained from, and a page of contact sheets."""
    console, opened = PlainConsole(), open_run(config)
    file, page = table_and_page(opened, config.output, "cluster", "clusters", COLUMNS)
    _, manifest, embeddings = opened.embed_all(console)
    clusters = cluster_images(embeddings.vectors, config.min_images)
    nearest = _nearest(opened, embeddings.vectors, clusters, console)
    agreed = agreement(clusters, manifest.labels) if manifest.labelled else None
    write_text(file, csv_text(_table(manifest, clusters, nearest)))
    write_clusters(page, manifest, clusters, nearest, agreed, file.name)
    _say(console, manifest, clusters, agreed)
    print_places(console, file, page)


def _nearest(opened: OpenRun, vectors: FloatArray, clusters: IntArray, console: Console) -> list[NearestSpecies]:
    """Return the nearest species of the run for each cluster; none where its images are clustered, or are not there."""
    if opened.config.data is None or opened.run is None or clusters.max(initial=-1) < 0:
        return []
    try:
        _, known, gallery = replace(opened, config=replace(opened.config, data=None)).embed_all(Console(quiet=True))
    except ConspecificError as error:
        console.print(f"No nearest species: {error}", style="yellow", highlight=False, soft_wrap=True)
        return []
    return nearest_species(vectors, clusters, gallery, known.species)


def _table(manifest: Manifest, clusters: IntArray, nearest: list[NearestSpecies]) -> pl.DataFrame:
    """Return the clustered images, by cluster; the name of the cluster is the label, to be corrected."""
    rows = np.argsort(clusters, kind="stable")[int((clusters < 0).sum()) :]
    found = [nearest[place] if nearest else None for place in clusters[rows].tolist()]
    columns = {
        "path": manifest.table["path"].gather(rows),
        "label": [cluster_name(place) for place in clusters[rows].tolist()],
        "nearest_species": pl.Series([each and each.species for each in found], dtype=pl.String),
        "score": pl.Series([each and each.score for each in found], dtype=pl.Float64),
    }
    return pl.DataFrame(columns)


def _say(console: Console, manifest: Manifest, clusters: IntArray, agreed: Agreement | None) -> None:
    count, alone = int(clusters.max(initial=-1)) + 1, int((clusters < 0).sum())
    found = (
        f"{plural(count, 'cluster')} of {len(manifest) - alone:,} images; {alone:,} of {len(manifest):,} are in none."
    )
    console.print(found, highlight=False, soft_wrap=True)
    if agreed is not None:
        told = f"adjusted Rand index {agreed.rand:.3f}, V-measure {agreed.v_measure:.3f}"
        console.print(f"Against the labels of {agreed.images:,} of them: {told}", highlight=False, soft_wrap=True)
