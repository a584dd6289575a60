"""Signals that end a run, and two processes that train in one folder."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, CompletedProcess

import pytest

from conspecific.cli.interrupts import interruptible
from conspecific.runs import directory
from conspecific.runs.directory import RunDirectory, claim

from .conftest import COMMAND

Command = Callable[..., CompletedProcess[str]]


def test_the_first_signal_does_what_ctrl_c_does_and_later_ones_nothing() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with interruptible() as came:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
    assert came == ["SIGUSR1"]
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_signal_to_all_processes_of_a_run_is_one_sentence(cache: Path, tiny: list[str], tmp_path: Path) -> None:
    """As a scheduler sends it: to the run and to the worker that reads its images."""
    words = ["train", f"hydra.run.dir={tmp_path}/run", *tiny, "recipe=neutral", "loader.workers=1"]
    environment = {**os.environ, "CONSPECIFIC_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words, "trainer.max_epochs=50"],
        cwd=tmp_path,
        env=environment,
        stdout=PIPE,
        stderr=PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("Epoch 2 ") for line in process.stdout)
        os.killpg(process.pid, signal.SIGTERM)
        told = process.communicate()[1]
    again = shlex.join(["conspecific", "train", f"resume={tmp_path}/run"])
    assert (process.returncode, told) == (1, f"interrupted by SIGTERM; to go on: {again}\n")


def test_a_run_is_trained_by_one_process_at_a_time(
    conspecific: Command, run: RunDirectory, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "PATIENCE", 0)
    with run.log.open("a") as log:
        claim(run, log)
        done = conspecific("train", f"resume={run.path}", "trainer.max_epochs=3")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {run.path} is being trained by another process: wait for it, or stop it")
    begun = RunDirectory(here / "begun")
    begun.path.mkdir()
    with begun.log.open("a") as log:
        claim(begun, log)
        assert conspecific("train", "hydra.run.dir=begun").returncode == 2
    assert begun.log.exists(), "the other process writes into it"
