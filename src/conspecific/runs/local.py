"""Local re-ranking of a run's answers: calibrated on its validation once, and kept in the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from torch import Tensor

from conspecific.config.schema import LocalConfig, SearchConfig
from conspecific.data.dataset import EvaluationImages
from conspecific.data.manifest import Manifest
from conspecific.errors import ConfigError
from conspecific.evaluation.local.calibration import Calibration
from conspecific.evaluation.local.cells import CellDescriptors
from conspecific.evaluation.local.described import Described
from conspecific.evaluation.local.searcher import LocalSearcher
from conspecific.evaluation.score_precision import ScorePrecision
from conspecific.images import center_crop, open_rgb, to_tensor, workers_for
from conspecific.index import GallerySearcher, Index, Searcher
from conspecific.metrics import TPR
from conspecific.runs.answers import Answers, Threshold
from conspecific.runs.calibrated import open_calibration
from conspecific.runs.gallery import open_for
from conspecific.runs.open import OpenRun, open_run
from conspecific.runs.search import embed_queries, index_folder, indexed_images
from conspecific.types import EmbeddingSet

KEPT = 512, 4096  # images whose keypoints, or cells, are kept in memory: of 135 kB, or 12.5 kB with the default network


@dataclass(frozen=True)
class LocalRanking:
    """Re-ranks the first answers of a search. described: of queries and gallery, as they are asked for."""

    calibration: Calibration
    described: Described

    @property
    def side(self) -> int:
        """Side in pixels of the images that descriptors are computed from."""
        return self.described.kind.side

    @property
    def precision(self) -> ScorePrecision:
        """What scores of re-ranked answers were worth on validation."""
        return ScorePrecision.of(self.calibration.validated)

    def take(self, sample_id: int, image: Tensor) -> None:
        """Describe a query that is no image of the gallery, uint8 [3, side, side]."""
        self.described.hold(sample_id, self.described.kind.describe(image[None])[0])

    def searcher(self, gallery: EmbeddingSet, plain: GallerySearcher) -> LocalSearcher:
        """Return a search of a gallery. plain: its search by embeddings."""
        return LocalSearcher(gallery, plain, self.described, self.calibration.first, self.calibration.fusion)


def find_local(config: SearchConfig, queries: Sequence[Path], console: Console) -> Answers:
    """Return the nearest images of each query, the first `config.local` of them re-ranked.

    Of an index, its vectors are searched; local descriptors are computed from the images, of the query and of the
    answers that are re-ranked alone. Raises what `find_answers` does, also where the run of an index is not there.
    """
    folder = index_folder(config)
    if folder is None:
        opened = open_run(config)
        _, manifest, gallery = opened.embed_all(console)
        plain: GallerySearcher = Searcher(gallery, opened.embedder.metric)
    else:
        index = Index.open(folder, cache=Path(config.paths.cache).expanduser())
        opened, manifest = open_for(index, folder, config), indexed_images(index, config)
        require_plain(index, folder)
        console.print(f"Index: {folder}, {len(index):,} images, {index.kind}", soft_wrap=True, highlight=False)
        gallery, plain = EmbeddingSet(index.vectors, index.images["id"].to_numpy(), manifest.labels), index.searcher
    row_of = {sample_id: row for row, sample_id in enumerate(gallery.ids.tolist())}
    ranking = open_ranking(opened, config, manifest, row_of, console, queries)
    asked = EmbeddingSet(embed_queries(opened, queries, False), -1 - np.arange(len(queries)), np.full(len(queries), -1))
    found = ranking.searcher(gallery, plain).search(asked, min(config.k, len(gallery)))
    rows = np.vectorize(lambda sample_id: row_of.get(sample_id, -1), otypes=[np.int64])(found.ids)
    worth = ranking.precision
    known = Threshold(worth.threshold, TPR), worth.sure
    return Answers(tuple(queries), manifest, replace(found, ids=rows), folder or opened.weights, *known)


def require_plain(index: Index, folder: Path) -> None:
    """Raise ConfigError for an index of averaged embeddings: local re-ranking is calibrated for plain ones."""
    if index.flip:
        raise ConfigError(f"local is for plain embeddings, and {folder} was made with flip=true: leave local out")


def open_ranking(
    opened: OpenRun,
    asked: LocalConfig,
    manifest: Manifest,
    row_of: Mapping[int, int],
    console: Console,
    queries: Sequence[Path] = (),
) -> LocalRanking:
    """Return the re-ranking of answers by a run, calibrated before or now, and print in one line whether it pays.

    asked: how answers are re-ranked. manifest, row_of: of the gallery, and the rows of its sample ids. queries: images
    whose ids are -1, -2 and so on.
    """
    calibration, kind = open_calibration(opened, asked, console)
    console.print(f"{calibration}.", soft_wrap=True, highlight=False)
    images = EvaluationImages(manifest, np.arange(len(manifest)), kind.side)
    if isinstance(kind, CellDescriptors):
        encoder = opened.encoder(opened.embedder, images, asked.local * max(len(queries), 1), console)
        device = kind.device
        kind = replace(kind, to_features=lambda batch: encoder(batch).to(device))

    def read(sample_id: int) -> Tensor:
        if sample_id < 0:
            return to_tensor(center_crop(open_rgb(queries[-1 - sample_id], kind.side), kind.side))
        image: Tensor = images[row_of[sample_id]]["image"]
        return image

    most = max(KEPT[isinstance(kind, CellDescriptors)], asked.local + 1)
    return LocalRanking(calibration, Described(kind, read, workers_for(opened.config.workers), most))
