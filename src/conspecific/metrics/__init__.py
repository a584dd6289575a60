"""Retrieval metrics, intervals and tests of their means, and the geometry of embeddings. Pure functions of arrays."""

from conspecific.metrics.calibration import precision_curve, threshold_for
from conspecific.metrics.geometry import (
    Geometry,
    alignment,
    describe_geometry,
    effective_rank,
    mean_similarity,
    uniformity,
)
from conspecific.metrics.hubness import k_occurrence, skewness
from conspecific.metrics.paired import (
    Interval,
    holm,
    paired_intervals,
    resampled_counts,
    sign_flip_test,
    standard_error,
)
from conspecific.metrics.registry import KS, explain, in_order, largest_k, metric_names, score_queries
from conspecific.metrics.rejection import TPR, auroc, fpr_at_tpr, oscr, rejection_curve, threshold_keeping
from conspecific.metrics.retrieval import (
    macro_mean,
    map_at_r,
    ndcg_at_k,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank,
)

__all__ = [
    "KS",
    "TPR",
    "Geometry",
    "Interval",
    "alignment",
    "auroc",
    "describe_geometry",
    "effective_rank",
    "explain",
    "fpr_at_tpr",
    "holm",
    "in_order",
    "k_occurrence",
    "largest_k",
    "macro_mean",
    "map_at_r",
    "mean_similarity",
    "metric_names",
    "ndcg_at_k",
    "oscr",
    "paired_intervals",
    "precision_at_k",
    "precision_curve",
    "r_precision",
    "recall_at_k",
    "reciprocal_rank",
    "rejection_curve",
    "resampled_counts",
    "score_queries",
    "sign_flip_test",
    "skewness",
    "standard_error",
    "threshold_for",
    "threshold_keeping",
    "uniformity",
]
