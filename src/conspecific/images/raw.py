"""Camera raw files, by the preview that the camera has put into them: what its display shows, ready in milliseconds."""

from importlib.util import find_spec
from io import BytesIO
from typing import BinaryIO

from PIL import ExifTags, Image

SUFFIXES = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"})
TURNS = {3: Image.Transpose.ROTATE_180, 5: Image.Transpose.ROTATE_90, 6: Image.Transpose.ROTATE_270}
"""What LibRaw calls the way a camera was held, and what turns its image upright."""


def can_open() -> bool:
    """Whether rawpy is installed, the extra `raw`."""
    return find_spec("rawpy") is not None


def preview(stream: BinaryIO) -> tuple[BinaryIO | Image.Image, Image.Transpose | None]:
    """Return the preview in a raw file, as a JPEG or as pixels, and how it must be turned where it does not say itself.

    Raises ValueError where there is none, and for a file that LibRaw cannot read.
    """
    import rawpy

    try:
        with rawpy.imread(stream) as content:
            turn, found = TURNS.get(content.sizes.flip), content.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError) as error:
        raise ValueError("it has no preview that can be read: save it as JPEG or TIFF") from error
    except rawpy.LibRawError as error:
        raise ValueError("it is damaged, or not a raw file of a known camera") from error
    if not isinstance(found.data, bytes):
        return Image.fromarray(found.data), turn
    jpeg = BytesIO(found.data)
    with Image.open(jpeg, formats=["JPEG"]) as image:
        says = ExifTags.Base.Orientation in image.getexif()
    jpeg.seek(0)
    return jpeg, None if says else turn
