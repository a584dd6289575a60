"""Images of any kind become upright RGB: files, Pillow images, arrays and tensors."""

from conspecific.images.decode import (
    FORMATS,
    MAX_PIXELS,
    cores,
    decode_rgb,
    image_hash,
    open_lazily,
    open_rgb,
    why_outside,
    why_unreadable,
    workers_for,
)
from conspecific.images.regions import Region, file_of, split_region
from conspecific.images.suffixes import image_suffixes, what_is_needed
from conspecific.images.tensors import (
    AnyImage,
    any_image_tensor,
    center_crop,
    image_array,
    image_tensor,
    to_array,
    to_tensor,
)

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "AnyImage",
    "Region",
    "any_image_tensor",
    "center_crop",
    "cores",
    "decode_rgb",
    "file_of",
    "image_array",
    "image_hash",
    "image_suffixes",
    "image_tensor",
    "open_lazily",
    "open_rgb",
    "split_region",
    "to_array",
    "to_tensor",
    "what_is_needed",
    "why_outside",
    "why_unreadable",
    "workers_for",
]
