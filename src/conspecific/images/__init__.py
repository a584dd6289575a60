"""Images of any kind become upright RGB: files, Pillow images, arrays and tensors."""

from conspecific.images.decode import (
    FORMATS,
    MAX_PIXELS,
    cores,
    decode_rgb,
    open_lazily,
    open_rgb,
    why_unreadable,
    workers_for,
)
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
    "any_image_tensor",
    "center_crop",
    "cores",
    "decode_rgb",
    "image_array",
    "image_tensor",
    "open_lazily",
    "open_rgb",
    "to_array",
    "to_tensor",
    "why_unreadable",
    "workers_for",
]
