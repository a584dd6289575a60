"""The values that cross layers: each is validated when it is made, and is immutable."""

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from conspecific.errors import RunError
from conspecific.files import write_checked_json, write_whole
from conspecific.parquet import read_parquet, write_parquet
from conspecific.reading import json_keys, open_regular, read_json

Similarity = Literal["cosine", "l2"]
COUNTS = ("queries", "gallery", "excluded", "new", "species", "dimensions")  # among the facts of a result
WORDS = ("name", "subset", "protocol", "similarity")
FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EmbeddingSet:
    """Embeddings of N images.

    vectors: [N, D] float32, in memory or memory-mapped.
    ids: [N] int64, the sample ids (row numbers of the manifest), each at most once.
    labels: [N] int64, dense species numbers from 0; -1 if the species is unknown.
    groups: [N] int64, images of one group are left out of each other's answers; None: each image is left out of its own
        answers only.
    """

    vectors: FloatArray
    ids: IntArray
    labels: IntArray
    groups: IntArray | None = None

    def __post_init__(self) -> None:
        count = len(self.ids)
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            found = f"{self.vectors.dtype} of shape {self.vectors.shape}"
            raise ValueError(f"embeddings must be float32 of shape [N, D]; found {found}")
        if self.vectors.shape[0] != count or self.labels.shape != (count,):
            shapes = f"{self.vectors.shape[0]} vectors, {count} ids, labels of shape {self.labels.shape}"
            raise ValueError(f"embeddings, ids and labels must have one length; found {shapes}")
        if self.ids.dtype != np.int64 or self.labels.dtype != np.int64:
            raise ValueError(f"ids and labels must be int64; found {self.ids.dtype} and {self.labels.dtype}")
        if self.groups is not None and (self.groups.shape != (count,) or self.groups.dtype != np.int64):
            raise ValueError(f"groups must be {count} int64; found {self.groups.dtype} of {self.groups.shape}")
        if np.unique(self.ids).size != count:
            raise ValueError(f"sample ids must be unique; {count - np.unique(self.ids).size} of {count} are repeated")

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, ids: IntArray) -> "EmbeddingSet":
        """Return the rows of these sample ids, in the order given. Raises KeyError for an id that is absent.

        Consecutive rows are not copied: the vectors may be memory-mapped and larger than memory.
        """
        if np.array_equal(ids, self.ids):
            return self  # flattened codes are large: avoid a copy
        order = np.argsort(self.ids)
        found = np.searchsorted(self.ids, ids, sorter=order)
        rows = order[np.minimum(found, len(order) - 1)]
        if not np.array_equal(self.ids[rows], ids):
            missing = ids[self.ids[rows] != ids]
            raise KeyError(f"{missing.size} sample ids are not among these embeddings, first {missing[:5].tolist()}")
        adjacent = rows.size > 0 and np.array_equal(rows, np.arange(rows[0], rows[0] + rows.size))
        taken = slice(rows[0], rows[0] + rows.size) if adjacent else rows
        groups = None if self.groups is None else self.groups[taken]
        return EmbeddingSet(self.vectors[taken], self.ids[taken], self.labels[taken], groups)

    @property
    def left_out(self) -> IntArray:
        """What an image shares with those that are left out of its answers: its group, or its own id. [N]"""
        return self.ids if self.groups is None else self.groups


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The K nearest gallery images of Q queries, nearest first.

    ids: [Q, K] int64 sample ids, -1 if the gallery has fewer than K others.
    scores: [Q, K] float32, higher is nearer: cosine similarity, or minus the squared L2 distance; -inf for id -1.
    """

    ids: IntArray
    scores: FloatArray

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or self.ids.shape != self.scores.shape:
            raise ValueError(f"ids and scores must share [Q, K]; found {self.ids.shape} and {self.scores.shape}")


@dataclass(frozen=True, slots=True)
class EvalResult:
    """The scores of one set of embeddings.

    metrics: metric name -> mean over the queries that have a positive, in [0, 1] (micro).
    macro: metric name -> mean over species of each species' mean, in [0, 1]: every species counts equally.
    per_query: a row for each of those queries: id, path, label, positives (R), one column for each metric,
        neighbor_ids, neighbor_paths, neighbor_labels, neighbor_scores, neighbor_hits (lists, nearest first, up to 10),
        other_score (of the nearest image of another species, which would be the first answer if those of its own were
        not in the gallery; null where there is none).
    facts: what was scored, as JSON values: name, subset, protocol, similarity, dimensions, queries, gallery,
        excluded (queries without a positive), new (those of them whose species is known), sampled_from (how many
        queries a sample was drawn from), species, geometry (see `metrics.geometry`), epoch; some are absent when arrays
        were scored. Where images have groups: exclude_group, if a query's group was left out of its answers, and
        own_group, recall@1 `with` and `without` its answers over the `queries` that have a positive outside their
        group. Of a test: rejection, see `evaluation.rejection`. taxa: of `data.taxonomy`, where ranks are known.
    new: the queries whose species is not in the gallery, with the columns of per_query that need no positive: id, path,
        label, neighbor_ids, neighbor_paths, neighbor_labels, neighbor_scores. None where there are none.
    """

    metrics: Mapping[str, float]
    macro: Mapping[str, float]
    per_query: pl.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict)
    new: pl.DataFrame | None = None

    def save(self, stem: Path) -> None:
        """Write `stem`.json (facts and metrics) and `stem`.parquet (the per-query table), each with a checksum, and
        `stem`_new.parquet where there are queries of new species."""
        for name, table in ((f"{stem}.parquet", self.per_query), (f"{stem}_new.parquet", self.new)):
            if table is not None:
                with write_whole(Path(name)) as temporary:
                    write_parquet(table, temporary)
        content = {"facts": dict(self.facts), "metrics": dict(self.metrics), "macro": dict(self.macro)}
        write_checked_json(Path(f"{stem}.json"), content)  # last: if it exists, the result is complete

    def to_pandas(self) -> Any:
        """Return the per-query table as a pandas DataFrame. Raises ImportError if pandas is not installed."""
        if importlib.util.find_spec("pandas") is None:
            raise ImportError("to_pandas needs pandas: pip install pandas. `per_query` is the same table in polars.")
        return self.per_query.to_pandas()

    @classmethod
    def load(cls, stem: Path) -> "EvalResult":
        """Read what `save` wrote. Raises RunError if a file is missing or holds anything else."""
        try:
            stored = read_json(Path(f"{stem}.json"))
            table, facts = read_parquet(Path(f"{stem}.parquet")), _facts(stored["facts"])
            new = read_parquet(Path(f"{stem}_new.parquet")) if facts.get("new") else None
            return cls(_numbers(stored["metrics"]), _numbers(stored["macro"]), table, facts, new)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RunError(f"{stem}.json / .parquet is not a stored evaluation result: {error}") from error


def _numbers(stored: Any) -> dict[str, float]:
    """Return metrics that were read from a file. Raises TypeError for anything else."""
    if not isinstance(stored, dict) or any(type(value) not in (int, float) for value in stored.values()):
        raise TypeError("its metrics are not all numbers")
    return {name: float(value) for name, value in stored.items()}


def _facts(stored: Any) -> dict[str, Any]:
    """Return facts that were read from a file. Raises TypeError where those with a known type have another."""
    if not isinstance(stored, dict):
        raise TypeError("its facts are no mapping")
    for name, kind in {**dict.fromkeys(COUNTS, int), **dict.fromkeys(WORDS, str), "geometry": dict}.items():
        if type(stored.get(name)) not in (kind, type(None)):
            raise TypeError(f"its {name} is {stored[name]!r}")
    if (found := stored.get("own_group")) is not None:
        numbers = _numbers(found)
        if set(numbers) != {"with", "without", "queries"}:
            raise TypeError(f"its own_group is {found!r}")
    return stored


def require_results(folder: Path, names: Iterable[str]) -> None:
    """Raise RunError if files in a folder have the names of results, but were not written by `EvalResult.save`."""
    for file in (folder / f"{name}{kind}" for name in names for kind in (".json", ".parquet", "_new.parquet")):
        if file.exists() and not _is_result(file):
            raise RunError(f"{file} is no stored result, and would be overwritten. Name another folder.")


def _is_result(file: Path) -> bool:
    if file.suffix == ".json":
        return json_keys(file) == {"facts", "metrics", "macro"}
    try:
        with open_regular(file) as content:
            return "neighbor_ids" in pl.read_parquet_schema(content)
    except (OSError, ValueError, pl.exceptions.PolarsError):
        return False
