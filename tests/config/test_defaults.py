"""One source of defaults: what Python takes and what YAML says are the same values."""

import inspect
from dataclasses import asdict
from typing import Any

import pytest
from omegaconf import OmegaConf

from conspecific.config.compose import compose_config, typed
from conspecific.config.location import config_dir, options
from conspecific.config.schema import (
    CompareConfig,
    DashboardConfig,
    EmbedConfig,
    EvaluateConfig,
    MergeConfig,
    PushConfig,
    RecipeConfig,
    SearchConfig,
    SoupConfig,
    TrainConfig,
)
from conspecific.models import build_embedder
from conspecific.training.optimizers import GroupedOptimizer

GROUPS = {"data", "model", "teacher", "loss", "optimizer", "trainer", "callbacks", "logger", "paths", "recipe"}


def train_config(*overrides: str) -> TrainConfig:
    return typed(compose_config("train", overrides), TrainConfig)


def written(option: str) -> dict[str, Any]:
    """An option as its YAML has it, without the options it is made from."""
    found = OmegaConf.to_container(OmegaConf.load(config_dir() / f"{option}.yaml"), resolve=False)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items() if key not in ("defaults", "_target_")}


def test_train_composes_to_the_defaults_of_the_schema() -> None:
    composed, defaults = asdict(train_config()), asdict(TrainConfig())
    assert {key: composed[key] for key in composed.keys() - GROUPS} == {
        key: defaults[key] for key in defaults.keys() - GROUPS
    }


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("evaluate", EvaluateConfig),
        ("embed", EmbedConfig),
        ("search", SearchConfig),
        ("compare", CompareConfig),
        ("dashboard", DashboardConfig),
        ("merge", MergeConfig),
        ("push", PushConfig),
        ("soup", SoupConfig),
    ],
)
def test_the_other_commands_compose_to_the_defaults_of_their_schema(name: str, schema: type[Any]) -> None:
    composed = asdict(typed(compose_config(name), schema))
    composed.pop("paths", None)  # taken from the environment
    assert composed == {key: value for key, value in asdict(schema()).items() if key != "paths"}


def test_the_neutral_recipe_is_the_default_of_the_schema() -> None:
    assert train_config("recipe=neutral").recipe == RecipeConfig()
    assert written("recipe/neutral") == asdict(RecipeConfig())


def test_an_embedder_built_in_python_is_that_of_the_command() -> None:
    parameters = inspect.signature(build_embedder).parameters.values()
    assert {parameter.name: parameter.default for parameter in parameters} == written("model/efficientnet_lite0")


def test_an_optimizer_built_in_python_is_that_of_the_command() -> None:
    composed = written("optimizer/adamw")
    assert composed.pop("optimizer") == {"_target_": "torch.optim.AdamW", "_partial_": True}
    assert {name: getattr(GroupedOptimizer(), name) for name in composed} == composed


def test_protocol_unseen_takes_its_recipe_and_an_experiment_may_replace_it() -> None:
    assert train_config("protocol=unseen").recipe == train_config("recipe=unseen").recipe
    assert train_config("protocol=unseen").recipe != train_config().recipe
    assert train_config("protocol=unseen", "recipe=neutral").recipe == RecipeConfig()
    published = train_config("experiment=cub200/proxy_anchor_resnet50")
    assert (published.protocol, published.recipe) == ("unseen", RecipeConfig())


def test_what_a_published_experiment_sets_is_not_undone_by_another_protocol() -> None:
    assert train_config("experiment=cub200/proxy_anchor_resnet50", "protocol=seen").recipe == RecipeConfig()


@pytest.mark.parametrize("experiment", options("experiment"))
def test_no_experiment_switches_off_keys_of_the_recipe_one_by_one(experiment: str) -> None:
    recipe = written(f"experiment/{experiment}").get("recipe", {})
    assert not [key for key, value in recipe.items() if value == asdict(RecipeConfig())[key]]
