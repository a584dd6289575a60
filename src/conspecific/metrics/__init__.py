"""Retrieval metrics of each query, and how sure their means are. Pure functions of arrays."""

from conspecific.metrics.paired import Interval, paired_interval
from conspecific.metrics.retrieval import (
    METRICS,
    map_at_r,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank,
    score_queries,
)

__all__ = [
    "METRICS",
    "Interval",
    "map_at_r",
    "paired_interval",
    "precision_at_k",
    "r_precision",
    "recall_at_k",
    "reciprocal_rank",
    "score_queries",
]
