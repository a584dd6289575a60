"""WiSE-FT (Wortsman et al. 2022): weights between those before and those after fine-tuning."""

import copy
from collections.abc import Mapping

from torch import Tensor

from conspecific.models import Embedder
from conspecific.runs.soup import average_weights


def interpolate(embedder: Embedder, start: Mapping[str, Tensor], alpha: float) -> Embedder:
    """Return a copy of a fine-tuned embedder with the weights (1 - alpha) * start + alpha * fine-tuned.

    Fine-tuning loses some of what separates species that are not in training; the interpolated weights are often better
    for those than any epoch. start: the state dict before training. alpha: from 0 (start) to 1 (fine-tuned).
    """
    mixed = copy.deepcopy(embedder)
    mixed.load_state_dict(average_weights([start, embedder.state_dict()], [1 - alpha, alpha]))
    return mixed
