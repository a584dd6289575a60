"""Embedding, scoring, the baseline, and paired comparison."""

from conspecific.evaluation.baseline import references
from conspecific.evaluation.compare import Difference, compare
from conspecific.evaluation.embed import embed
from conspecific.evaluation.evaluate import evaluate, joined, without_queries
from conspecific.evaluation.evaluator import Evaluator
from conspecific.models.encode import device_for

__all__ = [
    "Difference",
    "Evaluator",
    "compare",
    "device_for",
    "embed",
    "evaluate",
    "joined",
    "references",
    "without_queries",
]
