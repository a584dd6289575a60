"""What an installation is, and what keeps it from working."""

from pathlib import Path

import pytest

from conspecific.cli.main import main
from conspecific.config.schema import PathsConfig
from conspecific.runs.doctor import examine, instruction_sets


def test_one_page_says_what_is_installed_and_what_to_do_next(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = {line.strip().partition("  ")[0] for line in lines}
    assert {
        "Python",
        "torch",
        "extra onnx",
        "processor",
        "cores",
        "instruction sets",
        "GPU",
        "openvino",
        "cache",
    } <= shown
    assert any(line.startswith("  runs") and "~/runs: writable" in line for line in lines)
    assert lines[-1] == "Next: conspecific train dry_run=true"
    assert len(lines) < 60, "a page"


def test_folders_that_cannot_be_written_and_packages_that_are_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("conspecific.runs.doctor.PACKAGES", ("numpy", "no-such-package"))
    found = examine(PathsConfig(runs=str(tmp_path / "file" / "runs"), cache=str(tmp_path / "new" / "cache")))
    assert found.faults == [
        "the package no-such-package is not installed: python3 -m pip install -e .",
        f"{tmp_path}/file/runs cannot be written: set paths.runs to another folder",
    ]
    assert found.next == "mend what is named above"


def test_instruction_sets_are_those_of_the_processor(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("model name\t: X\nflags\t\t: fpu avx2 amx_tile sse\nflags\t\t: avx2\n")
    assert instruction_sets(tmp_path / "cpuinfo") == ["avx2", "amx_tile"]
    assert instruction_sets(tmp_path / "gone") == []
