"""Losses on species labels."""

from conspecific.losses.distillation import similarity_distillation
from conspecific.losses.matryoshka import Matryoshka
from conspecific.losses.metric_loss import MetricLoss
from conspecific.losses.recall_at_k import RecallAtK
from conspecific.losses.smooth_ap import SmoothAP

__all__ = ["Matryoshka", "MetricLoss", "RecallAtK", "SmoothAP", "similarity_distillation"]
