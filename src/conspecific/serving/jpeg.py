"""Images as browsers get them: encoded anew, so that nothing of a file is sent but its pixels."""

from io import BytesIO
from typing import Literal

from PIL import Image

from conspecific.montage import square

ImageSize = Literal["small", "large"]
SIDES: dict[ImageSize, int] = {"small": 320, "large": 1280}  # pixels


def jpeg(image: Image.Image, size: ImageSize) -> bytes:
    """Return an image as JPEG: `small`, a square of 320 pixels, or `large`, within 1280 x 1280."""
    side, buffer = SIDES[size], BytesIO()
    if size == "small":
        image = square(image, side)
    else:
        image.thumbnail((side, side))
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
