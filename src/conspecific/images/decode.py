"""Decode image files to upright 8-bit RGB, within a limit of pixels that is checked before decoding."""

import importlib
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, features

from conspecific.errors import ImageError
from conspecific.files import content_hash, content_hash_of
from conspecific.images import raw
from conspecific.images.last_decoded import LastDecoded
from conspecific.images.modes import to_rgb
from conspecific.images.regions import Region, split_region
from conspecific.images.suffixes import needs, what_is_needed
from conspecific.reading import open_regular

with suppress(ImportError):  # HEIC needs the extra `heic`; other formats are Pillow's own
    importlib.import_module("pillow_heif").register_heif_opener()

# Pillow goes by the content of a file, not by its name. Formats that start another program (EPS: Ghostscript), need a
# decoder of the user's own (WMF, HDF5) or hold no photographs are not in this list, and so are never tried.
RASTER = "JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG2000", "BMP", "GIF", "PPM", "TGA", "PCX", "SGI", "QOI"
Image.init()
FORMATS = tuple(name for name in RASTER if name in Image.OPEN and (name != "AVIF" or features.check("avif")))
MAX_PIXELS = 150_000_000  # of one decoded image, which then takes up to 1.3 GB of memory
ROTATED = 5  # EXIF orientations from here on change width and height
_pillow_limit = Lock()
_last_decoded = LastDecoded()
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # MAX_PIXELS is the limit


def open_rgb(path: Path, shorter_side: int | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image to 8-bit RGB, rotated as its EXIF orientation says; a box of it where the path ends in one.

    Transparency becomes white, 16-bit values are scaled to 8 bits; an animation gives its first frame, a stack its
    first page, and the raw file of a camera, known by its suffix, the preview in it. With `shorter_side`, a JPEG may be
    decoded at 1/2, 1/4 or 1/8 of its size as long as at least twice that side remains: camera-sized photographs are
    then several times cheaper to decode, and small ones do not change. Of an image with a box, all pixels are decoded,
    once where its boxes are asked for in succession; see `Region.pixels` for what is cut out.

    max_pixels: width times height, as decoded, above which an image is refused; of a progressive JPEG, as stored.
    Raises ImageError for an image that cannot be read and for what is no regular file, such as a named pipe; it is both
    a DataError and an OSError.
    """
    file, region = split_region(path)
    try:
        return _decode(file, shorter_side, max_pixels) if region is None else _cut_out(file, region, max_pixels)
    except Exception as error:  # Pillow's decoders raise errors of any kind for damaged files
        raise ImageError(f"{path} cannot be read as an image: {_reason(error, file)}") from error


def why_unreadable(path: Path, max_pixels: int = MAX_PIXELS) -> str | None:
    """Decode an image, a JPEG at 1/8 of its size, which still reads the whole file; return why that fails, or None."""
    try:
        _decode(path, 16, max_pixels)
    except Exception as error:  # as in `open_rgb`
        return _reason(error, path)
    return None


def why_outside(file: Path, regions: Sequence[Region]) -> list[str | None]:
    """Return why each box cannot be cut out of an image, None where it can. Raises OSError as `open_rgb` does."""
    size = _upright_size(file)
    return [_why_outside(region, size) for region in regions]


def _upright_size(file: Path) -> tuple[int, int]:
    if file.suffix.lower() in raw.SUFFIXES:
        return open_rgb(file).size
    with open_regular(file) as stream, open_lazily(stream, FORMATS) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= ROTATED
        return image.size[::-1] if turned else image.size


def _why_outside(region: Region, size: tuple[int, int]) -> str | None:
    try:
        region.pixels(size)
    except ValueError as error:
        return str(error)
    return None


def image_hash(path: Path) -> str:
    """Return a hash of an image's content, 128 bits in hexadecimal: its file's, and its box's where it has one."""
    file, region = split_region(path)
    found = content_hash(file)
    return found if region is None else content_hash_of(f"{found}{region.fragment}".encode())


def _cut_out(file: Path, region: Region, max_pixels: int) -> Image.Image:
    state = os.stat(file)
    key = file, state.st_size, state.st_mtime_ns, max_pixels
    image = _last_decoded.get(key, lambda: _decode(file, None, max_pixels))
    return image.crop(region.pixels(image.size))


def _decode(path: Path, shorter_side: int | None, max_pixels: int) -> Image.Image:
    # Pillow 13 garbles a rotated TIFF that it maps into memory, which it does for a path and not for a stream.
    with open_regular(path) as stream:
        if path.suffix.lower() not in raw.SUFFIXES:
            return decode_rgb(stream, shorter_side, max_pixels)
        if needed := what_is_needed(path.suffix, FORMATS):  # Pillow would take the tiny first image of some for it
            raise ValueError(needs(path.suffix, needed))
        found, turn = raw.preview(stream)
    image = to_rgb(found) if isinstance(found, Image.Image) else decode_rgb(found, shorter_side, max_pixels, ("JPEG",))
    return image if turn is None else image.transpose(turn)


def decode_rgb(
    stream: BinaryIO, shorter_side: int | None, max_pixels: int, formats: tuple[str, ...] = FORMATS
) -> Image.Image:
    """Decode an image as `open_rgb` does. formats: names of Pillow's, of `FORMATS`; no other decoder is tried.

    Raises ValueError for too many pixels, and whatever Pillow raises for what it cannot decode.
    """
    with open_lazily(stream, formats) as image:
        held = image.size
        if shorter_side is not None:
            scale = 2 * shorter_side / min(image.size)
            image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
        if "progressive" not in image.info:  # all of a progressive JPEG is held in memory, whatever its scale
            held = image.size
        if held[0] * held[1] > max_pixels:
            size = f"{held[0]:,} x {held[1]:,} pixels are {held[0] * held[1]:,}"
            raise ValueError(f"{size}, more than {max_pixels:,}: set data.max_pixels, or store it smaller")
        image.load()
        ImageOps.exif_transpose(image, in_place=True)  # in place, because a copy would double the memory
        return to_rgb(image)


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


def _reason(error: Exception, file: Path) -> str:
    """Return a few words on why decoding failed, without the path."""
    if isinstance(error, UnidentifiedImageError):
        needed = what_is_needed(file.suffix, FORMATS)
        return needs(file.suffix, needed) if needed else "not an image of a known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def workers_for(asked: int | None) -> int:
    """Return how many decoders to run: `asked`, or if that is None one a core and at most eight."""
    return min(cores(), 8) if asked is None else asked


def cores() -> int:
    """Return how many cores this process may use: not all of a machine's under taskset, SLURM or a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
