"""Which files are images by their names, and what must be installed to decode those that cannot be decoded here."""

from functools import cache

from PIL import Image

from conspecific.images import raw

HEIC = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
AVIF = frozenset({".avif", ".avifs"})


@cache
def image_suffixes(formats: tuple[str, ...]) -> frozenset[str]:
    """Return the suffixes, in lower case and with their dot, of all files that can be decoded here.

    formats: names of Pillow's.
    """
    known = {*formats, "MPO"}  # MPO, several JPEGs in one file, is opened as a JPEG
    found = frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in known)
    return found | raw.SUFFIXES if raw.can_open() else found


def what_is_needed(suffix: str, formats: tuple[str, ...]) -> str | None:
    """Return what must be installed to decode files of a suffix; None where nothing is missing, or nothing helps."""
    suffix = suffix.lower()
    if suffix in image_suffixes(formats):
        return None
    if suffix in HEIC:
        return "pip install -e '.[heic]'"
    if suffix in raw.SUFFIXES:
        return "pip install -e '.[raw]'"
    return "a Pillow that reads AVIF, as 11.3 and later do" if suffix in AVIF else None


def needs(suffix: str, needed: str) -> str:
    """Return why a file cannot be decoded here, from what `what_is_needed` returned."""
    return f"a {suffix.lower()} file needs {needed}"
