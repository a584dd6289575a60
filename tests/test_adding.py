"""Adding a thing takes the places that CONTRIBUTING.md names, and no other: each is added here once."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
import torch
from torch import Tensor, nn

from conspecific import losses
from conspecific.cli.commands import COMMANDS, Command
from conspecific.cli.main import main
from conspecific.config import location
from conspecific.config.compose import compose_config, load_typed, save_yaml, typed
from conspecific.config.recipe import RecipeConfig
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build
from conspecific.data import sources
from conspecific.data.check import check_manifest
from conspecific.data.corrections import load_manifest
from conspecific.data.manifest import Manifest
from conspecific.data.splits import split
from conspecific.losses import MetricLoss


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the configurations that the program uses instead of its own."""
    folder = shutil.copytree(location.config_dir(), tmp_path / "conspecific" / "configs")
    monkeypatch.setattr(location, "__file__", str(tmp_path / "conspecific" / "config" / "location.py"))
    assert location.config_dir() == folder
    return folder


EMBEDDINGS, LABELS = torch.eye(6)[:, :4] + 0.1, torch.tensor([0, 0, 1, 1, 2, 2])


def loss_of(name: str, *overrides: str) -> MetricLoss:
    config = typed(compose_config("train", [f"loss={name}", *overrides]), TrainConfig)
    built: MetricLoss = build(config.loss, "loss", num_classes=3, embedding_size=4)
    return built


def test_a_loss_of_pytorch_metric_learning_is_a_yaml(configs: Path) -> None:
    (configs / "loss" / "margin.yaml").write_text(
        "# Margin loss (Wu et al. 2017).\n"
        "defaults: [{miner: null}]\n"
        "_target_: conspecific.losses.MetricLoss\n"
        "loss: {_target_: pytorch_metric_learning.losses.MarginLoss, _partial_: true, margin: 0.2}\n"
    )
    assert "margin" in location.options("loss")
    loss = loss_of("margin", "loss.loss.margin=0.3", "loss/miner=batch_hard")
    assert loss.loss.margin == 0.3
    assert loss(EMBEDDINGS, LABELS).item() > 0


def test_a_loss_of_ones_own_is_a_class_and_a_yaml(configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Spread(nn.Module):
        """Mean squared distance of embeddings [B, D] from the mean of their class, times `weight`."""

        def __init__(self, weight: float = 1.0) -> None:
            super().__init__()
            self.weight = weight

        def forward(self, embeddings: Tensor, labels: Tensor, indices_tuple: object = None) -> Tensor:
            parts = [embeddings[labels == label] for label in labels.unique()]
            return (
                self.weight
                * torch.stack([(part - part.mean(dim=0)).square().sum(dim=1).mean() for part in parts]).mean()
            )

    Spread.__module__ = losses.__name__  # as if it were exported by losses/__init__.py
    Spread.__qualname__ = "Spread"
    monkeypatch.setattr(losses, "Spread", Spread, raising=False)
    (configs / "loss" / "spread.yaml").write_text(
        "# Spread within a class.\n"
        "defaults: [{miner: null}]\n"
        "_target_: conspecific.losses.MetricLoss\n"
        "loss: {_target_: conspecific.losses.Spread, _partial_: true, weight: 1.0}\n"
    )
    once, twice = loss_of("spread"), loss_of("spread", "loss.loss.weight=2")
    assert twice(EMBEDDINGS, LABELS).item() == pytest.approx(2 * once(EMBEDDINGS, LABELS).item())
    assert once(EMBEDDINGS, LABELS).item() == pytest.approx(1 / 3)  # 0.5, 0.5 and 0


def test_a_key_of_a_way_to_train_is_a_field_and_a_line_of_yaml(configs: Path, tmp_path: Path) -> None:
    """Then it can be set, is checked and saved, and keeps its neutral value in every experiment."""

    @dataclass
    class Recipe(RecipeConfig):
        mixup: float = 0.0

    @dataclass
    class Config(TrainConfig):
        recipe: Recipe = field(default_factory=Recipe)

    with (configs / "recipe" / "neutral.yaml").open("a") as file:
        file.write("mixup: 0.0\n")
    config = typed(compose_config("train", ["recipe.mixup=0.2"]), Config)
    assert config.recipe.mixup == 0.2
    save_yaml(config, tmp_path / "config.yaml")
    assert load_typed(tmp_path / "config.yaml", Config).recipe == config.recipe
    assert typed(compose_config("train", ["protocol=unseen"]), Config).recipe.mixup == 0.0


def test_a_sub_command_is_a_module_an_entry_and_a_yaml(
    configs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @dataclass
    class CountConfig:
        """Keys of `count`. run: a run directory."""

        run: str | None = None
        step: int = 1

    module = ModuleType("conspecific.cli.count")
    module.run = lambda config: print(f"counting {config.run} by {config.step}")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    examples = (("count RUN step=2", "every second image"),)
    command = Command("count", "count images", "RUN [KEY=VALUE ...]", examples, CountConfig, places=("run",), groups=())
    monkeypatch.setitem(COMMANDS, "count", command)
    (configs / "count.yaml").write_text("run: null\nstep: 1\n")

    assert main(["count", "somewhere", "step=2"]) == 0
    assert capsys.readouterr().out == "counting somewhere by 2\n"
    assert main(["count", "--help"]) == 0
    assert "every second image" in capsys.readouterr().out
    assert main(["count", "somewhere", "stop=2"]) == 2
    assert "step" in capsys.readouterr().err


def test_a_data_source_is_a_function_and_a_yaml(
    configs: Path, make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_list(root: str, file: str = "list.txt") -> Manifest:
        """Read a text file with a line `PATH SPECIES` for each image."""
        rows = [line.split() for line in (Path(root) / file).read_text().splitlines()]
        return Manifest.from_table(Path(root), pl.DataFrame(rows, schema=["path", "label"], orient="row"))

    from_list.__module__ = sources.__name__  # as if it were written in data/sources.py
    monkeypatch.setattr(sources, "from_list", from_list, raising=False)
    (configs / "data" / "list.yaml").write_text("_target_: conspecific.data.sources.from_list\nroot: ???\n")

    root = make_folder({"robin": 20, "wren": 20})
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    (root / "list.txt").write_text("".join(f"{name} {name.partition('/')[0]}\n" for name in names))
    assert "list" in location.options("data")
    config = typed(compose_config("train", ["data=list", f"data.root={root}"]), TrainConfig)
    manifest = load_manifest(config.data)
    assert list(manifest.species) == ["robin", "wren"] and len(manifest) == 40
    assert check_manifest(manifest, root.parent / "cache")[1]
    assert len(split(manifest, "seen").test.query) == 20
