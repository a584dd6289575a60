"""Where the results of an opened run are written, and what becomes of embeddings that were damaged there."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from conspecific.config.schema import EmbedConfig, EvaluateConfig, OtherMetricsConfig, OtherSplitConfig, TrainConfig
from conspecific.data.manifest import Manifest
from conspecific.errors import RunError
from conspecific.runs.directory import RunDirectory
from conspecific.runs.open import OpenRun
from conspecific.types import EmbeddingSet


def test_every_evaluation_of_a_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    embedder: Any = None
    evaluator: Any = SimpleNamespace(
        splits=SimpleNamespace(protocol="seen"), image_size=96, fingerprint="f00d", exclude_group=False
    )
    asked = [
        EvaluateConfig(),
        EvaluateConfig(subset="val"),
        EvaluateConfig(truncate=8),
        EvaluateConfig(split=OtherSplitConfig(seed=1)),
        EvaluateConfig(split=OtherSplitConfig(seed=2)),
        EvaluateConfig(metrics=OtherMetricsConfig([1, 2])),
    ]
    runs = [OpenRun(embedder, tmp_path, TrainConfig(), RunDirectory(tmp_path), config) for config in asked]
    folders = [run.evaluation_folder(evaluator) for run in runs]
    assert folders[0] == tmp_path / "evaluations" / "test_seen_96px_f00d"
    assert len(set(folders)) == len(asked)


@pytest.fixture
def opened(tmp_path: Path, make_manifest: Callable[..., Manifest], monkeypatch: pytest.MonkeyPatch) -> OpenRun:
    """A run of four images whose embedder is never asked: every computation gives the same vectors."""
    manifest = make_manifest(["robin", "robin", "wren", "wren"])
    vectors = EmbeddingSet(np.eye(4, dtype=np.float32), np.arange(4), manifest.labels)
    monkeypatch.setattr(OpenRun, "checked", lambda *_, **__: (manifest, "f00d"))
    monkeypatch.setattr(OpenRun, "encoder_facts", lambda _: {"weights": "beef"})
    monkeypatch.setattr(OpenRun, "_own_images", lambda *_: None)
    monkeypatch.setattr(OpenRun, "embed_images", lambda *_: vectors)
    embedder: Any = SimpleNamespace(metric="cosine", truncate=None)
    return OpenRun(embedder, tmp_path, TrainConfig(), RunDirectory(tmp_path / "run"), EmbedConfig())


@pytest.mark.parametrize(
    ("file", "reason"), [("vectors.npy", "vectors.npy was changed"), ("facts.json", "facts.json cannot be read")]
)
def test_damaged_embeddings_of_a_run_are_made_again_with_a_word(file: str, reason: str, opened: OpenRun) -> None:
    told = io.StringIO()
    console = Console(file=told, width=500)
    folder, _, _ = opened.embed_all(console)
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[:-3])
    np.testing.assert_array_equal(opened.embed_all(console)[2].vectors, np.eye(4))
    assert told.getvalue() == f"{folder} cannot be used, {reason}: it is made again.\n"
    assert (folder / file).read_bytes() == whole
    opened.embed_all(console)
    assert told.getvalue().count("\n") == 1, "they are kept"
    (folder / file).write_bytes(whole[:-3])
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds notes\.txt besides embeddings"):
        opened.embed_all(console)


def test_damaged_embeddings_in_a_folder_that_a_user_named_are_refused(opened: OpenRun, tmp_path: Path) -> None:
    console, folder = Console(quiet=True), tmp_path / "mine"
    opened.embed_all(console, folder)
    damaged = (folder / "vectors.npy").read_bytes()[:-3]
    (folder / "vectors.npy").write_bytes(damaged)
    with pytest.raises(RunError, match=r"mine does not hold usable embeddings: vectors\.npy was changed\. Delete it"):
        opened.embed_all(console, folder)
    assert (folder / "vectors.npy").read_bytes() == damaged
