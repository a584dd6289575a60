"""Differentiable ranks: the number of images before each positive, counted by sigmoids."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from pytorch_metric_learning.utils.loss_and_miner_utils import convert_to_pairs
from torch import Tensor


class SoftRanks(NamedTuple):
    """Ranks of P pairs of an anchor and one of its positives; ranks are 1 or more.

    anchors: [P] rows of the batch. among_all: [P] rank of the positive among all that its anchor is compared with.
    among_positives: [P] its rank among the positives of the anchor. positives: [B] number of positives of each row.
    """

    anchors: Tensor
    among_all: Tensor
    among_positives: Tensor
    positives: Tensor

    def sum_by_anchor(self, of_pairs: Tensor) -> Tensor:
        """Sum values [P] over the positives of each anchor: [A], for the A anchors that have any."""
        sums = of_pairs.new_zeros(len(self.positives)).index_add(0, self.anchors, of_pairs)
        return sums[self.positives > 0]


def soft_ranks(
    embeddings: Tensor,
    labels: Tensor,
    picked: tuple[Tensor, ...] | None,
    reference: Tensor | None,
    reference_labels: Tensor | None,
    temperature: float,
) -> SoftRanks:
    """Rank the positives of each anchor by cosine similarity.

    embeddings: [B, D], labels: [B]; reference: [R, D] and its labels, None for the batch itself, where no image is
    compared with itself. picked: pairs or triplets of a miner; only these are compared. The rank of x is 1 + the sum
    over the other images z of sigmoid((s_z - s_x) / temperature), where s are similarities. It approaches the true rank
    as the temperature falls to 0, if no two similarities are equal.
    """
    anchors, positives, negative_anchors, negatives = convert_to_pairs(picked, labels, reference_labels)
    compared_to = F.normalize(embeddings if reference is None else reference)
    similarity = F.normalize(embeddings) @ compared_to.T
    positive = torch.zeros_like(similarity, dtype=torch.bool)
    positive[anchors, positives] = True
    compared = positive.clone()
    compared[negative_anchors, negatives] = True
    anchors, positives = torch.where(positive)  # each pair once, also if several triplets have it
    ahead = torch.sigmoid((similarity[anchors] - similarity[anchors, positives][:, None]) / temperature)
    ahead = ahead.scatter(1, positives[:, None], 0.0)
    among_all = 1 + (ahead * compared[anchors]).sum(dim=1)
    among_positives = 1 + (ahead * positive[anchors]).sum(dim=1)
    return SoftRanks(anchors, among_all, among_positives, positive.sum(dim=1))
