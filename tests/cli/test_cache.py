"""What is kept from run to run is listed, and removed by its kind alone."""

from pathlib import Path

import pytest

from conspecific.cli.main import main
from conspecific.runs.caches import KINDS, clear_caches, read_caches
from conspecific.runs.directory import RunDirectory


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    cache = tmp_path / "kept"
    for name, size in {
        "activations/0123456789abcdef/rows": 3_000_000,
        "references/00000000000000ff/y": 10,
        "datasets/cub200/z": 7,
        "own/notes": 5,
        "copies/of a letter.txt": 1,
    }.items():
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(bytes(size))
    (cache / "index.key").write_bytes(b"key")
    return cache


def test_the_list_has_every_kind_with_its_size(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", f"paths.cache={kept}"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines() if " MB" in line or " bytes" in line][:3] == [
        "activations",
        "references",
        "datasets",
    ]
    assert f"Cache: {kept}, 3.0 MB; " in shown
    assert "Next: conspecific cache clear=activations, or clear=all" in shown


def test_only_what_is_named_is_removed(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", f"paths.cache={kept}", "clear=[references]"]) == 0
    assert "Removed references: 1 file, 10 bytes" in capsys.readouterr().out
    assert {path.name for path in kept.iterdir()} == {"activations", "datasets", "own", "copies", "index.key"}
    assert main(["cache", f"paths.cache={kept}", "clear=all"]) == 0
    assert {path.name for path in kept.iterdir()} == {"datasets", "own", "copies", "index.key"}, (
        "all but what is downloaded, and what no run has made"
    )
    assert main(["cache", f"paths.cache={kept}", "clear=dataset"]) == 2
    assert "error: clear=dataset is no kind of cached files. Did you mean datasets?" in capsys.readouterr().err


def test_a_link_in_a_cache_is_not_followed(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo").write_text("")
    (kept / "teachers").symlink_to(tmp_path / "mine")
    (kept / "references" / "00000000000000ff" / "link").symlink_to(tmp_path / "mine")
    assert [each.kind.name for each in clear_caches(kept, ["all"])] == ["activations", "references"]
    assert (tmp_path / "mine" / "photo").exists()


def test_there_need_be_no_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", f"paths.cache={tmp_path / 'none'}"]) == 0
    assert "0 bytes; " in capsys.readouterr().out


@pytest.mark.slow
def test_every_folder_that_a_run_keeps_is_of_a_known_kind(run: RunDirectory, cache: Path) -> None:
    known = {folder for each in read_caches(cache) for folder in each.folders}
    assert {path for path in cache.iterdir() if path.is_dir()} == known
    assert len(known) > 4 and len(KINDS) > len(known)
