"""What a run writes of how its embeddings vary within species, and when it is read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import TrainConfig, UseConfig
from conspecific.data.sources import from_folder
from conspecific.data.splits import split
from conspecific.errors import ConfigError
from conspecific.evaluation import Evaluator
from conspecific.index.wiener import within_covariance
from conspecific.models import build_embedder
from conspecific.models.tensor_file import save_tensors
from conspecific.models.weights import save_weights
from conspecific.runs.directory import RunDirectory
from conspecific.runs.open import OpenRun
from conspecific.runs.within_species import read_within_species, write_within_species


@pytest.fixture
def evaluator(make_folder: Callable[..., Path]) -> Evaluator:
    manifest = from_folder(str(make_folder({"robin": 8, "wren": 8, "tit": 9})))
    splits = split(manifest, "seen", val_share=0.5)
    return Evaluator(manifest, splits, "unread", 32, 1, torch.device("cpu"), Console(quiet=True))


@pytest.fixture
def opened(tmp_path: Path) -> OpenRun:
    torch.manual_seed(0)
    run, embedder = RunDirectory(tmp_path / "run"), build_embedder("test_resnet", "none", "avg", "linear", 8)
    save_weights(embedder, run.weights)
    return OpenRun(embedder, run.weights, typed(compose_config("train"), TrainConfig), run, UseConfig())


def test_it_is_of_the_training_images_by_the_kept_weights(evaluator: Evaluator, opened: OpenRun) -> None:
    assert opened.run is not None and read_within_species(opened) is None
    write_within_species(opened.run, opened.embedder, evaluator)
    opened.embedder.image_size = 32
    train = evaluator.splits.train
    vectors = opened.embedder.embed([evaluator.manifest.path(each) for each in train.tolist()], device="cpu")
    wanted, found = within_covariance(vectors, evaluator.manifest.labels[train]), read_within_species(opened)
    assert wanted is not None and found is not None and np.abs(wanted).max() > 1e-6
    np.testing.assert_allclose(found, wanted, atol=1e-3 * np.abs(wanted).max())
    opened.embedder.truncate = 4
    assert read_within_species(opened) is None
    opened.embedder.truncate = None
    assert read_within_species(replace(opened, weights=opened.run.best)) is None, "a run that was interrupted"
    save_weights(build_embedder("test_resnet", "none", "avg", "linear", 8), opened.run.weights)
    assert read_within_species(opened) is None, "the weights are others since"


def test_where_it_cannot_be_had_none_is_written(
    evaluator: Evaluator, opened: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened.run is not None
    labels, train = evaluator.manifest.labels, evaluator.splits.train
    single = np.array([train[labels[train] == each][0] for each in range(3)])
    write_within_species(
        opened.run, opened.embedder, replace(evaluator, splits=replace(evaluator.splits, train=single))
    )
    monkeypatch.setattr("conspecific.runs.within_species.MOST", 7)
    write_within_species(opened.run, opened.embedder, evaluator)
    assert not opened.run.within_species.exists()


def test_another_file_in_its_place_is_refused(evaluator: Evaluator, opened: OpenRun) -> None:
    assert opened.run is not None
    write_within_species(opened.run, opened.embedder, evaluator)
    file = opened.run.within_species
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ConfigError, match="is damaged: its checksum is not that of its tensors"):
        read_within_species(opened)
    file.write_bytes(content)
    weights = {"weights": within_weights(opened)}
    for tensor, told in (
        (torch.ones(8, 8, dtype=torch.int32), "holds no covariance in float32"),
        (torch.full((8, 8), torch.nan), "or some that are not finite"),
        (torch.ones(8, 4), "or some that are not finite"),
    ):
        save_tensors({"covariance": tensor}, file, weights)
        with pytest.raises(ConfigError, match=told):
            read_within_species(opened)


def within_weights(opened: OpenRun) -> str:
    """The SHA-256 that the file must name."""
    return str(opened.encoder_facts()["weights"])
