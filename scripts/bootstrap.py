"""Set everything up, then run the main job or the tests. Needs Python 3.11 or later and nothing else.

    python3 scripts/bootstrap.py train [--extra NAME ...] [KEY=VALUE ...]
    python3 scripts/bootstrap.py test [PYTEST OPTIONS]

`train` installs into .venv, then runs `conspecific train KEY=VALUE ...`. `--extra sweep` also installs an optional
extra: sweep, serve, tensorboard, heic or onnx. `test` also installs the development tools, then runs lint, types, the
documentation and tests. Packages that are already installed are not installed again.
"""

from __future__ import annotations  # an older Python must be able to read this file, to say which one is needed

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import threading
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
LOCKS = {"train": ROOT / "requirements" / "run.txt", "test": ROOT / "requirements" / "dev.txt"}
CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("mkdocs", "build", "--quiet", "--strict"),
    ("python", "-m", "slipcover", "-m", "pytest", "-n", "2", "--dist", "worksteal"),
)
PIN = r"^([\w.-]+)=="
UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}


def main() -> int:
    """Install, run, and return the exit status of what was run."""
    task, *words = sys.argv[1:] or [""]
    if task not in LOCKS:
        print(__doc__)
        return 2
    if sys.version_info < (3, 11):
        print(f"error: this is Python {sys.version.split()[0]}; 3.11 or later is needed")
        return 2
    extras, words = split_extras(words) if task == "train" else ([], words)
    lock, known = LOCKS[task].read_text(), declared()
    requirements = [each for extra in extras for each in known["project"]["optional-dependencies"][extra]]
    lock += missing_pins(lock, LOCKS["test"].read_text(), [*known["build-system"]["requires"], *requirements])
    install(lock, "-".join([LOCKS[task].stem, *extras]))
    return subprocess.call([BIN / "conspecific", "train", *words]) if task == "train" else check(words)


def check(words: Sequence[str]) -> int:
    """Run every check until one fails; `words` go to pytest."""
    # each test process is given a core of its own: torch's threads would wait for one another
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_MKDOCS_2_WARNING": "1"}
    for name, *options in CHECKS:
        command = [name, *options, *(words if "pytest" in options else [])]
        print(f"== {' '.join(command)}", flush=True)
        if status := subprocess.call([BIN / name, *command[1:]], cwd=ROOT, env=environment):
            return status
    return 0


def split_extras(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take `--extra NAME` and `--extra=NAME` out of the words: the names, sorted, and what is left."""
    extras, rest, words = set(), [], iter(words)
    for word in words:
        option, _, value = word.partition("=")
        if option == "--extra":
            extras.add(value or next(words, ""))
        else:
            rest.append(word)
    known = declared()["project"]["optional-dependencies"]
    if unknown := extras - known.keys():
        raise SystemExit(f"error: --extra {unknown.pop()!r} does not exist; the extras are {', '.join(known)}")
    return sorted(extras), rest


def declared() -> dict[str, Any]:
    """What pyproject.toml says."""
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def missing_pins(base: str, lock: str, requirements: Sequence[str]) -> str:
    """The pins, with hashes, of the packages that are required, directly or through others, and `base` lacks.

    `base` and `lock` are texts of lock files of uv, which name under each pin the packages that require it.
    """
    needed = {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}
    present = set(re.findall(PIN, base, re.MULTILINE))
    blocks = {block.partition("==")[0]: block for block in re.split(r"^(?=[\w.-]+==)", lock, flags=re.MULTILINE)[1:]}
    requirers = {
        name: set(re.findall(r"^    # (?:via )? *(\S+)", block, re.MULTILINE)) for name, block in blocks.items()
    }
    while more := {name for name, by in requirers.items() if by & needed} - needed:
        needed |= more
    return "".join(block for name, block in blocks.items() if name in needed - present)


def install(lock: str, name: str) -> None:
    """Make the environment and install what `lock` pins, unless these very pins are installed."""
    state = hashlib.sha256((lock + (ROOT / "pyproject.toml").read_text()).encode()).hexdigest()
    stamp = ENVIRONMENT / f"installed-{name}"
    if stamp.is_file() and stamp.read_text() == state:
        return
    print(f"Installing into {ENVIRONMENT}: two to four minutes and 6 GB of disk, most of it for torch.", flush=True)
    if not (BIN / "pip").exists() and not (BIN / "pip.exe").exists():
        venv.create(ENVIRONMENT, with_pip=True)
    pins = ENVIRONMENT / f"{name}.txt"
    pins.write_text(lock)
    pip = [BIN / "python", "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off"]
    run_pip([*pip, "--require-hashes", "--requirement", pins], len(re.findall(PIN, lock, re.MULTILINE)))
    run_pip([*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT], 1)  # isolated, it would take any hatchling
    stamp.write_text(state)


def run_pip(command: Sequence[str | Path], pins: int) -> None:
    """Run pip and report its progress: on a terminal in one line that changes, in a file every five seconds."""
    began, wall, terminal, lines = time.monotonic(), time.time(), sys.stdout.isatty(), []

    def read() -> None:
        for line in process.stdout:
            lines.append(line.strip())

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        reader = threading.Thread(target=read)
        reader.start()
        while reader.is_alive():
            reader.join(0.5 if terminal else 5)
            text = f"{progress(lines[:], pins, installed_since(wall))}, {time.monotonic() - began:.0f} s"
            print(f"\r\x1b[K{text}" if terminal else text, end="" if terminal else "\n", flush=True)
    if terminal:
        print()
    if process.returncode:
        raise SystemExit("\n".join([*lines, f"error: pip failed with exit status {process.returncode}"]))


def installed_since(wall: float) -> int:
    """How many packages were installed in the environment since this time."""
    folder = Path(sysconfig.get_path("purelib", "venv", {"base": str(ENVIRONMENT), "platbase": str(ENVIRONMENT)}))
    return sum(path.stat().st_mtime >= wall for path in folder.glob("*.dist-info"))


def progress(lines: Sequence[str], pins: int, installed: int) -> str:
    """What pip is doing, from the lines it has printed so far."""
    for line in lines:
        if line.startswith("Installing collected packages: "):
            return f"Installing: {installed} of {line.count(',') + 1} packages"
    found = [
        match.groups() for line in lines if (match := re.match(r"(?:Downloading|Using cached) (\S+) \((.+)\)", line))
    ]
    files = [(file.rpartition("/")[2], size.split()) for file, size in found if not file.endswith(".metadata")]
    if not files:
        return "Preparing"
    total = sum(float(number) * UNITS.get(unit, 1) for _, (number, unit) in files)
    pins -= sum(line.startswith("Ignoring ") for line in lines)  # packages of other platforms
    name, size = files[-1][0].partition("-")[0], " ".join(files[-1][1])
    return f"Downloading: {len(files)} of {pins} packages, {total / 1e6:,.0f} MB; now {name} ({size})"


if __name__ == "__main__":
    sys.exit(main())
