"""Kill `conspecific train` with SIGKILL at random moments, resume it, and compare what it ends with.

    python benchmarks/kills.py [--kills 50] [--seed 0] [--quick]

A small training is run once without interruption. The same training is then begun again and again in new folders with
empty caches: each of its processes is killed after a time drawn uniformly from the duration of the uninterrupted run,
and followed by `conspecific train resume=RUN` with another number of worker processes, until the run has ended. Where
nothing can be resumed yet, the run is begun once more on the same cache. Every process is a fork of this one, which has
imported the program before, so that kills fall into what a run does and not into its imports.

Two trainings take turns: all ways to train together, with a cross-batch memory, a random miner, a running average and
cached augmentations; and the default recipe with new views in every epoch. After every kill each file of the record is
read; in the end weights, results, epochs, the whole last checkpoint and the metrics file must be equal to the last bit.
The results are also written to benchmarks/kills.json. The exit status is 1 if anything differs.
"""

import argparse
import csv
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image
from unmoved import differ, numbers

from conspecific.cli.main import main as command
from conspecific.config.overrides import override
from conspecific.config.yaml_file import read_yaml
from conspecific.errors import ConspecificError
from conspecific.models.state_dict import read_state_dict
from conspecific.runs.directory import PATIENCE, RunDirectory
from conspecific.runs.record import has_ended
from conspecific.training.resume import read_checkpoint

HERE = Path(__file__).resolve().parent
LONGEST = 600.0  # seconds that a process may take before it counts as one that hangs
SMALL = [
    "data=folder",
    "loader.image_size=64",
    "loader.train_size=64",
    "loader.classes_per_batch=3",
    "loader.samples_per_class=2",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=4",
    "model.backbone=test_resnet",
    "model.weights=none",
]
EVERYTHING = [
    "loss=triplet",
    "loss/miner=distance_weighted",
    "loss.memory=12",
    "optimizer.backbone_lr=1e-5",  # so few images are soon lost otherwise, and training stops
    "optimizer.head_lr=1e-5",
    "optimizer.layer_decay=0.5",
    "recipe.ema=0.5",
    "recipe.hard_negatives=0.4",
    "recipe.head_epochs=1",
    "recipe.matryoshka=[4,16]",
    "recipe.initial_size=32",
    "recipe.distillation=0.5",
    "teacher=timm",
    "teacher.backbone=test_resnet",
    "teacher.weights=none",
    "model.dimensions=16",
    "recipe.folds=0",
]
CASES = {"all ways to train": EVERYTHING, "default, new views": ["recipe.cached_augmentations=0", "final=true"]}
QUICK = [
    "model.trainable_stages=null",
    "model.dimensions=16",
    "recipe=neutral",
    "recipe.ema=0.5",
    "loss=triplet",
    "loss/miner=distance_weighted",
    "loss.memory=12",
    "optimizer.backbone_lr=1e-6",
    "optimizer.head_lr=1e-6",
]
READERS: dict[str, Callable[[Path], object]] = {
    ".json": lambda file: json.loads(file.read_text()),
    ".jsonl": lambda file: [json.loads(line) for line in file.read_text().splitlines()],
    ".parquet": lambda file: pl.read_parquet(file, glob=False),
    ".yaml": read_yaml,
    ".ckpt": read_checkpoint,
    ".safetensors": read_state_dict,
}


@dataclass
class Found:
    """What the kills showed. moments: what of a run had been written at a kill -> kills. faults: sentences."""

    moments: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """A training and its uninterrupted run. seconds: how long that took."""

    words: Sequence[str]
    whole: RunDirectory
    seconds: float


def main() -> int:
    """Kill, compare, print what was found, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the numbers of workers")
    parser.add_argument("--quick", action="store_true", help="2 kills of a smaller training, as a trial")
    given = parser.parse_args()
    importlib.import_module("conspecific.cli.train")  # once, before every process is forked from this one
    kills, drawn, found = 2 if given.quick else given.kills, random.Random(given.seed), Found()
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        images = override("data.root", str(draw(folder / "images")))
        trained = [QUICK] if given.quick else CASES.values()
        cases = [uninterrupted(folder / f"whole{at}", [images, *words]) for at, words in enumerate(trained)]
        while sum(found.moments.values()) < kills:
            case, told = cases[found.runs % len(cases)], len(found.faults)
            killed_run(folder / f"run{found.runs}", case, drawn, kills, found)
            shutil.rmtree(folder / f"run{found.runs}")
            found.runs += 1
            print(*found.faults[told:], f"{sum(found.moments.values())} kills, {found.runs} runs", sep="\n", flush=True)
    told = {"kills": dict(found.moments), "runs": found.runs, "faults": found.faults, "seed": given.seed}
    told |= {"seconds": [case.seconds for case in cases]}
    (HERE / "kills.json").write_text(json.dumps(told, indent=2) + "\n")
    print("| killed | times |\n|---|---|")
    print(*(f"| {moment} | {times} |" for moment, times in sorted(found.moments.items())), sep="\n")
    print(f"{found.runs} runs ended, {len(found.faults)} faults")
    return 1 if found.faults else 0


def draw(folder: Path) -> Path:
    """Draw eight images of noise for each of five species, each of another colour."""
    noise = np.random.default_rng(0)
    for species in range(5):
        (folder / f"species{species}").mkdir(parents=True)
        for number in range(8):
            pixels = noise.integers(0, 220, (64, 64, 3)) + np.array([species % 2, species % 3, species // 2]) * 10
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"species{species}" / f"{number}.png")
    return folder


def uninterrupted(folder: Path, words: Sequence[str]) -> Case:
    """Train without a kill and without worker processes."""
    began = time.perf_counter()
    run = RunDirectory(folder / "run")
    status = wait(start(folder, words, run, 0), LONGEST)
    if status != 0 or not has_ended(run):
        raise SystemExit(f"the uninterrupted run failed with {status}:\n{(folder / 'output').read_text()}")
    return Case(words, run, time.perf_counter() - began)


def killed_run(folder: Path, case: Case, drawn: random.Random, kills: int, found: Found) -> None:
    """Begin a run, kill and resume it until it has ended, and compare it with the uninterrupted one."""
    run, sessions = RunDirectory(folder / "run"), []
    while True:
        can_kill = sum(found.moments.values()) < kills
        process = start(folder, case.words, run, drawn.choice((0, 1, 2)))
        sessions.append(process)
        status = wait(process, drawn.uniform(0, case.seconds) if can_kill else LONGEST)
        if status is None:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            found.moments[moment(run)] += 1
            found.faults += [f"{folder.name}: {fault}" for fault in in_a_child(lambda: half_written(run))]
            if not can_kill:
                found.faults.append(f"{folder.name} hung for {LONGEST:.0f} s")
        elif status != 0 or not has_ended(run):
            output = (folder / "output").read_text()
            found.faults.append(f"{folder.name} ended with {status} and a summary {has_ended(run)}: {output[-2000:]}")
            return
        if has_ended(run):
            break
        if not run.can_resume:
            shutil.rmtree(run.path, ignore_errors=True)
    faults = *in_a_child(lambda: unequal(case.whole, run)), *left(folder, run, sessions)
    found.faults += [f"{folder.name}: {fault}" for fault in faults]


def start(folder: Path, words: Sequence[str], run: RunDirectory, workers: int) -> int:
    """Fork a process that begins a run, or resumes it where it can be resumed; return its number.

    It is the first of a session of its own, in which its workers are too; its TMPDIR is in the folder.
    """
    temporary = folder / "temporary"
    temporary.mkdir(parents=True, exist_ok=True)
    if run.can_resume:
        given = [override("resume", str(run.path))]
    else:
        places = {"hydra.run.dir": run.path, "paths.cache": folder / "cache"}
        given = [*SMALL, *words, *(override(key, str(place)) for key, place in places.items())]
    sys.stdout.flush()
    if process := os.fork():
        return process
    status = 3
    try:
        os.setsid()
        os.chdir(folder)
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = command(["train", *given, f"loader.workers={workers}"])
    finally:
        sys.stdout.flush()
        os._exit(status)


def in_a_child(check: Callable[[], Iterator[str]]) -> list[str]:
    """Return what a check yields in a forked process: reading a table here would start threads, which forks lack."""
    reads, writes = os.pipe()
    if not (process := os.fork()):
        try:
            told = list(check())
        except BaseException as error:
            told = [f"the check failed: {error!r}"]
        with os.fdopen(writes, "w") as stream:
            json.dump(told, stream)
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as stream:
        found: list[str] = json.load(stream)
    os.waitpid(process, 0)
    return found


def wait(process: int, seconds: float) -> int | None:
    """Return the exit status of a process, None where it is still running after so many seconds."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def moment(run: RunDirectory) -> str:
    """Say what of a run had been written when it was killed."""
    for file, told in (
        (run.config, "1 before the record: reading, drawing, hashing"),
        (run.last, "2 before the first checkpoint: references, caches, first epoch"),
        (run.weights, "3 in the epochs and the selection"),
        (run.summary, "4 in the test"),
    ):
        if not file.is_file():
            return told
    return "6 after its end" if has_ended(run) else "5 in the report and the final model"


def half_written(run: RunDirectory) -> Iterator[str]:
    """Yield what is wrong with a file under its own name: one that is written in the moment has another."""
    for file in run.path.rglob("*"):
        if file.is_file() and not file.name.startswith(".partial-") and file.suffix in READERS:
            try:
                READERS[file.suffix](file)
            except (ConspecificError, ValueError, OSError, pl.exceptions.PolarsError) as error:
                yield f"{file.relative_to(run.path)} after a kill {moment(run)}: {error}"


def unequal(whole: RunDirectory, run: RunDirectory) -> Iterator[str]:
    """Yield what differs between two runs: files, numbers, weights, the state of training, metrics that were logged."""
    files = [{str(file.relative_to(each.path)) for file in each.path.rglob("*")} for each in (whole, run)]
    if files[0] != files[1]:
        yield f"these files are in one run only: {sorted(files[0] ^ files[1])}"
    before, now = numbers(whole.path), numbers(run.path)
    if changed := [place for place in before if differ(before, now, place)]:
        yield f"{len(changed)} of {len(before)} values differ, such as {changed[0]}"
    for file in (whole.weights, whole.start, whole.final.weights):
        if file.is_file() and file.read_bytes() != (run.path / file.relative_to(whole.path)).read_bytes():
            yield f"{file.name} differs"
    for state in ("state_dict", "optimizer_states", "lr_schedulers"):
        if not same(read_checkpoint(whole.last)[state], read_checkpoint(run.last)[state]):
            yield f"{state} of the last checkpoint differ"
    rows = [{json.dumps(row, sort_keys=True) for row in logged(each)} for each in (whole, run)]
    if logged(whole) != logged(run):
        yield f"metrics.csv differs: without kills {rows[0] - rows[1]}, with kills {rows[1] - rows[0]}"


def same(first: Any, second: Any) -> bool:
    """Whether two containers hold the same values, tensors bit for bit."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(value, second[key]) for key, value in first.items())
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def logged(run: RunDirectory) -> list[dict[str, str]]:
    """The rows of metrics.csv, each without the columns that it leaves empty, and without the path of the report."""
    with (run.path / "logs" / "csv" / "metrics.csv").open() as file:
        rows = [
            {name: value for name, value in row.items() if value and name != "report"} for row in csv.DictReader(file)
        ]
    return [row for row in rows if row.keys() != {"step"}]


def left(folder: Path, run: RunDirectory, sessions: Sequence[int]) -> Iterator[str]:
    """Yield what the processes of a run left behind, after the patience that a resumed run has with workers."""
    ends = time.monotonic() + PATIENCE
    while (alive := [each for each in sessions if is_alive(each)]) and time.monotonic() < ends:
        time.sleep(0.1)
    if alive:
        yield f"processes of the sessions {alive} live on"
    if partial := [str(path.relative_to(run.path)) for path in run.path.rglob(".partial-*")]:
        yield f"temporary files are left: {partial}"
    if taken := [path for path in (folder / "temporary").rglob("*") if path.is_file()]:
        yield f"{sum(path.stat().st_size for path in taken)} bytes are left in TMPDIR: {taken}"
    output = (folder / "output").read_text()
    for word in ("Traceback", "is damaged", "cannot be used"):
        if word in output:
            yield f"{word} in its output: {output[max(0, output.index(word) - 500) :][:2000]}"


def is_alive(session: int) -> bool:
    """Whether a process of a session still runs."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
