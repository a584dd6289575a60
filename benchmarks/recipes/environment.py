"""Create the environment in which the recipes of the other libraries run, separate from ours.

    python benchmarks/recipes/environment.py FOLDER

open-metric-learning needs numpy below 2, where ours needs 2 or later, so the two cannot share an environment. torch,
torchvision and timm have the versions of the environment that runs this: the benchmark compares recipes, not versions
of torch. Packages that are installed already are not installed again. Uses uv if it is on the path, else pip. Takes
6 GB of disk, most of it for torch.
"""

import argparse
import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

SAME_AS_OURS = ("torch", "torchvision", "timm", "safetensors")
PEERS = (
    "open-metric-learning==4.0.0",
    "omegaconf>=2.3,<2.4",  # open-metric-learning 4.0.0 imports it and does not require it
    "pytorch-metric-learning==2.9.0",
)


def main() -> None:
    """Install, and print the path of the interpreter that runs the recipes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of the environment")
    print(install(parser.parse_args().folder))


def install(folder: Path) -> Path:
    """Create the environment, unless these packages are installed in it, and return its interpreter."""
    if sys.version_info >= (3, 13):
        found = sys.version.split()[0]
        raise SystemExit(
            f"error: this is Python {found}; the other libraries need numpy below 2, which supports Python up to 3.12"
        )
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = [*PEERS, *(f"{name}=={version(name)}" for name in SAME_AS_OURS)]
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text().splitlines() == wanted:
        return python
    uv = shutil.which("uv")
    if not python.exists():
        venv.create(folder, with_pip=uv is None)
    pip = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    subprocess.run([*pip, "--quiet", *wanted], check=True, stdout=sys.stderr)
    stamp.write_text("\n".join(wanted) + "\n")
    return python


if __name__ == "__main__":
    main()
