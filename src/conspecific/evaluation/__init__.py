"""Embedding, scoring, the baseline, and paired comparison.

Names that need torch are imported when they are used: pages over finished runs are made without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from conspecific.evaluation.compare import Difference, compare

if TYPE_CHECKING:
    from conspecific.evaluation.baseline import references as references
    from conspecific.evaluation.evaluate import joined as joined
    from conspecific.evaluation.evaluate import without_queries as without_queries
    from conspecific.evaluation.evaluator import Evaluator as Evaluator
    from conspecific.models.encode import device_for as device_for

_HOMES = {
    "Evaluator": "conspecific.evaluation.evaluator",
    "device_for": "conspecific.models.encode",
    "joined": "conspecific.evaluation.evaluate",
    "references": "conspecific.evaluation.baseline",
    "without_queries": "conspecific.evaluation.evaluate",
}

__all__ = ["Difference", "Evaluator", "compare", "device_for", "joined", "references", "without_queries"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'conspecific.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
