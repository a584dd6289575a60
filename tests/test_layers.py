"""Imports point down only: every import of the package is read, none is trusted."""

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "conspecific"

RANKS = {
    "cli": 6,
    "training": 5,
    "reporting": 5,
    "serving": 5,
    "exporting": 5,
    "runs": 4,
    "evaluation": 3,
    "leaks": 3,
    "data": 2,
    "models": 2,
    "losses": 2,
    "index": 2,
    "encoding": 2,
    "config": 1,
    "images": 1,
    "montage": 1,
    "metrics": 0,
    "parquet": -1,
    "files": -2,
    "reading": -3,
    "progress": 0,
    "types": 0,
    "tables": 0,
    "cached": 0,
    "reachable": 0,
    "errors": -4,  # parquet, files, reading and errors are of rank 0 in the design; their siblings may import them
}

# Which packages may import these at all.
HOMES = {
    "pytorch_lightning": {"training"},
    "lightning": set(),
    "faiss": {"index"},
    "hydra": {"config", "cli"},
    "omegaconf": {"config", "cli"},
    "wandb": {"training", "reporting"},
    "pytorch_metric_learning": {"losses"},
    "openvino": {"encoding", "exporting"},
    "onnxruntime": {"encoding", "exporting"},
    "kornia": {"evaluation"},
    "fastapi": {"serving"},
    "starlette": {"serving"},
    "uvicorn": {"serving"},
    **{name: {"exporting"} for name in ("duckdb", "lancedb", "qdrant_client", "pymilvus", "milvus_lite")},
}


class Import(NamedTuple):
    """`names` is what the line may mean: the module, and the module with each thing taken from it."""

    file: str
    line: int
    importer: str
    names: tuple[str, ...]


def imports_of(file: Path, package: Path) -> list[Import]:
    """Every import in a file, those inside functions too; relative ones spelt out."""
    relative = file.relative_to(package)
    folder = [package.name, *relative.parts[:-1]]
    importer = relative.parts[0].removesuffix(".py")
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*folder[: len(folder) - node.level + 1], *filter(None, [node.module])])
            module = base if node.level else str(node.module)
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found.append(Import(relative.as_posix(), node.lineno, importer, tuple(names)))
    return found


def own_package(name: str) -> str | None:
    """`data` of conspecific.data.splits; None for what is not ours, or is the version in `conspecific` itself."""
    first, _, rest = name.partition(".")
    part = rest.partition(".")[0]
    return part if first == "conspecific" and part in RANKS else None


def faults(found: Import) -> set[str]:
    """What an import breaks."""
    broken = set()
    for name in found.names:
        part, outside = own_package(name), name.partition(".")[0]
        if part is not None and part != found.importer and RANKS[part] >= RANKS.get(found.importer, 9):
            broken.add(f"{found.file}:{found.line}: {found.importer} may not import {part}")
        if outside in HOMES and found.importer not in HOMES[outside]:
            broken.add(f"{found.file}:{found.line}: {outside} may not be imported in {found.importer}")
    return broken


def test_every_import_points_down_and_stays_at_home() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    assert sorted(fault for file in files for found in imports_of(file, PACKAGE) for fault in faults(found)) == []


def test_every_package_has_a_rank() -> None:
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert names - {"__init__"} <= RANKS.keys()


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("data/a.py", "from conspecific.models import Backbone", "data may not import models"),
        ("data/a.py", "import conspecific.evaluation.embed", "data may not import evaluation"),
        ("data/a.py", "from conspecific import evaluation", "data may not import evaluation"),
        ("data/a.py", "from ..training import run", "data may not import training"),
        ("training/a.py", "from conspecific.reporting.page.plots import x", "training may not import reporting"),
        ("types.py", "from conspecific.config.schema import x", "types may not import config"),
        ("types.py", "from .config import schema", "types may not import config"),
        ("errors.py", "import conspecific.types", "errors may not import types"),
        ("evaluation/a.py", "def f():\n    import faiss", "faiss may not be imported in evaluation"),
        ("training/a.py", "from omegaconf import OmegaConf", "omegaconf may not be imported in training"),
        ("cli/a.py", "import pytorch_lightning.callbacks", "pytorch_lightning may not be imported in cli"),
        ("training/a.py", "import lightning", "lightning may not be imported in training"),
        ("evaluation/a.py", "from conspecific.data.splits import Part", None),
        ("data/a.py", "from .manifest import Manifest", None),
        ("data/b/a.py", "from ..manifest import Manifest", None),
        ("config/a.py", "from conspecific.errors import ConfigError", None),
        ("cli/a.py", "from conspecific import __version__", None),
        ("training/a.py", "import pytorch_lightning as pl", None),
    ],
)
def test_what_breaks_the_table_is_seen(tmp_path: Path, file: str, line: str, fault: str | None) -> None:
    path = tmp_path / "conspecific" / file
    path.parent.mkdir(parents=True)
    path.write_text(line)
    found = [
        message.partition(": ")[2] for item in imports_of(path, tmp_path / "conspecific") for message in faults(item)
    ]
    assert found == ([] if fault is None else [fault])
