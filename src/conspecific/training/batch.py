"""Batches as data loaders give them: mappings with image and label, or tuples (image, label)."""

from collections.abc import Mapping, Sequence
from typing import Any

from conspecific.errors import DataError


def as_mapping(batch: Any) -> Mapping[str, Any]:
    """Return a batch as a mapping with the keys `image`, `label` and whatever else it has.

    batch: such a mapping, as the package's own data sets give, or a tuple or list that begins with images and labels,
    as torchvision's give. Raises DataError for anything else.
    """
    if isinstance(batch, Mapping) and "label" in batch:
        return batch
    if isinstance(batch, Sequence) and len(batch) >= 2:
        return {"image": batch[0], "label": batch[1]}
    raise DataError(
        "a batch must be a mapping with the keys image and label, or a tuple (images, labels); found "
        + _describe(batch)
    )


def images_of(batch: Any) -> Any:
    """Return the images of a batch, which may also be the images alone."""
    if isinstance(batch, Mapping):
        return batch["image"]
    return batch[0] if isinstance(batch, Sequence) else batch


def _describe(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"a mapping with the keys {', '.join(map(str, batch))}"
    length = f" of length {len(batch)}" if isinstance(batch, Sequence) else ""
    return f"{type(batch).__name__}{length}"
