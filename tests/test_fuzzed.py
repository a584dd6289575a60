"""Whatever bit of a file is flipped, and wherever it is cut off: what is read is what was written, or it is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conspecific.cached import cached
from conspecific.data.manifest import Manifest
from conspecific.errors import ConfigError, RunError
from conspecific.evaluation.store import load_embeddings, save_embeddings
from conspecific.index import Index
from conspecific.models.state_dict import read_state_dict
from conspecific.models.tensor_file import save_tensors
from conspecific.types import EmbeddingSet, EvalResult

PATHS = [f"wren/{number:04}.jpg" for number in range(20)]
DAMAGE = given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 7), st.booleans())
FUZZED = settings(
    max_examples=60, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def damage(folder: Path, number: int, place: int, bit: int, cut: bool) -> Path:
    """Flip a bit of one file of a folder, or cut it off; the file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = files[number % len(files)]
    content = bytearray(file.read_bytes())
    place %= len(content)
    if cut:
        del content[place:]
    else:
        content[place] ^= 1 << bit
    file.write_bytes(content)
    return file


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[Callable[[Path], object]], Path]:
    """Return a function that returns a folder as it was written first; it is written once for all examples."""

    def make(write: Callable[[Path], object]) -> Path:
        if not (whole := tmp_path / "whole").exists():
            whole.mkdir()
            write(whole)
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        return shutil.copytree(whole, tmp_path / "copy")

    return make


Fresh = Callable[[Callable[[Path], object]], Path]
TENSORS = {"head.weight": torch.arange(12.0).reshape(3, 4), "steps": torch.tensor(3)}


def write_weights(folder: Path) -> None:
    save_tensors(TENSORS, folder / "weights.safetensors", {"conspecific": "pooled reference"})
    torch.save({"epoch": 3, "state_dict": TENSORS}, folder / "best.ckpt")


@DAMAGE
@FUZZED
def test_weights_and_checkpoints(fresh: Fresh, number: int, place: int, bit: int, cut: bool) -> None:
    file = damage(fresh(write_weights), number, place, bit, cut)
    try:
        found = read_state_dict(file)
    except ConfigError as error:
        assert str(error).startswith(str(file))
    else:
        assert found.keys() == TENSORS.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def write_index(folder: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    facts: dict[str, Any] = {"encoder": {"weights": "f00d"}, "threshold": {"score": 0.5}, "root": "/birds"}
    index = Index.build(vectors, PATHS, ["wren"] * 20, kind="hnsw", within=np.eye(8, dtype=np.float32), **facts)
    index.save(folder / "index", cache=folder.parent / "cache")


@DAMAGE
@FUZZED
def test_an_index(fresh: Fresh, number: int, place: int, bit: int, cut: bool) -> None:
    folder = fresh(write_index)
    cache = folder.parent / "cache"
    whole = Index.open(folder / "index", cache=cache)
    file = damage(folder, number, place, bit, cut)
    try:
        index = Index.open(file.parent, cache=cache, say=lambda _: None)
    except RunError as error:
        assert str(error).startswith(str(file.parent))
    else:
        assert index.stored == whole.stored and index.images.equals(whole.images)
        assert np.array_equal(index.vectors, whole.vectors)
        assert index.within is not None and np.array_equal(index.within, np.eye(8))
        assert np.array_equal(index.search(whole.vectors[:5], 3).ids, whole.search(whole.vectors[:5], 3).ids)


@DAMAGE
@FUZZED
def test_embeddings(
    fresh: Fresh, make_manifest: Callable[..., Manifest], number: int, place: int, bit: int, cut: bool
) -> None:
    manifest = make_manifest(["robin"] * 6 + ["wren"] * 6)
    vectors = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    embeddings = EmbeddingSet(vectors, np.arange(12)[::-1].copy(), manifest.labels[::-1].copy())
    folder = fresh(lambda place: save_embeddings(place / "all", embeddings, manifest, {"weights": "f00d"})) / "all"
    damage(folder, number, place, bit, cut)
    try:
        found = load_embeddings(folder, manifest)
    except RunError as error:
        assert str(error).startswith(str(folder))
    else:
        assert np.array_equal(found.vectors, vectors) and np.array_equal(found.ids, embeddings.ids)


def write_result(folder: Path) -> None:
    table = pl.DataFrame({"path": PATHS, "map@r": [number / 7 for number in range(20)]})
    EvalResult({"map@r": 0.5}, {"map@r": 0.25}, table, {"queries": 20, "name": "model"}).save(folder / "test_model")


@DAMAGE
@FUZZED
def test_a_result(fresh: Fresh, number: int, place: int, bit: int, cut: bool) -> None:
    folder = fresh(write_result)
    stem = folder / "test_model"
    whole = EvalResult.load(stem)
    damage(folder, number, place, bit, cut)
    try:
        found = EvalResult.load(stem)
    except RunError as error:
        assert str(error).startswith(str(stem))
    else:
        assert (found.metrics, found.macro, found.facts) == (whole.metrics, whole.macro, whole.facts)
        assert found.per_query.equals(whole.per_query)


def write_entry(folder: Path) -> None:
    (folder / "scores.json").write_text(json.dumps({"recall@1": 0.5}))
    (folder / "table.bin").write_bytes(bytes(range(100)))


@DAMAGE
@FUZZED
def test_an_entry_of_a_cache(fresh: Fresh, number: int, place: int, bit: int, cut: bool) -> None:
    folder = fresh(lambda place: cached(place / "key", write_entry, pytest.fail)) / "key"
    damage(folder, number, place, bit, cut)
    said: list[str] = []
    found = cached(folder, write_entry, said.append)
    assert json.loads((found / "scores.json").read_text()) == {"recall@1": 0.5}
    assert (found / "table.bin").read_bytes() == bytes(range(100))
    assert len(said) <= 1
