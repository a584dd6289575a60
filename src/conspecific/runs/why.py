"""Pictures of why a query and its answers match."""

from pathlib import Path

from PIL import Image

from conspecific.config.schema import SearchConfig
from conspecific.evaluation.why import why_picture
from conspecific.images import open_rgb
from conspecific.index import Index
from conspecific.montage import stacked
from conspecific.runs.answers import Answers
from conspecific.runs.gallery import open_for
from conspecific.runs.open import OpenRun, open_run
from conspecific.runs.search import named_index

EXPLAINED = 3  # answers to a query


def open_answering(config: SearchConfig) -> OpenRun:
    """Open the run that answers a search, also where its index does. Raises RunError where it is not there."""
    if (folder := named_index(config)) is None:
        return open_run(config)
    return open_for(Index.open(folder, cache=Path(config.paths.cache).expanduser()), folder, config)


def explain(opened: OpenRun, answers: Answers, query: int) -> Image.Image:
    """Return a query beside each of its first answers, one below another; regions that agree keep their colours."""
    side, manifest = 2 * opened.image_size, answers.manifest
    asked = open_rgb(answers.queries[query], side)
    found = [identity for identity in answers.neighbors.ids[query, :EXPLAINED].tolist() if identity >= 0]
    rows = []
    for rank, identity in enumerate(found):
        species = manifest.table["label"][identity] or "unknown species"
        title = f"{rank + 1}: {species.replace('_', ' ')}, {answers.neighbors.scores[query, rank]:.3f}"
        pair = asked, manifest.open_rgb(identity, side)
        rows.append(why_picture(opened.embedder, pair, opened.image_size, (answers.queries[query].name, title)))
    return stacked(rows)
