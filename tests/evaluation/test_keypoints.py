"""Keypoints of kornia: SIFT without weights, and DISK, ALIKED and LightGlue from files laid out as they are published.

The weights are random ones: the published ones cannot be had here.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from conspecific.errors import ConfigError
from conspecific.evaluation.local import keypoints
from conspecific.evaluation.local.keypoints import KeypointDescriptors, open_keypoints

kornia = pytest.importorskip("kornia.feature", reason="the extra `local` is not installed")
SIDE = 96


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Files of weights as their authors publish them: names, containers, and which constants are left out."""
    torch.manual_seed(0)
    glue = {
        _first_name(name): tensor
        for name, tensor in kornia.LightGlue(None, input_dim=128).state_dict().items()
        if name != "confidence_thresholds"
    }
    aliked = {n: each for n, each in kornia.ALIKED("aliked-n32").state_dict().items() if not n.endswith("hw_grid")}
    contents = {"disk": {"extractor": kornia.DISK().state_dict()}, "aliked": aliked, "lightglue": glue}
    for name, content in contents.items():
        torch.save(content, tmp_path / f"{name}.pth")
    return {name: str(tmp_path / f"{name}.pth") for name in contents}


def _first_name(name: str) -> str:
    """transformers.3.self_attn.Wqkv.weight -> self_attn.3.Wqkv.weight"""
    first, *rest = name.split(".")
    return ".".join([rest[1], rest[0], *rest[2:]]) if first == "transformers" else name


def photographs() -> Tensor:
    """Two pictures of blots, the first of them once more and moved by 8 pixels: uint8 [3, 3, SIDE, SIDE]."""
    rng = np.random.default_rng(0)
    drawn = torch.from_numpy(rng.random((2, 3, 26, 26), np.float32))
    large = torch.nn.functional.interpolate(drawn, size=SIDE + 8, mode="bicubic").clamp(0, 1)
    images = [large[0, :, :SIDE, :SIDE], large[0, :, 8:, 8:], large[1, :, :SIDE, :SIDE]]
    return (255 * torch.stack(images)).byte()


def opened(name: str, *given: str) -> KeypointDescriptors:
    return open_keypoints(name, given, 90, torch.device("cpu"))


def test_sift_matches_an_image_that_was_moved_and_hardly_another() -> None:
    kind = opened("sift")
    assert (kind.name, kind.side) == ("SIFT keypoints", SIDE)
    found = kind.describe(photographs())
    moved, other = kind.match(found[0], found[1:])
    assert np.expm1(moved) > 20 and np.expm1(other) < 0.2 * np.expm1(moved)
    assert kind.bytes_of(found[0]) == len(found[0].points) * (2 * 4 + 128 * 2)
    [grey] = kind.describe(torch.full((1, 3, SIDE, SIDE), 128, dtype=torch.uint8))
    assert kind.match(grey, found) == pytest.approx(0), "an even area has no keypoints"


@pytest.mark.parametrize("name", ["disk", "aliked"])
def test_published_layouts_are_read_and_matched_with_and_without_lightglue(name: str, files: dict[str, str]) -> None:
    plain, glued = opened(name, files[name]), opened(name, files["lightglue"], files[name])
    assert (plain.name, glued.name) == (f"{name.upper()} keypoints", f"{name.upper()} keypoints by LightGlue")
    found = plain.describe(photographs())
    assert all(0 < len(each.points) <= keypoints.MOST for each in found)
    assert found[0].descriptors.shape[1] == 128 and float(found[0].points.max()) < SIDE
    own, moved, _ = plain.match(found[0], found)
    assert own >= moved >= 0 and own > np.log1p(0.5 * len(found[0].points))
    assert np.isfinite(glued.match(found[0], found[:2])).all()


def test_other_files_are_told(files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, given, told in (
        ("sift", ["disk"], "has no weights"),
        ("disk", [], r"found 0 files of descriptors and 0 of LightGlue"),
        ("disk", ["lightglue"], r"found 0 files of descriptors and 1 of LightGlue"),
        ("disk", ["aliked"], "does not hold the weights of this DISK network"),
        ("aliked", ["disk"], "does not hold the weights of this ALIKED network"),
    ):
        with pytest.raises(ConfigError, match=told):
            opened(name, *(files[each] for each in given))
    monkeypatch.setattr(keypoints, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'conspecific\[local\]'"):
        opened("sift")
