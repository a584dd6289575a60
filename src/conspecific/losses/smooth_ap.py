"""An average precision that has gradients (Brown et al. 2020)."""

from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.losses.ranking import soft_ranks


class SmoothAP(nn.Module):
    """1 - average precision, smoothed, as the mean over the anchors that have positives.

    For an anchor with the positives P, and cosine similarities s,

        rank(x)        = 1 + sum over z != x of sigmoid((s_z - s_x) / temperature)
        rank of x in P = the same, over the positives z alone
        AP             = sum over x in P of (rank of x in P) / rank(x), / |P|

    Source: "Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval", arXiv 2007.12163. The images of a
    species may stand anywhere in the batch and be of any number. SmoothAPLoss of pytorch-metric-learning 2.9 takes a
    batch of 16 species with 4 images each for one of 4 species with 16, and ranks images of other species as
    positives; it is right where both numbers are equal.

    temperature: in cosines. Raises ConfigError where it is not above 0.
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
        """Return the scalar loss in [0, 1] of embeddings [B, D] and labels [B], called as the package's losses are.

        indices_tuple: what a miner picked; only that is ranked. ref_emb: [R, D], what the batch is ranked against if
        not itself. 0, with gradients of 0, where no anchor has a positive.
        """
        ranks = soft_ranks(embeddings, labels, indices_tuple, ref_emb, ref_labels, self.temperature)
        possible = ranks.positives[ranks.positives > 0]
        if not len(possible):
            return embeddings.sum() * 0
        return 1 - (ranks.sum_by_anchor(ranks.among_positives / ranks.among_all) / possible).mean()
