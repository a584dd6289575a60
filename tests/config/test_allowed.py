"""A `_target_` names only what may stand at its place; everything else is refused before it is imported."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.optim import SGD

from conspecific.config.allowed import locate
from conspecific.config.compose import compose_config, load_typed, typed
from conspecific.config.location import all_groups, config_dir, options
from conspecific.config.overrides import overrides_of_run
from conspecific.config.schema import TrainConfig
from conspecific.config.targets import build, check_names, check_targets
from conspecific.errors import ConfigError

OWN = """
from os import system
import torch
from pytorch_metric_learning.losses import ContrastiveLoss

class OwnLoss(ContrastiveLoss):
    pass

def own_images(root):
    return root
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of the user's own, not imported yet."""
    (tmp_path / "own_parts_of_a_user.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_parts_of_a_user", raising=False)
    return "own_parts_of_a_user"


# --- what is refused


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("model.pooling", "distutils.spawn.spawn"),
        ("model", "distutils.spawn.spawn"),
        ("model", "torch.load"),
        ("model", "torch.hub.load"),
        ("model", "conspecific.models.weights.torch.load"),
        ("model", "conspecific.models.flatten_baseline"),
        ("model.head", "conspecific.models.build_embedder"),
        ("data", "conspecific.data.sources.Path"),
        ("data", "conspecific.data.sources.os.system"),
        ("data", "conspecific.data.sources._images"),
        ("data", "conspecific.models.build_embedder"),
        ("data.root", "conspecific.data.sources.from_folder"),
        ("loss", "pytorch_metric_learning.losses.ArcFaceLoss"),
        ("loss.loss", "pytorch_metric_learning.losses.base_metric_loss_function.torch"),
        ("loss.loss", "pytorch_metric_learning.utils.common_functions.torch.load"),
        ("loss.loss", "conspecific.losses.nn"),
        ("loss.loss", "conspecific.losses.metric_loss"),
        ("loss.loss", "conspecific.losses.__doc__"),
        ("optimizer.optimizer", "torch.optim.lr_scheduler"),
        ("optimizer.optimizer", "torch.optim.lr_scheduler.LambdaLR"),
        ("callbacks.x", "pytorch_lightning.callbacks.model_checkpoint.os.system"),
        ("callbacks.x", "pytorch_lightning.callbacks.model_checkpoint"),
        ("callbacks", "pytorch_lightning.callbacks.ModelCheckpoint"),
        ("logger.x", "conspecific.training.loggers.FailSafeLogger"),
        ("trainer.plugins", "pytorch_lightning.Trainer"),
        ("trainer", "pytorch_lightning.trainer.trainer.os.system"),
        ("split", "conspecific.losses.MetricLoss"),
        ("", "conspecific.losses.MetricLoss"),
        ("loss", "eval"),
        ("loss", ""),
        ("loss", None),
        ("loss", {"_target_": "conspecific.losses.MetricLoss"}),
        ("loss", ["conspecific.losses.MetricLoss"]),
    ],
)
def test_a_target_outside_its_place_is_refused(key: str, target: Any) -> None:
    with pytest.raises(ConfigError, match=r"^[\w.]*\._target_"):
        build({"_target_": target}, key)


def test_a_refused_target_is_not_imported(own_module: str) -> None:
    for check in (check_names, check_targets, build):
        with pytest.raises(ConfigError, match=f"is not allowed. model can be: .* add allow=.{own_module}."):
            check({"_target_": f"{own_module}.OwnLoss"}, "model")
    assert own_module not in sys.modules


def test_nothing_is_imported_where_one_of_several_names_is_refused(
    own_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"loss": {"_target_": f"{own_module}.OwnLoss"}, "model": {"x": [{"y": {"_target_": "os.system"}}]}}
    with pytest.raises(ConfigError, match=r"^model.x\[0\].y._target_=os.system is not allowed"):
        check_targets(parts, allow=[own_module])
    assert own_module not in sys.modules


ATTACK = {"_target_": "os.system", "command": "touch attacked"}


@pytest.mark.parametrize(
    "node",
    [
        {"pooling": ATTACK},
        {"pooling": {**ATTACK, "_partial_": True}},
        {"pooling": [[ATTACK]]},
        {"pooling": {"deep": [{"er": ATTACK}]}},
        {"_args_": [ATTACK]},
        {"_args_": ["resnet18"]},
        {"_recursive_": False, "pooling": ATTACK},
        {"_convert_": "none", "pooling": "avg"},
        {"pooling": {"_target_": "conspecific.models.build_embedder", "weights": "none"}},
    ],
    ids=str,
)
def test_nested_nodes_and_hydras_marks_are_refused(node: dict[str, Any], tmp_path: Path) -> None:
    embedder = {"_target_": "conspecific.models.build_embedder", "weights": "none", **node}
    for check in (check_targets, build):
        with pytest.raises(ConfigError, match=r"is not allowed|cannot be set: give every argument by its name"):
            check(embedder, "model")
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    "text",
    ["${oc.create:{_target_:os.system,command:ls}}", r"\${oc.create:{_target_:os.system}}", r"a\\${oc.env:HOME}"],
)
def test_interpolations_in_a_record_are_text(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": {"pooling": text}, "allow": ["os"]}))
    config = load_typed(tmp_path / "config.yaml", TrainConfig)
    assert config.model["pooling"] == text
    assert config.allow == [], "a record does not allow anything"


@pytest.mark.parametrize(
    "text",
    [
        "hydra.searchpath=[file:///tmp]",
        "+hydra.callbacks.x._target_=os.system",
        "hydra/launcher=basic",
        "+experiment@hydra.callbacks=mine",
        "experiment=../../mine",
        "experiment=/mine",
        "experiment=${oc.decode:x}",
        "logger=[csv,../mine]",
    ],
)
def test_the_overrides_of_a_run_cannot_name_code_or_other_configurations(text: str, tmp_path: Path) -> None:
    (tmp_path / "overrides.yaml").write_text(yaml.safe_dump(["seed=1", text]))
    with pytest.raises(ConfigError, match="which a run that is resumed may not set"):
        overrides_of_run(tmp_path / "overrides.yaml")


def test_the_overrides_of_a_run_lose_what_they_allow(tmp_path: Path) -> None:
    kept = ["experiment=sweep/arcface", "loss/miner=semi_hard", "~logger", "data.root='My Birds'", "+trainer.x=[1,2]"]
    (tmp_path / "overrides.yaml").write_text(yaml.safe_dump([*kept, "allow=[os]", "++allow.0=os", "resume=here"]))
    assert overrides_of_run(tmp_path / "overrides.yaml") == kept


# --- what is allowed


def test_every_target_of_every_configuration_is_allowed() -> None:
    seen = set()
    for group in all_groups():
        for option in options(group):
            node = yaml.safe_load((config_dir() / group / f"{option}.yaml").read_text())
            rooted = "@package _global_" in (config_dir() / group / f"{option}.yaml").read_text()
            place = "" if rooted else group.replace("/", ".")
            check_names(node, place)
            seen |= {group for key in str(node).split("'") if key == "_target_"}
    assert {"data", "model", "teacher", "loss", "loss/miner", "optimizer", "trainer", "hydra/sweeper"} <= seen


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("loss.loss.distance", "pytorch_metric_learning.distances.CosineSimilarity"),
        ("loss.loss.reducer", "pytorch_metric_learning.reducers.ThresholdReducer"),
        ("loss.loss.losses[1].weight_regularizer", "pytorch_metric_learning.regularizers.LpRegularizer"),
        ("callbacks.average", "pytorch_lightning.callbacks.StochasticWeightAveraging"),
        ("data", "conspecific.data.downloads.cub200"),
    ],
)
def test_the_catalogues_can_be_named(key: str, target: str) -> None:
    assert locate(target, key).__name__ == target.rpartition(".")[2]


def test_a_partial_node_makes_a_factory() -> None:
    made = build({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5}, "optimizer.optimizer")
    assert isinstance(made, partial)
    assert (made.func, made.keywords) == (SGD, {"lr": 0.5})


# --- classes of the user's own


def test_a_class_of_ones_own_needs_to_be_allowed(own_module: str) -> None:
    given = ["loss=contrastive", f"loss.loss._target_={own_module}.OwnLoss"]
    with pytest.raises(ConfigError, match=f"is not allowed.*add allow=.{own_module}.$"):
        typed(compose_config("train", given), TrainConfig)
    config = typed(compose_config("train", [*given, f"allow=[{own_module}]"]), TrainConfig)
    loss = build(config.loss, "loss", config.allow, num_classes=3, embedding_size=4)
    assert type(loss.loss).__name__ == "OwnLoss"


@pytest.mark.parametrize("name", ["system", "torch", "torch.load", "ContrastiveLoss", "_private", "Missing"])
def test_what_a_module_of_ones_own_only_imports_is_refused(name: str, own_module: str) -> None:
    with pytest.raises(ConfigError, match=rf"^loss._target_={own_module}\.{name} "):
        build({"_target_": f"{own_module}.{name}"}, "loss", [own_module])
