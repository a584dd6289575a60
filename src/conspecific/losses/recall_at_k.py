"""A recall@k that has gradients (Patel, Tolias and Matas 2022)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses.ranking import soft_ranks


class RecallAtK(nn.Module):
    """1 - recall@k, smoothed, as the mean over several k and over the anchors that have positives.

    For an anchor with the positives P, and cosine similarities s,

        rank(x)  = 1 + sum over z != x of sigmoid((s_z - s_x) / similarity_temperature)
        recall@k = min(m, sum over x in P of sigmoid((k + 1/2 - rank(x)) / rank_temperature)) / m,  m = min(k, |P|)

    so that as both temperatures fall to 0 the recall becomes the positives among the first k, divided by as many as
    could be there; mind that the metric `recall@k` of this project asks only whether there is one. Source: "Recall@k
    Surrogate Loss with Large Batches and Similarity Mixup", arXiv 2108.11179, and the authors' code for the division by
    min(k, |P|). One thing is changed: 1/2 is added, because a positive on rank k would count as half a hit otherwise,
    however low the temperature. The similarity mixup of the paper is left out.

    ks: the k, whole numbers of 1 or more. rank_temperature: tau_1 of the paper, in ranks. similarity_temperature:
    tau_2, in cosines. Raises ConfigError where these are out of range.
    """

    def __init__(
        self,
        ks: Sequence[int] = (1, 2, 4, 8, 16),
        rank_temperature: float = 1.0,
        similarity_temperature: float = 0.01,
    ) -> None:
        super().__init__()
        if not ks or min(ks) < 1:
            raise ConfigError(f"recall@k needs one k at least, each 1 or more; found ks={list(ks)}")
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
        """Return the scalar loss in [0, 1] of embeddings [B, D] and labels [B], called as the package's losses are.

        indices_tuple: what a miner picked; only that is ranked. ref_emb: [R, D], what the batch is ranked against if
        not itself. 0, with gradients of 0, where no anchor has a positive.
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
