"""The kinds of an index: what each holds of a vector, how it is built, and which one `auto` takes."""

from collections.abc import Callable
from typing import Any, get_args

import faiss
import numpy as np

from conspecific.config.choices import IndexKind, check_choice
from conspecific.errors import ConfigError
from conspecific.types import FloatArray, Similarity

Kind = IndexKind
KINDS: tuple[Kind, ...] = get_args(Kind)
AUTO = "auto"
EXACT_UP_TO = 50_000  # images: a scan of so many takes milliseconds, and no structure answers better
LINKS, BUILD_WIDTH, SEARCH_WIDTH = 32, 200, 128  # of HNSW: neighbours of a node, candidates while building, searching
TRAINING_POINTS = 39  # vectors a centroid, below which faiss calls a clustering poor
LEAST_FOR_CODES = 16 * TRAINING_POINTS  # images from which the codes of ivfpq are learnt
SHORTLIST = {"ivfpq": 10, "binary": 20, "sq8": 2, "fp16": 2}  # candidates an answer that are scored exactly


def choose_kind(asked: str, images: int, dimensions: int, memory_gb: float) -> Kind:
    """Return the kind that was asked for; of `auto`, the one that answers best within the memory.

    Up to EXACT_UP_TO images that is `exact`, beyond `hnsw`. Where they do not fit: `sq8` and `ivfpq`.
    memory_gb: of 10^9 bytes, that the vectors and the structure over them may take.
    Raises ConfigError for another name, and for ivfpq with too few images to train it.
    """
    if asked != AUTO:
        check_choice("kind", asked, (*KINDS, AUTO))
        kind = next(kind for kind in KINDS if kind == asked)
        if kind == "ivfpq" and images < LEAST_FOR_CODES:
            needed = f"kind=ivfpq needs {LEAST_FOR_CODES} images or more to learn its codes; found {images}"
            raise ConfigError(f"{needed}: take kind=exact")
        return kind
    wanted: tuple[Kind, ...] = ("exact", "sq8") if images <= EXACT_UP_TO else ("hnsw",)
    fitting = [kind for kind in wanted if images * bytes_of(kind, dimensions) <= memory_gb * 1e9]
    return fitting[0] if fitting else "ivfpq" if images >= LEAST_FOR_CODES else "sq8"


def bytes_of(kind: Kind, dimensions: int) -> int:
    """Return about how many bytes of memory a kind takes for one vector."""
    whole = 4 * dimensions
    sizes: dict[Kind, int] = {
        "exact": whole,
        "hnsw": whole + 8 * LINKS + 16,
        "ivf": whole + 8,
        "ivfpq": dimensions // 8 + 8,
        "sq8": dimensions + 8,
        "fp16": 2 * dimensions + 8,
        "binary": (dimensions + 7) // 8 + 8,
    }
    return sizes[kind]


def build(kind: Kind, vectors: FloatArray, metric: Similarity) -> Any:
    """Return a trained faiss index without vectors, to which they are added with their ids.

    vectors: [N, D], as `gallery.prepared` returns them, which it is trained on. kind: any but exact.
    """
    measure = faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
    builders: dict[str, Callable[[FloatArray, int], Any]] = {
        "hnsw": _hnsw,
        "ivf": _ivf,
        "ivfpq": _ivfpq,
        "sq8": _quantized(faiss.ScalarQuantizer.QT_8bit),
        "fp16": _quantized(faiss.ScalarQuantizer.QT_fp16),
        "binary": _binary,
    }
    index = builders[kind](vectors, measure)
    index.train(vectors)
    return index if kind in ("ivf", "ivfpq") else faiss.IndexIDMap(index)


def can_remove(kind: Kind) -> bool:
    """Whether vectors can be taken out of the structure. HNSW would lose the paths that lead through them."""
    return kind != "hnsw"


def _hnsw(vectors: FloatArray, measure: int) -> Any:
    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, measure)
    index.hnsw.efConstruction, index.hnsw.efSearch = BUILD_WIDTH, SEARCH_WIDTH
    return index


def _ivf(vectors: FloatArray, measure: int) -> Any:
    lists, probes = _lists(len(vectors))
    index = faiss.IndexIVFFlat(_coarse(vectors, measure), vectors.shape[1], lists, measure)
    return _quiet(index, probes)


def _ivfpq(vectors: FloatArray, measure: int) -> Any:
    """A byte for eight dimensions: one code of 8 bits, or two of 4 bits where there are few images to learn from."""
    dimensions, (lists, probes) = vectors.shape[1], _lists(len(vectors))
    bits = 8 if len(vectors) >= 256 * TRAINING_POINTS else 4
    parts = _divisor(dimensions, dimensions // bits)
    index = faiss.IndexIVFPQ(_coarse(vectors, measure), dimensions, lists, parts, bits, measure)
    index.pq.cp.min_points_per_centroid = 1
    return _quiet(index, probes)


def _quantized(code: int) -> Callable[[FloatArray, int], Any]:
    return lambda vectors, measure: faiss.IndexScalarQuantizer(vectors.shape[1], code, measure)


def _binary(vectors: FloatArray, measure: int) -> Any:
    """One bit a dimension: whether it is above the median of the gallery. Compared by the number of equal bits."""
    return faiss.IndexLSH(vectors.shape[1], vectors.shape[1], False, True)


def _coarse(vectors: FloatArray, measure: int) -> Any:
    flat = faiss.IndexFlatIP if measure == faiss.METRIC_INNER_PRODUCT else faiss.IndexFlatL2
    return flat(vectors.shape[1])


def _lists(images: int) -> tuple[int, int]:
    """Return how many lists the images are divided into, and in how many a query looks: an eighth, at least 8."""
    lists = max(1, min(round(4 * np.sqrt(images)), images // TRAINING_POINTS))
    return lists, min(lists, max(8, lists // 8))


def _quiet(index: Any, probes: int) -> Any:
    index.nprobe = probes
    index.cp.min_points_per_centroid = 1  # a small gallery is no reason to warn on the terminal
    return index


def _divisor(number: int, near: int) -> int:
    """Return the divisor of a number that is nearest to another one."""
    return min((part for part in range(1, number + 1) if number % part == 0), key=lambda part: abs(part - near))
