"""Losses on species labels."""

from conspecific.losses.metric_loss import MetricLoss

__all__ = ["MetricLoss"]
