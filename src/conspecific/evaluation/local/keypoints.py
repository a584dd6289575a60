"""Keypoints of kornia as local descriptors: SIFT, which needs no weights, and DISK or ALIKED by weights in local files.

Nothing is downloaded. Kornia is the extra `local`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from conspecific.errors import ConfigError
from conspecific.models.state_dict import load_weights, read_state_dict
from conspecific.types import FloatArray

MOST = 512  # keypoints of an image, the strongest
RATIO = 0.9  # a match is nearer than this times the second nearest (Lowe 2004), in both directions
ALIKED = "aliked-n16", "aliked-n32"  # of 128 dimensions; n16rot has the tensors of n16
DERIVED = ("confidence_thresholds", "hw_grid")  # names of buffers that published files may lack: they hold constants


class Keypoints(NamedTuple):
    """points: [M, 2], x and y in pixels. descriptors: [M, D] of length 1, half precision."""

    points: Tensor
    descriptors: Tensor


@dataclass(frozen=True)
class KeypointDescriptors:
    """Keypoints of an image with their descriptors. extract: from images, float in [0, 1] [B, 3, side, side].

    matcher: LightGlue; None: descriptors that are each other's nearest by far.
    """

    name: str
    extract: Callable[[Tensor], Sequence[Keypoints]]
    matcher: nn.Module | None
    device: torch.device
    side: int

    @torch.inference_mode()
    def describe(self, images: Tensor) -> list[Keypoints]:
        """Return the keypoints of each image, in memory."""
        found = [each for image in images for each in self.extract(image[None].to(self.device).float() / 255)]
        return [Keypoints(each.points.float().cpu(), each.descriptors.half().cpu()) for each in found]

    @torch.inference_mode()
    def match(self, query: Keypoints, others: Sequence[Keypoints]) -> FloatArray:
        """Return the logarithm of one more than the number of keypoints that match, [N]."""
        count = _nearest_by_far if self.matcher is None else self._matched
        return np.log1p(np.array([count(query, each) for each in others], np.float32))

    def bytes_of(self, described: Keypoints) -> int:
        """Return what the keypoints of one image take in memory."""
        return described.points.nbytes + described.descriptors.nbytes

    def _matched(self, query: Keypoints, other: Keypoints) -> int:
        assert self.matcher is not None
        size = torch.tensor([[self.side, self.side]], device=self.device)
        given = {
            name: {
                "keypoints": each.points[None].to(self.device),
                "descriptors": each.descriptors[None].float().to(self.device),
                "image_size": size,
            }
            for name, each in (("image0", query), ("image1", other))
        }
        return len(self.matcher(given)["matches"][0])


def _nearest_by_far(query: Keypoints, other: Keypoints) -> int:
    """Return how many descriptors are each other's nearest, and nearer than RATIO times the second nearest."""
    if min(len(query.points), len(other.points)) < 2:
        return 0
    similar = query.descriptors.float() @ other.descriptors.float().T
    distances = (2 - 2 * similar).clamp(min=0).sqrt()
    (near, place), (back, origin) = (distances.topk(2, dim=dim, largest=False) for dim in (1, 0))
    own = torch.arange(len(query.points))
    best = place[:, 0]
    mutual = origin[0, best] == own
    clear = (near[:, 0] < RATIO * near[:, 1]) & (back[0, best] < RATIO * back[1, best])
    return int((mutual & clear).sum())


def open_keypoints(name: str, files: Sequence[str], image_size: int, device: torch.device) -> KeypointDescriptors:
    """Return the descriptors called sift, disk or aliked.

    files: weights in the layout of their publication: those of DISK or ALIKED, and perhaps of LightGlue for them. SIFT
    takes none. Raises ConfigError where kornia is not installed, or the files are others.
    """
    if find_spec("kornia") is None:
        raise ConfigError(
            f"local_descriptors={name} needs the extra `local` (kornia): pip install 'conspecific[local]'"
        )
    side = -(-image_size // 32) * 32  # of the size that the network sees, as all of them take it
    if name == "sift":
        if files:
            raise ConfigError("local_descriptors=sift has no weights: leave out local_weights")
        return KeypointDescriptors("SIFT keypoints", _sift(device), None, device, side)
    read = {file: read_state_dict(Path(file).expanduser()) for file in files}
    glue = {file: weights for file, weights in read.items() if any(".Wqkv." in each for each in weights)}
    own = {file: weights for file, weights in read.items() if file not in glue}
    if len(own) != 1 or len(glue) > 1:
        raise ConfigError(
            f"local_descriptors={name} needs local_weights=[FILE], its published weights, or [FILE,FILE] with those of "
            f"LightGlue for it; found {len(own)} files of descriptors and {len(glue)} of LightGlue"
        )
    [(file, weights)] = own.items()
    extract = (_disk if name == "disk" else _aliked)(weights, Path(file), device)
    matcher = _lightglue(*next(iter(glue.items())), device) if glue else None
    title = f"{name.upper()} keypoints" + " by LightGlue" * bool(glue)
    return KeypointDescriptors(title, extract, matcher, device, side)


def _sift(device: torch.device) -> Callable[[Tensor], Sequence[Keypoints]]:
    from kornia.feature import SIFTFeatureScaleSpace, get_laf_center, laf_is_filled

    network = SIFTFeatureScaleSpace(MOST, device=device, descriptor_backend="pyramid").eval()

    def extract(images: Tensor) -> list[Keypoints]:
        frames, _, descriptors = network(images)
        there = laf_is_filled(frames)
        return [
            Keypoints(points[kept], values[kept])
            for points, values, kept in zip(get_laf_center(frames), descriptors, there, strict=True)
        ]

    return extract


def _disk(weights: Mapping[str, Tensor], file: Path, device: torch.device) -> Callable[[Tensor], Sequence[Keypoints]]:
    from kornia.feature import DISK

    network = DISK()
    load_weights(network, weights, file, "DISK network", whole=False)
    network = network.eval().to(device)

    def extract(images: Tensor) -> list[Keypoints]:
        return [Keypoints(each.keypoints, each.descriptors) for each in network(images, n=MOST)]

    return extract


def _aliked(weights: Mapping[str, Tensor], file: Path, device: torch.device) -> Callable[[Tensor], Sequence[Keypoints]]:
    from kornia.feature import ALIKED as Network

    kinds = {name: Network(name, max_num_keypoints=MOST) for name in ALIKED}
    fitting = [network for network in kinds.values() if _fits(network, weights)]
    network = fitting[0] if fitting else kinds[ALIKED[0]]
    _load(network, weights, file, "ALIKED network")
    network = network.eval().to(device)

    def extract(images: Tensor) -> list[Keypoints]:
        return [Keypoints(each.keypoints, each.descriptors) for each in network(images)]

    return extract


def _fits(network: nn.Module, weights: Mapping[str, Tensor]) -> bool:
    return all(name in weights and weights[name].shape == own.shape for name, own in network.named_parameters())


def _lightglue(file: str, weights: Mapping[str, Tensor], device: torch.device) -> nn.Module:
    """Return LightGlue of descriptors of 128 dimensions; published files have the first names of its layers."""
    from kornia.feature import LightGlue

    features: Any = None  # nothing is downloaded
    network: nn.Module = LightGlue(features, input_dim=128)
    renamed = {_renamed(name): tensor for name, tensor in weights.items()}
    _load(network, renamed, Path(file), "LightGlue for descriptors of 128 dimensions")
    return network.eval().to(device)


def _renamed(name: str) -> str:
    first, _, rest = name.partition(".")
    number, _, last = rest.partition(".")
    return f"transformers.{number}.{first}.{last}" if first in ("self_attn", "cross_attn") else name


def _load(network: nn.Module, weights: Mapping[str, Tensor], file: Path, what: str) -> None:
    """Load weights; constants that the file lacks stay as they are."""
    own: dict[str, Any] = {n: each for n, each in network.state_dict().items() if n.rpartition(".")[2] in DERIVED}
    load_weights(network, {**own, **weights}, file, what, whole=False)
