"""Setting up shows its progress, and an extra is installed with the pins of the lock."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "bootstrap.py"
PIP = [
    "Ignoring colorama: markers 'sys_platform == \"win32\"' don't match your environment",
    "Collecting absl-py==2.5.1 (from -r dev.txt (line 3))",
    "Downloading absl_py-2.5.1-py3-none-any.whl.metadata (3.2 kB)",
    "Downloading absl_py-2.5.1-py3-none-any.whl (135 kB)",
    "Collecting torch==2.15.0 (from -r dev.txt (line 9))",
    "Downloading torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl (899.8 MB)",
]


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_progress_says_what_is_downloaded_and_installed(bootstrap: ModuleType) -> None:
    assert bootstrap.progress([], 4, 0) == "Preparing"
    assert bootstrap.progress(PIP, 4, 0) == "Downloading: 2 of 3 packages, 900 MB; now torch (899.8 MB)"
    lines = [*PIP, "Installing collected packages: absl-py, sympy, torch"]
    assert bootstrap.progress(lines, 4, 1) == "Installing: 1 of 3 packages"


def test_progress_is_printed_while_pip_runs(bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap.run_pip([sys.executable, "-c", f"print({PIP[-1]!r})"], 1)
    assert re.fullmatch(
        r"Downloading: 1 of 1 packages, 900 MB; now torch \(899\.8 MB\), \d+ s\n", capsys.readouterr().out
    )


def test_a_failure_of_pip_shows_all_that_pip_said(bootstrap: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"(?s)no such hash.*error: pip failed with exit status 3"):
        bootstrap.run_pip([sys.executable, "-c", "print('no such hash'); raise SystemExit(3)"], 1)


def test_an_extra_brings_its_pins_and_what_they_need(bootstrap: ModuleType) -> None:
    base, lock = (bootstrap.LOCKS[task].read_text() for task in ("train", "test"))
    pins = bootstrap.missing_pins(base, lock, ["optuna>=4,<6"])
    names = re.findall(bootstrap.PIN, pins, re.MULTILINE)
    assert {"optuna", "alembic", "mako"} <= set(names)  # mako is needed by alembic alone, alembic by optuna
    assert not {"numpy", "pytest", "tensorboard"} & set(names)
    assert pins.count("--hash=sha256:") >= len(names)
    build = re.findall(bootstrap.PIN, bootstrap.missing_pins("", lock, ["hatchling>=1.27,<2"]), re.MULTILINE)
    assert {"hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers"} <= set(build), (
        "all that the build needs"
    )


def test_extras_are_taken_out_of_the_words_of_train(bootstrap: ModuleType) -> None:
    words = ["--extra", "sweep", "-m", "--extra=tensorboard", "seed=1,2"]
    assert bootstrap.split_extras(words) == (["sweep", "tensorboard"], ["-m", "seed=1,2"])
    with pytest.raises(SystemExit, match="--extra 'swep' does not exist; the extras are tensorboard, sweep"):
        bootstrap.split_extras(["--extra", "swep"])


@pytest.mark.skipif(os.name == "nt", reason="make")
def test_make_alone_lists_every_target() -> None:
    printed = subprocess.run(["make"], cwd=SCRIPT.parents[1], capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z]+):", (SCRIPT.parents[1] / "Makefile").read_text(), re.MULTILINE)
    assert [line.split()[0] for line in printed.splitlines()] == [f"{target}" for target in targets]
