"""An index: a gallery that is kept on disk, searched, and changed image by image."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
import polars as pl

from conspecific.config.refine import RefineConfig
from conspecific.errors import DataError, RunError
from conspecific.index.approximate import AnySearcher, ApproximateSearcher, make_searcher
from conspecific.index.folder import COLUMNS, STRUCTURE, Contents, Stored, read_folder, write_folder
from conspecific.index.kinds import AUTO, Kind, can_remove, choose_kind
from conspecific.index.searcher import Searcher
from conspecific.types import EmbeddingSet, FloatArray, IntArray, Neighbors, Similarity

MEMORY_GB = 4.0  # that kind=auto may take


class Index:
    """A gallery of embeddings, with the path and species of each image, that is searched by a structure of some kind.

    images: a row an image: id, ascending and never used twice; path; label, null where the species is not known;
        content, a hash of the file or null. Its row is that of the image's vector.
    searcher: of the plain search, by the ids of `images`.
    within: [D, D] float32, covariance of embeddings within species, for `refine.wiener`; None where it is not known.

    >>> index = Index.build(np.eye(3, dtype=np.float32), ["a.jpg", "b.jpg", "c.jpg"], ["wren", "wren", "owl"])
    >>> found = index.search(np.array([[0, 0.1, 1]], np.float32), k=2)
    >>> [index.images.row(row, named=True)["path"] for row in index.rows(found.ids[0])]
    ['c.jpg', 'b.jpg']
    """

    def __init__(
        self,
        stored: Stored,
        images: pl.DataFrame,
        vectors: FloatArray,
        searcher: AnySearcher,
        within: FloatArray | None = None,
    ) -> None:
        self.stored, self.images, self.vectors, self.searcher, self.within = stored, images, vectors, searcher, within
        self.contents: Contents | None = None

    @classmethod
    def build(
        cls,
        vectors: FloatArray,
        paths: Sequence[str],
        labels: Sequence[str | None] | None = None,
        *,
        kind: str = AUTO,
        similarity: Similarity = "cosine",
        contents: Sequence[str | None] | None = None,
        memory_gb: float = MEMORY_GB,
        within: FloatArray | None = None,
        **facts: Any,
    ) -> Self:
        """Build an index over embeddings [N, D] float32.

        paths: of the images, relative to a root folder, each once. labels: their species. kind: exact, hnsw, ivf,
        ivfpq, sq8, fp16, binary, or auto, which keeps within `memory_gb`; docs/gallery.md says what each costs.
        within: covariance within species, as `index.wiener.within_covariance` gives it. facts: `encoder`, `source`,
        `root` and `threshold` of `Stored`.
        Raises DataError for columns of other lengths or paths that repeat, ConfigError for the kind, and ValueError for
        vectors that are not finite.
        """
        images = _table(np.arange(len(vectors)), paths, labels, contents)
        chosen = choose_kind(kind, len(vectors), vectors.shape[1], memory_gb)
        stored = Stored(chosen, similarity, len(vectors), vectors.shape[1], len(vectors), **facts)
        return cls(stored, images, vectors, make_searcher(_embeddings(vectors, images), similarity, chosen), within)

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        *,
        encoder: Mapping[str, Any] | None = None,
        cache: Path | None = None,
        say: Callable[[str], None] = print,
    ) -> Self:
        """Read an index that `save` wrote, every file checked before it is used.

        encoder: what the embeddings of queries depend on; those of the index must be equal. cache: the folder of this
            machine's key; None: where `conspecific` keeps its caches.
        say: gets a line where a structure that another machine wrote is built again from the vectors, unread.
        Raises RunError for an index that is damaged or changed, or belongs to another encoder.
        """
        contents = read_folder(Path(folder).expanduser(), cache or default_cache())
        stored = contents.stored
        if encoder is not None:
            require_encoder(stored, encoder, contents.folder)
        embeddings = _embeddings(contents.vectors, contents.images)
        if stored.kind == "exact":
            searcher: AnySearcher = Searcher(embeddings, stored.similarity)
        elif contents.sealed:
            structure = _read_structure(contents.folder / STRUCTURE, stored)
            searcher = ApproximateSearcher(embeddings, stored.similarity, stored.kind, structure)
        else:
            say(f"{folder} was written on another machine: its {stored.kind} structure is built again, not read.")
            searcher = make_searcher(embeddings, stored.similarity, stored.kind)
        index = cls(stored, contents.images, contents.vectors, searcher, contents.within)
        index.contents = contents
        return index

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        cache: Path | None = None,
        encoder: Sequence[Path] | None = None,
    ) -> None:
        """Write the index, whole or not at all; it may be the folder that it was read from.

        encoder: files of the network from images to embeddings, of the names in `folder.ENCODER`; None keeps those of
        the folder it was read from. Raises RunError if a folder of that name holds anything else.
        """
        if encoder is None:
            encoder = self.contents.encoder if self.contents else ()
        approximate = self.searcher if isinstance(self.searcher, ApproximateSearcher) else None
        write = None if approximate is None else lambda path: faiss.write_index(approximate.structure, str(path))
        place, own = Path(folder).expanduser(), cache or default_cache()
        write_folder(place, self.stored, self.images, self.vectors, write, encoder, own, self.within)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def kind(self) -> Kind:
        """exact, hnsw, ivf, ivfpq, sq8, fp16 or binary."""
        return self.stored.kind

    @property
    def bytes_per_image(self) -> float:
        """What the structure takes in memory for one image. Vectors that it does not hold are read from the disk."""
        return self.searcher.gallery_bytes / len(self)

    @property
    def flip(self) -> bool:
        """Whether embeddings are averaged with those of mirrored images, as those of queries must be then."""
        return bool(self.stored.encoder.get("flip"))

    def search(self, queries: EmbeddingSet | FloatArray, k: int, refine: RefineConfig | None = None) -> Neighbors:
        """Return the k nearest images of each query; see `Searcher.search`.

        queries: vectors [Q, D] float32, or embeddings whose sample ids are those of `images` where a query is to leave
            itself out. refine: how answers are refined; their scores are not those of a plain search. Its flip is
            only for an index that has it too.
        """
        if not isinstance(queries, EmbeddingSet):
            unknown = np.full(len(queries), -1)
            queries = EmbeddingSet(queries, unknown - np.arange(len(queries)), unknown)
        if refine is not None and self.flip:
            refine = replace(refine, flip=False)  # the vectors have it already
        if refine is None or not refine.name:
            return self.searcher.search(queries, k)
        from conspecific.index.refined import search_refined  # scipy, which a plain search does without

        gallery = _embeddings(self.vectors, self.images)
        return search_refined(gallery, queries, self.stored.similarity, refine, k, self.searcher, self.within)

    def rows(self, ids: IntArray) -> IntArray:
        """Return the rows of `images` with these ids, -1 for an id that is in no row."""
        own = self.images["id"].to_numpy()
        rows = np.minimum(np.searchsorted(own, ids), len(own) - 1)
        return np.where(own[rows] == ids, rows, -1)

    def add(
        self,
        vectors: FloatArray,
        paths: Sequence[str],
        labels: Sequence[str | None] | None = None,
        contents: Sequence[str | None] | None = None,
    ) -> IntArray:
        """Add images, and return their ids. Nothing that is there is encoded or trained again.

        Raises DataError for a path that the index has.
        """
        ids = np.arange(self.stored.next_id, self.stored.next_id + len(vectors))
        images = pl.concat([self.images, _table(ids, paths, labels, contents)])
        if repeated := images.filter(pl.col("path").is_duplicated())["path"].unique().to_list():
            raise DataError(f"{len(repeated)} paths are in the index, first {repeated[0]}: remove them first")
        added = EmbeddingSet(vectors, ids, np.full(len(ids), -1))
        whole = np.concatenate([self.vectors, vectors])
        self._replace(images, whole, added=added)
        return ids

    def remove(self, ids: IntArray | Sequence[int]) -> str:
        """Remove images by their ids, and return how: a sentence for the user. No other image is encoded again.

        HNSW cannot lose images, and is built again from the kept vectors. Raises DataError for an id that the index
        does not have, and where none would remain.
        """
        gone = np.asarray(ids, np.int64)
        if (unknown := gone[self.rows(gone) < 0]).size:
            raise DataError(f"{unknown.size} ids are not in the index, first {unknown[:5].tolist()}")
        kept = ~np.isin(self.images["id"].to_numpy(), gone)
        if not kept.any():
            raise DataError(f"all {len(self)} images would be removed: an index needs at least 1")
        self._replace(self.images.filter(kept), self.vectors[kept], removed=gone)
        if self.kind == "exact" or can_remove(self.kind):
            return f"{gone.size:,} images removed"
        return f"{gone.size:,} images removed: {self.kind} cannot lose images and was built again from its vectors"

    def relabel(self, labels: Mapping[int, str | None]) -> None:
        """Give images, by their ids, another species."""
        changed = pl.DataFrame({"id": list(labels), "new": list(labels.values())}, {"id": pl.Int64, "new": pl.String})
        known = self.images.join(changed.with_columns(found=True), on="id", how="left", maintain_order="left")
        label = pl.when(pl.col("found")).then(pl.col("new")).otherwise(pl.col("label")).alias("label")
        self.images = known.with_columns(label).select(list(COLUMNS))

    def _replace(
        self,
        images: pl.DataFrame,
        vectors: FloatArray,
        added: EmbeddingSet | None = None,
        removed: IntArray | None = None,
    ) -> None:
        """Take other images and vectors; the structure is changed where it can be, else built again."""
        searcher, gallery = self.searcher, _embeddings(vectors, images)
        if isinstance(searcher, Searcher) or (removed is not None and not can_remove(self.kind)):
            self.searcher = make_searcher(gallery, self.stored.similarity, self.kind)
        else:
            if removed is not None:
                searcher.structure.remove_ids(removed)
            self.searcher = ApproximateSearcher(gallery, self.stored.similarity, self.kind, searcher.structure)
            if added is not None:
                self.searcher.add(added.vectors, added.ids)
        self.images, self.vectors = images, vectors
        next_id = self.stored.next_id + (0 if added is None else len(added))
        self.stored = replace(self.stored, images=len(vectors), next_id=next_id)


def default_cache() -> Path:
    """Return the folder of all caches that commands use unless they are told another."""
    return Path(os.environ.get("CONSPECIFIC_CACHE", "~/.cache/conspecific")).expanduser()


def require_encoder(stored: Stored, encoder: Mapping[str, Any], folder: Path) -> None:
    """Raise RunError unless the embeddings of an index depend on these weights and this transform."""
    names = stored.encoder.keys() | encoder.keys()
    differ = sorted(name for name in names if stored.encoder.get(name) != encoder.get(name))
    if differ:
        found = ", ".join(
            f"{name} {_short(stored.encoder.get(name))} and not {_short(encoder.get(name))}" for name in differ
        )
        raise RunError(f"{folder} belongs to another encoder: {found}. Make it again with conspecific index RUN")


def _short(value: object) -> str:
    return str(value)[:12]


def _read_structure(file: Path, stored: Stored) -> Any:
    """Read a structure that this machine has sealed. Raises RunError where it is of another index."""
    structure = faiss.read_index(str(file))
    found = structure.ntotal, structure.d
    if found != (stored.images, stored.dimensions):
        raise RunError(f"{file} holds {found[0]} vectors of {found[1]} dimensions: make the index again")
    return structure


def _embeddings(vectors: FloatArray, images: pl.DataFrame) -> EmbeddingSet:
    return EmbeddingSet(vectors, images["id"].to_numpy(), np.full(images.height, -1))


def _table(
    ids: IntArray,
    paths: Sequence[str],
    labels: Sequence[str | None] | None,
    contents: Sequence[str | None] | None,
) -> pl.DataFrame:
    nothing = [None] * len(ids)
    columns = {"id": ids.tolist(), "path": paths, "label": labels or nothing, "content": contents or nothing}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"vectors and the facts of their images must have one length; found {lengths}")
    table = pl.DataFrame({name: list(column) for name, column in columns.items()}, COLUMNS)
    if table["path"].n_unique() != table.height:
        raise DataError(f"{table.height - table['path'].n_unique()} paths appear more than once: keep one row an image")
    return table
