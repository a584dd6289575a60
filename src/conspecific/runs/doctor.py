"""What this installation is and whether it can work: versions, machine, encoders, folders."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from conspecific import __version__
from conspecific.config.schema import PathsConfig
from conspecific.encoding.machine import processor
from conspecific.files import nearest_existing
from conspecific.runs.caches import read_caches
from conspecific.runs.environment import PACKAGES, git_revision

INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16", "i8mm")
VARIABLES = (
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "CONSPECIFIC_CACHE",
    "CONSPECIFIC_RUNS",
    "HF_HUB_OFFLINE",
    "TMPDIR",
)
Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Examination:
    """sections: title -> rows of name and value. faults: what keeps this installation from working. next: a command, or
    what is to be mended first."""

    sections: Mapping[str, Rows]
    faults: Sequence[str]

    @property
    def next(self) -> str:
        return "mend what is named above" if self.faults else "conspecific train dry_run=true"


def examine(paths: PathsConfig) -> Examination:
    """Look at packages, processor, GPU, encoders, caches and folders; nothing is asked of a server."""
    faults: list[str] = []
    sections = {
        f"Conspecific {__version__}": list(_program()),
        "Packages": list(_packages(faults.append)),
        "Machine": list(_machine()),
        "Networks run on": list(_encoders(faults.append)),
        "Folders": list(_folders(paths, faults.append)),
    }
    return Examination(sections, faults)


def _program() -> Iterator[tuple[str, str]]:
    yield "installed in", _short(Path(__file__).parents[1])
    yield "revision", git_revision() or "not in a git repository"
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()}), {_short(Path(sys.prefix))}"
    yield "system", platform.platform()
    yield from ((name, os.environ[name]) for name in VARIABLES if name in os.environ)


def _packages(fault: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        found = _version(name)
        if found is None:
            fault(f"the package {name} is not installed: python3 -m pip install -e .")
        yield name, found or "missing"
    for extra, names in _extras().items():
        versions = [f"{name} {_version(name)}" for name in names if _version(name)]
        yield f"extra {extra}", ", ".join(versions) if len(versions) == len(names) else "not installed"


def _extras() -> dict[str, list[str]]:
    """Name -> packages of each extra, as the installed metadata declares them."""
    try:
        declared = requires("conspecific") or []
    except PackageNotFoundError:  # a source tree that was never installed
        return {}
    found: dict[str, list[str]] = {}
    for requirement in declared:
        name, _, marker = requirement.partition(";")
        if "extra ==" in marker:
            extra = marker.rpartition("extra ==")[2].strip(" '\")")
            found.setdefault(extra, []).append("".join(_until_version(name)))
    return found


def _until_version(requirement: str) -> Iterator[str]:
    for character in requirement.strip():
        if not (character.isalnum() or character in "-_."):
            return
        yield character


def _machine() -> Iterator[tuple[str, str]]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "processor", processor()
    yield "cores", f"{os.cpu_count()}, {usable} of them for this process"
    yield "instruction sets", " ".join(instruction_sets()) or "not told by this system"
    if memory := _memory():
        yield "memory", f"{memory[0] / 1e9:.1f} GB, {memory[1] / 1e9:.1f} GB of it free"


def instruction_sets(info: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Return those of `INSTRUCTION_SETS` that the processor has; none where the system does not tell."""
    lines = info.read_text().splitlines() if info.is_file() else []
    flags = next(
        (line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))), []
    )
    return [name for name in INSTRUCTION_SETS if name in flags]


def _memory() -> tuple[int, int] | None:
    """Return bytes of memory, all and free; None where the system does not tell."""
    info = Path("/proc/meminfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    found = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return (found["MemTotal"], found["MemAvailable"]) if "MemAvailable" in found else None


def _encoders(fault: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    try:
        import torch
    except (ImportError, OSError) as error:  # a torch of another platform, or a library that is missing
        fault(f"torch cannot be imported: {' '.join(str(error).split())}")
        yield "torch", "cannot be imported"
    else:
        yield "torch", f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
        cuda = torch.cuda.is_available()
        yield (
            "GPU",
            torch.cuda.get_device_name()
            if cuda
            else f"none (torch {'without CUDA' if torch.version.cuda is None else f'for CUDA {torch.version.cuda}'})",
        )
    for name, extra in (("openvino", "openvino"), ("onnxruntime", "onnx")):
        yield name, _version(name) or f"not installed (extra {extra})"


def _folders(paths: PathsConfig, fault: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    cache = Path(paths.cache)
    size = sum(each.size for each in read_caches(cache))
    for name, folder, key in (
        ("cache", cache, "paths.cache"),
        ("runs", Path(paths.runs), "paths.runs"),
        ("temporary files", Path(tempfile.gettempdir()), "TMPDIR"),
    ):
        existing = nearest_existing(folder)
        writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
        if not writable:
            fault(f"{folder} cannot be written: set {key} to another folder")
        held = f", {size / 1e9:.2f} GB kept" if folder == cache else ""
        free = f"{shutil.disk_usage(existing).free / 1e9:.0f} GB free"
        yield name, f"{_short(folder)}: {'writable' if writable else 'not writable'}{held}, {free}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _short(path: Path) -> str:
    """A path without the name of the user, where it is below the home directory."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):  # elsewhere, or there is no home
        return str(path)
