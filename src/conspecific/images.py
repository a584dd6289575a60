"""Decode and crop images of any kind: files, Pillow images, arrays and tensors become upright RGB."""

import importlib
import os
import warnings
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from conspecific.errors import ImageError

if TYPE_CHECKING:
    from torch import Tensor  # takes seconds to import, and a search by an index does without

with suppress(ImportError):  # HEIC needs the extra `heic`; other formats are Pillow's own
    importlib.import_module("pillow_heif").register_heif_opener()

# Pillow goes by the content of a file, not by its name. Formats that start another program (EPS: Ghostscript), need a
# decoder of the user's own (WMF, HDF5) or hold no photographs are not in this list, and so are never tried.
RASTER = "JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG2000", "BMP", "GIF", "PPM", "TGA", "PCX", "SGI", "QOI"
Image.init()
FORMATS = tuple(name for name in RASTER if name in Image.OPEN)
MAX_PIXELS = 500_000_000  # of one decoded image: 1.5 GB of memory
_pillow_limit = Lock()
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # MAX_PIXELS is the limit


def open_rgb(path: Path, shorter_side: int | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image to 8-bit RGB, rotated as its EXIF orientation says.

    Transparency becomes white, 16-bit values are scaled to 8 bits, an animation gives its first frame. With
    `shorter_side`, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as at least twice that side remains:
    camera-sized photographs are then several times cheaper to decode, and small ones do not change.

    max_pixels: width times height, as decoded, above which an image is refused. Raises ImageError for an image that
    cannot be read, which is both a DataError and an OSError.
    """
    try:
        return _decode(path, shorter_side, max_pixels)
    except Exception as error:  # Pillow's decoders raise errors of any kind for damaged files
        raise ImageError(f"{path} cannot be read as an image: {_reason(error)}") from error


def why_unreadable(path: Path, max_pixels: int = MAX_PIXELS) -> str | None:
    """Decode an image, a JPEG at 1/8 of its size, which still reads the whole file; return why that fails, or None."""
    try:
        _decode(path, 16, max_pixels)
    except Exception as error:  # as in `open_rgb`
        return _reason(error)
    return None


def _decode(path: Path, shorter_side: int | None, max_pixels: int) -> Image.Image:
    # Pillow 13 garbles a rotated TIFF that it maps into memory, which it does for a path and not for a stream.
    with path.open("rb") as stream:
        return decode_rgb(stream, shorter_side, max_pixels)


def decode_rgb(
    stream: BinaryIO, shorter_side: int | None, max_pixels: int, formats: tuple[str, ...] = FORMATS
) -> Image.Image:
    """Decode an image as `open_rgb` does. formats: names of Pillow's, of `FORMATS`; no other decoder is tried.

    Raises ValueError for too many pixels, and whatever Pillow raises for what it cannot decode.
    """
    with open_lazily(stream, formats) as image:
        if shorter_side is not None:
            scale = 2 * shorter_side / min(image.size)
            image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
        if image.width * image.height > max_pixels:
            size = f"{image.width:,} x {image.height:,} pixels are {image.width * image.height:,}"
            raise ValueError(f"{size}, more than {max_pixels:,}: set data.max_pixels, or store it smaller")
        return to_rgb(ImageOps.exif_transpose(image))


def open_lazily(stream: BinaryIO, formats: tuple[str, ...]) -> Image.Image:
    """Open an image whatever its size, without decoding it.

    Pillow's own limit knows nothing of JPEGs that are decoded at reduced scale. formats: as `decode_rgb` takes them.
    """
    try:
        return Image.open(stream, formats=formats)
    except Image.DecompressionBombError:
        stream.seek(0)
        with _pillow_limit:  # one limit for all threads
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(stream, formats=formats)
            finally:
                Image.MAX_IMAGE_PIXELS = limit


def _reason(error: Exception) -> str:
    """Return a few words on why decoding failed, without the path."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to 8-bit RGB: the full range is kept, and transparent pixels become white."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        paper = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(paper, layered).convert("RGB")
    return image.convert("RGB")


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    """Scale grey values to 8 bits, from the smallest usual range that holds them (to 1, 255 or 65535) or their own."""
    grey = np.where(np.isfinite(values), values, 0).astype(np.float64)
    low, high = float(grey.min()), float(grey.max())
    usual = [65535] if values.dtype.itemsize == 2 else [255, 65535] if values.dtype.kind == "i" else [1, 255, 65535]
    fitting = [top for top in usual if low >= 0 and high <= top]
    if fitting:
        low, high = 0, fitting[0]
    scaled: np.ndarray = (grey - low) / (high - low if high > low else 1) * 255
    return scaled.round().astype(np.uint8)


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


def workers_for(asked: int | None) -> int:
    """Return how many decoders to run: `asked`, or if that is None one a core and at most eight."""
    return min(os.cpu_count() or 1, 8) if asked is None else asked
