"""Differentiable recall@k (Patel, Tolias and Matas 2022)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses.ranking import soft_ranks


class RecallAtK(nn.Module):
    """1 - smoothed recall@k, averaged over several k and over the anchors that have positives.

    For an anchor with the positives P, and cosine similarities s,

        rank(x)  = 1 + sum over z != x of sigmoid((s_z - s_x) / similarity_temperature)
        recall@k = min(m, sum over x in P of sigmoid((k + 1/2 - rank(x)) / rank_temperature)) / m,  m = min(k, |P|)

    As both temperatures fall to 0, the recall approaches the number of positives among the first k, divided by the
    largest possible number. The metric `recall@k` of this project differs: it counts whether there is a positive.
    Source: "Recall@k Surrogate Loss with Large Batches and Similarity Mixup", arXiv 2108.11179, and the code of its
    authors for the division by min(k, |P|). One difference: 1/2 is added, because otherwise a positive on rank k counts
    as half a hit at any temperature. The similarity mixup of the paper is not implemented.

    ks: the values of k, integers of 1 or more. rank_temperature: tau_1 of the paper, in ranks. similarity_temperature:
    tau_2, in cosines. Raises ConfigError for values out of range.
    """

    def __init__(
        self,
        ks: Sequence[int] = (1, 2, 4, 8, 16),
        rank_temperature: float = 1.0,
        similarity_temperature: float = 0.01,
    ) -> None:
        super().__init__()
        if not ks or min(ks) < 1:
            raise ConfigError(f"RecallAtK needs at least one k, each 1 or more; found ks={list(ks)}")
        if min(rank_temperature, similarity_temperature) <= 0:
            raise ConfigError(
                f"temperatures must be above 0; found rank_temperature={rank_temperature} and similarity_temperature="
                f"{similarity_temperature}"
            )
        self.ks, self.rank_temperature, self.similarity_temperature = ks, rank_temperature, similarity_temperature

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        indices_tuple: tuple[Tensor, ...] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Return the scalar loss in [0, 1] of embeddings [B, D] and labels [B]; called as in pytorch-metric-learning.

        indices_tuple: the selection of a miner; only that is ranked. ref_emb: [R, D], the images to rank if not the
        batch itself. The loss and its gradients are 0 where no anchor has a positive.
        """
        ranks = soft_ranks(embeddings, labels, indices_tuple, ref_emb, ref_labels, self.similarity_temperature)
        possible = ranks.positives[ranks.positives > 0]
        if not len(possible):
            return embeddings.sum() * 0
        recalls = []
        for k in self.ks:
            hits = torch.sigmoid((k + 0.5 - ranks.among_all) / self.rank_temperature)
            most = possible.clamp(max=k)
            recalls.append((ranks.sum_by_anchor(hits).minimum(most) / most).mean())
        return 1 - torch.stack(recalls).mean()
