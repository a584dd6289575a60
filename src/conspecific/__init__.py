"""Conspecific: fine-tuned image-retrieval embeddings, compared after every epoch with the baseline they started from.

>>> import conspecific as cs
>>> result = cs.evaluate([[1, 0], [1, 0.1], [0, 1], [0, 2]], ["wren", "wren", "owl", "owl"], ks=(1, 2))
>>> result.metrics["recall@1"]
1.0

Names are imported when they are used, so that `import conspecific` imports neither torch nor Lightning.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from conspecific.cli.run_serving import serve as serve
    from conspecific.cli.run_training import train as train
    from conspecific.evaluation.arrays import evaluate as evaluate
    from conspecific.evaluation.compare import compare as compare
    from conspecific.index.gallery_index import Index as Index
    from conspecific.models.embedder import Embedder as Embedder
    from conspecific.runs.load import load as load
    from conspecific.training.fine_tuner import FineTuner as FineTuner
    from conspecific.training.retrieval_callback import RetrievalCallback as RetrievalCallback

_HOMES = {
    "Embedder": "conspecific.models.embedder",
    "FineTuner": "conspecific.training.fine_tuner",
    "Index": "conspecific.index.gallery_index",
    "RetrievalCallback": "conspecific.training.retrieval_callback",
    "compare": "conspecific.evaluation.compare",
    "evaluate": "conspecific.evaluation.arrays",
    "load": "conspecific.runs.load",
    "serve": "conspecific.cli.run_serving",
    "train": "conspecific.cli.run_training",
}

__all__ = [
    "Embedder",
    "FineTuner",
    "Index",
    "RetrievalCallback",
    "__version__",
    "compare",
    "evaluate",
    "load",
    "serve",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'conspecific' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # which takes half as long as Python to start

    try:
        return version("conspecific")
    except PackageNotFoundError:  # running from a source tree that was never installed
        return "0.0.0+source"
