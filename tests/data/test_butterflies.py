"""The synthetic butterflies: what decides an image, and how the tree gets to disk."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conspecific.data.butterflies import draw_image, species_names, write_butterflies
from conspecific.errors import DataError

SMALL = {"species": 3, "images": 2, "size": 48}


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_image_is_decided_by_its_arguments_alone() -> None:
    first = draw_image(0, 3, 7, 64)
    draw_image(1, 5, 2, 64)
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, draw_image(0, 3, 7, 64))


@pytest.mark.parametrize("other", [(1, 3, 7), (0, 4, 7), (0, 3, 8)])
def test_seed_species_and_image_each_change_the_image(other: tuple[int, int, int]) -> None:
    assert np.abs(draw_image(0, 3, 7, 64).astype(int) - draw_image(*other, 64)).mean() > 3


def test_every_species_can_be_drawn_at_odd_sizes() -> None:
    for species in range(40):
        image = draw_image(5, species, species, 33)
        assert image.shape == (33, 33, 3)
        assert image.std() > 4


def test_names_are_unique_letters_and_stable_under_more_species() -> None:
    names = species_names(0, 1500)
    assert len(set(names)) == 1500
    assert all(re.fullmatch(r"[A-Z][a-z]+_[a-z]+", name) for name in names)
    assert species_names(0, 20) == names[:20]
    assert species_names(1, 20) != names[:20]


def test_the_tree_holds_one_folder_a_species(tmp_path: Path) -> None:
    heard: list[int] = []
    root = write_butterflies(tmp_path / "deep" / "set", **SMALL, workers=0, progress=heard.append)
    names = species_names(0, 3)
    assert sorted(tree(root)) == sorted([".butterflies.json", *(f"{n}/{i:04d}.jpg" for n in names for i in range(2))])
    assert heard == [2, 4, 6]
    with Image.open(root / names[0] / "0001.jpg") as image:
        assert image.size == (48, 48)
        drawn = draw_image(0, 0, 1, 48).astype(int)
        assert np.abs(np.asarray(image, int) - drawn).mean() < 6
    assert [path.name for path in root.parent.iterdir()] == ["set"]


def test_the_number_of_workers_does_not_matter(tmp_path: Path) -> None:
    alone = write_butterflies(tmp_path / "alone", **SMALL, workers=0)
    together = write_butterflies(tmp_path / "together", **SMALL, workers=2)
    assert tree(alone) == tree(together)


def test_a_second_call_returns_at_once(tmp_path: Path) -> None:
    root = write_butterflies(tmp_path / "set", **SMALL, workers=0)
    heard: list[int] = []
    assert write_butterflies(root, **SMALL, workers=0, progress=heard.append) == root
    assert heard == []


def test_other_contents_are_never_overwritten(tmp_path: Path) -> None:
    root = write_butterflies(tmp_path / "set", **SMALL, workers=0)
    with pytest.raises(FileExistsError, match=r"'seed': 0.*needed.*'seed': 1"):
        write_butterflies(root, **SMALL, seed=1, workers=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="other files"):
        write_butterflies(tmp_path / "mine", **SMALL, workers=0)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_butterflies(tmp_path / "set", **SMALL, workers=0, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_set_that_lost_an_image_is_refused(tmp_path: Path) -> None:
    root = write_butterflies(tmp_path / "set", **SMALL, workers=0)
    next(root.glob("*/*.jpg")).write_bytes(b"")
    with pytest.raises(DataError, match="set holds 5 of 6 butterflies: remove the folder, and they are drawn again"):
        write_butterflies(root, **SMALL, workers=0)


def test_drawing_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """Its standard output, which they share, ends when the last of them does."""
    call = f"write_butterflies({str(tmp_path / 'set')!r}, species=9, images=99, size=512, workers=1)"
    code = f"from conspecific.data.butterflies import write_butterflies; {call}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        ended = time.monotonic() + 120
        while not list(tmp_path.glob("*/*/*.jpg")):
            assert time.monotonic() < ended and process.poll() is None
            time.sleep(0.1)
        process.kill()
        assert process.communicate(timeout=60) == (b"", None)
    assert not (tmp_path / "set").exists()


def test_a_set_that_appears_meanwhile_is_accepted(tmp_path: Path) -> None:
    root = tmp_path / "set"

    def race(done: int) -> None:
        if done == 6 and not root.exists():
            write_butterflies(root, **SMALL, workers=0)

    assert write_butterflies(root, **SMALL, workers=0, progress=race) == root
    assert json.loads((root / ".butterflies.json").read_text())["images"] == 2
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize(
    ("name", "value"), [("species", 1), ("images", 1), ("size", 31), ("seed", -1), ("workers", -1)]
)
def test_bad_arguments_are_named(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least .* found {value}"):
        write_butterflies(tmp_path / "set", **(SMALL | {"workers": 0, name: value}))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
