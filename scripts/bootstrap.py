"""Set everything up, then run the main job or the tests. Needs Python 3.11 or later and nothing else.

    python3 scripts/bootstrap.py train [KEY=VALUE ...]    install into .venv, then `conspecific train KEY=VALUE ...`
    python3 scripts/bootstrap.py test [PYTEST OPTIONS]    install the development tools too, then lint, types, tests

What is in place already is not done again.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
LOCKS = {"train": "run.txt", "test": "dev.txt"}
CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("pytest", "-n", "2", "--dist", "worksteal"),
)


def main() -> int:
    """Install, run, and return the exit status of what was run."""
    task = sys.argv[1] if len(sys.argv) > 1 else ""
    if task not in LOCKS:
        print(__doc__)
        return 2
    if sys.version_info < (3, 11):
        print(f"error: this is Python {sys.version.split()[0]}; 3.11 or later is needed")
        return 2
    install(ROOT / "requirements" / LOCKS[task])
    if task == "train":
        return subprocess.call([BIN / "conspecific", "train", *sys.argv[2:]])
    for name, *options in CHECKS:
        extra = sys.argv[2:] if name == "pytest" else []
        print(f"== {' '.join([name, *options, *extra])}", flush=True)
        if status := subprocess.call([BIN / name, *options, *extra], cwd=ROOT):
            return status
    return 0


def install(lock: Path) -> None:
    """Make the environment and install what `lock` pins, unless that very lock is installed."""
    state = hashlib.sha256(lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = ENVIRONMENT / f"installed-{lock.stem}"
    if stamp.is_file() and stamp.read_text() == state:
        return
    print(
        f"Installing into {ENVIRONMENT} what {lock.name} pins; about two minutes and 6 GB, most of it torch.",
        flush=True,
    )
    if not (BIN / "pip").exists() and not (BIN / "pip.exe").exists():
        venv.create(ENVIRONMENT, with_pip=True)
    pip = [BIN / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "--requirement", lock], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", ROOT], check=True)
    stamp.write_text(state)


if __name__ == "__main__":
    sys.exit(main())
