"""Short names of what a run was made of, from its configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def data_name(data: Mapping[str, Any], root: str) -> str:
    """Return the name of the data set: of the source, or of the folder where the source takes any.

    data: the section `data` of a configuration. root: the folder that its paths start from.

    >>> data_name({"_target_": "conspecific.data.sources.from_folder"}, "/photos/birds")
    'birds'
    """
    source = str(data.get("_target_", "")).rpartition(".")[2]
    return "butterflies" if source == "butterflies" else Path(root).name or root


def loss_name(loss: Mapping[str, Any]) -> str:
    """Return the class of the loss without the words that each has.

    loss: the section `loss` of a configuration.

    >>> loss_name({"loss": {"_target_": "pytorch_metric_learning.losses.ArcFaceLoss"}})
    'ArcFace'
    """
    inner = loss.get("loss")
    target = (inner if isinstance(inner, Mapping) else loss).get("_target_", "")
    name = str(target).rpartition(".")[2]
    return name.removesuffix("Loss") or name
