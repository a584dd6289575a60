"""Where a run was made, with what, and how it can be repeated."""

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from conspecific import __version__
from conspecific.encoding.machine import processor

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "pytorch-lightning",
    "pytorch-metric-learning",
    "faiss-cpu",
    "numpy",
    "pillow",
)


@dataclass(frozen=True, slots=True)
class Environment:
    """What a result depends on besides its configuration.

    command: the command line that makes the same run. packages: name -> version. threads: those torch computes with.
    gpu: its name, None without one. git: revision of the working directory's repository, None outside one.
    data_fingerprint: see `data.manifest.Manifest.fingerprint`. schema_version: of the record, see `runs.record`.
    """

    command: str
    conspecific: str
    python: str
    packages: Mapping[str, str]
    platform: str
    processor: str
    cores: int | None
    threads: int
    gpu: str | None
    git: str | None
    data_fingerprint: str
    schema_version: int


def current_environment(command: str, data_fingerprint: str, schema_version: int) -> Environment:
    """Return the versions, machine and git revision of this process."""
    import torch  # takes seconds, and what is recorded is read without

    return Environment(
        command=command,
        conspecific=__version__,
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
        platform=platform.platform(),
        processor=processor(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        git=git_revision(),
        data_fingerprint=data_fingerprint,
        schema_version=schema_version,
    )


def git_revision() -> str | None:
    """Return the revision of the working directory's repository, with `-dirty` where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):  # no git, or a file system that hangs: the run does not depend on it
        return None
    return found.stdout.strip() or None


def peak_memory_gb() -> float:
    """Return the largest resident memory of this process so far, in GB (10^9 bytes), worker processes not counted."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
