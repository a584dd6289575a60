"""Small worlds to test in: folders of noise images, and manifests of images that need not exist."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import settings
from PIL import Image

from conspecific.data.manifest import Manifest

settings.register_profile("unhurried", deadline=None)  # on a busy machine a slow example is no fault
settings.load_profile("unhurried")


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that draws one folder a species: make_folder({"robin": 3, "wren": 2})."""

    def make(images: Mapping[str, int], size: tuple[int, int] = (40, 32), name: str = "birds") -> Path:
        for species, count in images.items():
            (tmp_path / name / species).mkdir(parents=True)
            colour = np.frombuffer(zlib.crc32(species.encode()).to_bytes(4, "big"), np.uint8)[:3]
            for number in range(count):
                noise = np.random.default_rng(number).integers(0, 80, (size[1], size[0], 3))
                image = Image.fromarray((noise + colour * 0.68).astype(np.uint8))
                image.save(tmp_path / name / species / f"{number:02}.png")
        return tmp_path / name

    return make


@pytest.fixture
def make_manifest(tmp_path: Path) -> Callable[..., Manifest]:
    """Return a function that lists images, none of them drawn: make_manifest(["robin", "robin", "wren"])."""

    def make(
        labels: Sequence[str], split: Sequence[str | None] | None = None, role: Sequence[str | None] | None = None
    ) -> Manifest:
        paths = [f"{label}/{number:04}.jpg" for number, label in enumerate(labels)]
        columns = {"path": paths, "label": list(labels)} | ({"split": split} if split else {})
        return Manifest.from_table(tmp_path, pl.DataFrame(columns | ({"role": role} if role else {})))

    return make
