"""What a run writes down besides its numbers: where, with what, and how it can be done again."""

import json
import os
import platform
import resource
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from conspecific import __version__
from conspecific.config.compose import save_yaml
from conspecific.config.schema import TrainConfig
from conspecific.models import Embedder
from conspecific.runs.directory import RunDirectory

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


def write_start(run: RunDirectory, config: TrainConfig, overrides: Sequence[str], data_fingerprint: str) -> None:
    """Write configuration, overrides and environment before anything long begins."""
    run.path.mkdir(parents=True, exist_ok=True)
    save_yaml(config, run.config)
    save_yaml(list(overrides), run.overrides)
    command = shlex.join(["conspecific", "train", *overrides])
    write_json(run.environment, {"command": command} | environment() | {"data_fingerprint": data_fingerprint})


def environment() -> dict[str, Any]:
    """Versions, machine and git revision, as JSON values."""
    return {
        "conspecific": __version__,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git": git_revision(),
    }


def processor() -> str:
    """The processor's name, as well as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def git_revision() -> str | None:
    """Revision of the working directory's repository, with `-dirty` where files differ from it; None outside one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):  # no git, or a file system that hangs: the run is not worth less
        return None
    return found.stdout.strip() or None


def peak_memory_gb() -> float:
    """Largest resident memory this process has had, in GB (10^9 bytes); decoding workers have theirs besides."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def save_weights(embedder: Embedder, path: Path) -> None:
    """Write all weights of the embedder as .safetensors, whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in embedder.state_dict().items()}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)
