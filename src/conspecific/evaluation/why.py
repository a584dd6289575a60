"""A picture of why two images match."""

import torch
from PIL import Image

from conspecific.errors import ConfigError
from conspecific.images import center_crop, to_tensor
from conspecific.models import Embedder
from conspecific.models.agreement import agreement
from conspecific.montage import matching_regions

FINER = 2  # times the size that is searched with: feature maps of larger images have more cells


def why_picture(
    embedder: Embedder, images: tuple[Image.Image, Image.Image], size: int, titles: tuple[str, str]
) -> Image.Image:
    """Return two images side by side, of which the regions that agree keep their colours; see `agreement`.

    size: side in pixels that is searched with. The network sees the images at twice that, where it takes them so, since
    its cells are then half as large. titles: above each.
    """
    larger = [center_crop(image, FINER * size) for image in images]
    try:
        found = agreement(embedder, torch.stack([to_tensor(image) for image in larger]))
    except ConfigError:  # a transformer of a fixed size
        found = agreement(embedder, torch.stack([to_tensor(center_crop(image, size)) for image in images]))
    return matching_regions((larger[0], larger[1]), (found.first, found.second), found.matches, titles)
