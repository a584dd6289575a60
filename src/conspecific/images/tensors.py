"""Images as networks take them: squares of uint8, from files, Pillow images, arrays and tensors."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from conspecific.images.decode import open_rgb
from conspecific.images.modes import to_rgb

if TYPE_CHECKING:
    from torch import Tensor  # takes seconds to import, and a search by an index does without


def center_crop(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` (bicubic, antialiased) and crop the central square."""
    scale = size / min(image.size)
    width, height = max(size, round(image.width * scale)), max(size, round(image.height * scale))
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return resized.crop((left, top, left + size, top + size))


def to_tensor(image: Image.Image) -> "Tensor":
    """Return an RGB image as uint8 [3, H, W]."""
    import torch

    return torch.from_numpy(to_array(image))


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """Return an RGB image as uint8 [3, H, W], in C order."""
    return np.ascontiguousarray(np.array(image).transpose(2, 0, 1))


def image_array(path: Path, size: int) -> NDArray[np.uint8]:
    """Read an image file as evaluation does: uint8 [3, size, size]."""
    return to_array(center_crop(open_rgb(path, size), size))


def image_tensor(path: Path, size: int) -> "Tensor":
    """Read an image file as evaluation does: uint8 [3, size, size]."""
    return to_tensor(center_crop(open_rgb(path, size), size))


AnyImage: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[Any] | Tensor"


def any_image_tensor(image: AnyImage, size: int) -> "Tensor":
    """Return one image as evaluation reads it, uint8 [3, size, size]; a file is read as `image_tensor` does.

    image: a path; a Pillow image; an array, uint8 [H, W, 3] or [H, W, 4] (RGB, RGBA), or grey [H, W] of any range that
        `to_rgb` scales; or a tensor [3, H, W] or [1, H, W], uint8 or float in [0, 1].
    Raises ImageError for a file that cannot be read and ValueError for another shape, type or range.
    """
    from torch import Tensor

    if isinstance(image, Tensor):
        image = _channels_last(image)
    if isinstance(image, np.ndarray):
        image = _from_array(image)
    if isinstance(image, Image.Image):
        return to_tensor(center_crop(to_rgb(ImageOps.exif_transpose(image)), size))
    if isinstance(image, str | os.PathLike):
        return image_tensor(Path(image).expanduser(), size)
    raise ValueError(f"an image is a path, a Pillow image, an array or a tensor; found {type(image).__name__}")


def _channels_last(image: "Tensor") -> NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"an image tensor has the shape [3, H, W] or [1, H, W]; found {list(image.shape)}")
    pixels = image.detach().cpu()
    if pixels.is_floating_point():
        low, high = float(pixels.min()), float(pixels.max())
        if not 0 <= low <= high <= 1:
            raise ValueError(f"a float image tensor has values in [0, 1]; found {low:.3g} to {high:.3g}")
        pixels = (pixels.float() * 255).round().byte()
    array: NDArray[np.uint8] = pixels.permute(1, 2, 0).numpy()
    return array[:, :, 0] if array.shape[2] == 1 else array


def _from_array(image: NDArray[Any]) -> Image.Image:
    colour = image.ndim == 3 and image.shape[2] in (3, 4) and image.dtype == np.uint8
    if not colour and image.ndim != 2:
        found = f"{image.dtype} of shape {list(image.shape)}"
        raise ValueError(f"an image array is uint8 [H, W, 3] or [H, W, 4], or grey [H, W]; found {found}")
    if 0 in image.shape:
        raise ValueError(f"an image array holds no pixels: its shape is {list(image.shape)}")
    try:
        return Image.fromarray(image)
    except TypeError as error:
        raise ValueError(f"an image array of type {image.dtype} cannot be read: use uint8") from error
