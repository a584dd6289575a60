"""Differentiable average precision (Brown et al. 2020)."""

from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses.ranking import soft_ranks


class SmoothAP(nn.Module):
    """1 - smoothed average precision, averaged over the anchors that have positives.

    For an anchor with the positives P, and cosine similarities s,

        rank(x)        = 1 + sum over z != x of sigmoid((s_z - s_x) / temperature)
        rank of x in P = the same, over the positives z alone
        AP             = sum over x in P of (rank of x in P) / rank(x), / |P|

    Source: "Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval", arXiv 2007.12163. A batch
    may have any number of images of a species, in any order. SmoothAPLoss of pytorch-metric-learning 2.9 interprets a
    batch of 16 species with 4 images each as 4 species with 16 images each, and ranks images of other species as
    positives; it is correct only where both numbers are equal.

    temperature: in units of cosine similarity. Raises ConfigError unless it is above 0.
    """

    def __init__(self, temperature: float = 0.01) -> None:
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f"temperature must be above 0; found {temperature}")
        self.temperature = temperature

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
        ranks = soft_ranks(embeddings, labels, indices_tuple, ref_emb, ref_labels, self.temperature)
        possible = ranks.positives[ranks.positives > 0]
        if not len(possible):
            return embeddings.sum() * 0
        return 1 - (ranks.sum_by_anchor(ranks.among_positives / ranks.among_all) / possible).mean()
