"""An uploaded image, from the bytes of a request to RGB; nothing is decoded before its size is known to be allowed."""

from collections.abc import AsyncIterator
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from conspecific.config.schema import LimitsConfig
from conspecific.images import FORMATS, decode_rgb, open_lazily
from conspecific.serving.refusal import Refusal

MEANT = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
    "BMP": "image/bmp",
}
ACCEPTED = {name: kind for name, kind in MEANT.items() if name in FORMATS}
BINARY = "application/octet-stream"


def require_image_type(content_type: str | None) -> None:
    """Raise Refusal (415) unless a request says that it holds an image or bytes.

    A form of another website can send neither without asking this server first, which allows nobody.
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind != BINARY:
        found = f"Content-Type {kind}" if kind else "no Content-Type"
        raise Refusal(
            415, f"The body of the request must be the image itself, as image/jpeg or {BINARY}; found {found}."
        )


async def read_body(chunks: AsyncIterator[bytes], declared: str | None, limits: LimitsConfig) -> bytes:
    """Return the bytes of a request. declared: its Content-Length. Raises Refusal (413, 400) for too many, or none."""
    most = round(limits.upload_mb * 1e6)
    too_large = Refusal(413, f"The image file is larger than {limits.upload_mb:g} MB, which is the limit here.")
    if declared is not None and declared.isdecimal() and int(declared) > most:
        raise too_large
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise too_large
    if not body:
        raise Refusal(400, "The request has no image in its body: send the bytes of an image file.")
    return bytes(body)


def decode_upload(body: bytes, shorter_side: int, limits: LimitsConfig) -> Image.Image:
    """Return an uploaded image as upright RGB, a JPEG at a reduced scale that keeps twice `shorter_side` pixels.

    Raises Refusal: 415 for no image of a kind that is meant, 413 for too many pixels, 422 for one that is damaged.
    """
    kinds = ", ".join(ACCEPTED)
    try:
        with open_lazily(BytesIO(body), tuple(ACCEPTED)) as image:
            width, height = image.size
    except UnidentifiedImageError:
        raise Refusal(415, f"This is not an image of a known format. Known here: {kinds}.") from None
    except Exception as error:  # Pillow's readers raise errors of any kind for damaged files
        raise Refusal(422, "The image is damaged and cannot be read.") from error
    if width * height > limits.pixels:
        found = f"The image has {width:,} x {height:,} pixels"
        raise Refusal(413, f"{found}, more than {limits.pixels:,}, which is the limit here. Store it smaller.")
    try:
        return decode_rgb(BytesIO(body), shorter_side, limits.pixels, tuple(ACCEPTED))
    except Exception as error:  # as above
        raise Refusal(422, "The image is damaged and cannot be decoded to its end.") from error
