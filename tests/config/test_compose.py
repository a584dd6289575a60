"""Every configuration composes and builds; every mistake in one is told by name."""

import inspect
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from conspecific.config.choices import OF_EMBEDDERS
from conspecific.config.compose import compose_config, typed
from conspecific.config.location import all_groups, config_dir, groups, options
from conspecific.config.renamed import RENAMED
from conspecific.config.schema import (
    EmbedConfig,
    EvaluateConfig,
    OtherSplitConfig,
    SearchConfig,
    SoupConfig,
    TrainConfig,
)
from conspecific.config.signatures import written_arguments
from conspecific.config.targets import build, build_each
from conspecific.errors import ConfigError, RunError
from conspecific.models.heads import create_head
from conspecific.models.pooling import POOLINGS
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import read_config, start_record

OPTIONS = [(group, option) for group in all_groups() for option in options(group)]
NEEDED = {  # what an option cannot do without
    ("data", "folder"): ["data.root=images"],
    ("data", "manifest"): ["data.path=images.csv"],
    ("data", "megadetector"): ["data.path=results.json"],
    ("data", "coco"): ["data.path=annotations.json"],
    ("data", "images"): ["data.root=images"],
    ("model", "timm"): ["model.backbone=resnet18"],
    ("teacher", "timm"): ["teacher.backbone=resnet50"],
}
USES: list[tuple[str, type[Any]]] = [("evaluate", EvaluateConfig), ("embed", EmbedConfig), ("search", SearchConfig)]


def train_config(*overrides: str) -> TrainConfig:
    return typed(compose_config("train", overrides), TrainConfig)


def message(*overrides: str, name: str = "train", schema: type[Any] = TrainConfig) -> str:
    """The error that these overrides give."""
    with pytest.raises(ConfigError) as caught:
        typed(compose_config(name, overrides), schema)
    return str(caught.value)


# --- what is there works


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_composes_and_builds(experiment: str, tmp_path: Path) -> None:
    config = train_config(f"experiment={experiment}", "model.weights=none", f"paths.run={tmp_path}")
    embedder = build(config.model, "model")
    loss = build(config.loss, "loss", num_classes=3, embedding_size=embedder.loss_dimensions(64))
    optimizer = build(config.optimizer, "optimizer").build(embedder, loss, epochs=2, steps_per_epoch=3)["optimizer"]
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert {id(parameter) for parameter in loss.parameters()} <= trained
    callbacks = list(build_each(config.callbacks, "callbacks").values())
    loggers = list(build_each(config.logger, "logger").values())
    trainer = build({**config.trainer, "precision": "32-true"}, "trainer", callbacks=callbacks, logger=loggers)
    assert trainer.max_epochs == config.trainer["max_epochs"]
    assert trainer.checkpoint_callback.monitor == f"val/{config.monitor}"


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_opens_with_its_command(experiment: str) -> None:
    text = (config_dir() / "experiment" / f"{experiment}.yaml").read_text()
    opening = [line for line in text.splitlines()[:10] if line.startswith("#")]
    commands = [f"conspecific train {many}experiment={experiment}" for many in ("", "-m ")]
    assert any(command in line for line in opening for command in commands)


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=[f"{group}={option}" for group, option in OPTIONS])
def test_every_option_of_every_group_composes(group: str, option: str) -> None:
    node: Any = vars(train_config(f"{group}={option}", *NEEDED.get((group, option), [])))
    if group.startswith("hydra/"):
        return  # Hydra's own; it takes it out before we see the rest
    if group not in ("experiment", "debug", "protocol"):  # those are written from the root
        for name in group.split("/"):
            node = node[name] if isinstance(node, dict) else getattr(node, name)
    written = OmegaConf.load(config_dir() / group / f"{option}.yaml")
    assert set(map(str, written.keys())) - {"defaults", "hydra"} <= set(node if isinstance(node, dict) else vars(node))


def test_the_groups_are_those_of_the_plan() -> None:
    planned = {"data", "model", "loss", "optimizer", "trainer", "logger", "callbacks", "experiment", "debug", "paths"}
    assert planned <= set(groups())


@pytest.mark.parametrize(("name", "schema"), USES, ids=[name for name, _ in USES])
def test_the_configurations_of_the_other_commands_hold_what_their_schema_says(name: str, schema: type[Any]) -> None:
    config = compose_config(name)
    assert {"data", "model", *map(str, config)} == set(vars(typed(config, schema)))  # null groups leave no key


def test_the_configuration_of_soups_holds_what_its_schema_says() -> None:
    config = compose_config("soup")
    assert set(map(str, config)) == set(vars(typed(config, SoupConfig)))


def test_a_saved_configuration_loads_to_an_equal_one(tmp_path: Path) -> None:
    config = train_config(
        "loss=triplet", "seed=7", "loader.crop_scale=[0.5,0.9]", "data=folder", "data.root=my 'birds'"
    )
    run = RunDirectory(tmp_path)
    start_record(run, config, [], "fingerprint")
    assert read_config(run) == config
    assert read_config(run) != replace(config, seed=8)


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run directory: it has no config"):
        read_config(RunDirectory(tmp_path))


# --- misspelt keys, at every level


@pytest.mark.parametrize(
    ("given", "key", "neighbour"),
    [
        ("protocoll=seen", "protocoll", "protocol"),
        ("losss=triplet", "losss", "loss"),
        ("loss/minr=semi_hard", "loss/minr", "loss/miner"),
        ("split.test_shar=0.3", "split.test_shar", "test_share"),
        ("loader.classes_per_bath=3", "loader.classes_per_bath", "classes_per_batch"),
        ("paths.cash=here", "paths.cash", "cache"),
        ("trainer.max_epoch=3", "trainer.max_epoch", "max_epochs"),
        ("model.poling=avg", "model.poling", "pooling"),
        ("loss.loss.margn=3", "loss.loss.margn", "margin"),
        ("callbacks.checkpoint.monitr=x", "callbacks.checkpoint.monitr", "monitor"),
        ("+protocoll=seen", "protocoll", "protocol"),
        ("+split.test_shar=0.3", "split.test_shar", "test_share"),
        ("+trainer.max_epoch=1", "trainer.max_epoch", "max_epochs"),
        ("+loss.loss.margn=3", "loss.loss.margn", "margin"),
    ],
)
def test_a_misspelt_key_is_named_with_its_neighbour(given: str, key: str, neighbour: str) -> None:
    told = message(given)
    assert told.startswith(f"{key} is not ")
    assert "Did you mean" in told
    assert neighbour in told.partition("Did you mean")[2]
    assert "\n" not in told


@pytest.mark.parametrize(
    ("lines", "key", "neighbour"),
    [
        ("protocoll: unseen", "protocoll", "protocol"),
        ("split:\n  test_shar: 0.3", "split.test_shar", "test_share"),
        ("trainer:\n  max_epoch: 3", "trainer.max_epoch", "max_epochs"),
        ("model:\n  poling: avg", "model.poling", "pooling"),
        ("loss:\n  loss:\n    margn: 3", "loss.loss.margn", "margin"),
    ],
)
def test_a_misspelt_key_inside_an_experiment_is_named_too(lines: str, key: str, neighbour: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{lines}\n")
    told = message(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert told.startswith(f"{key} is not ")
    assert neighbour in told.partition("Did you mean")[2]


@pytest.mark.parametrize(("name", "schema"), USES, ids=[name for name, _ in USES])
def test_misspelt_keys_of_the_other_commands_are_named(name: str, schema: type[Any]) -> None:
    assert message("outptu=x", name=name, schema=schema) == (
        "outptu is not a key of this configuration. Did you mean output?"
    )
    assert message("+wieghts=x", name=name, schema=schema).startswith(
        "wieghts is not a key of this configuration. Did you mean weights"
    )


def test_two_misspelt_keys_do_not_hide_the_first() -> None:
    assert message("protocoll=seen", "trainr.max_epochs=3").startswith("protocoll is not a key")


def test_a_key_that_belongs_to_another_option_names_it() -> None:
    assert message("data.path=birds.csv").endswith(
        "is not a key of this configuration. It belongs to data=coco or data=manifest or data=megadetector."
    )
    told = message("data.root=birds")
    assert told.partition(". It belongs to ")[2].endswith(".")
    assert {"data=folder", "data=images"} <= set(told.rstrip(".").split())
    assert "data=butterflies" not in told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["data=folder", "data.rot=birds"], "data.rot is not a key of this configuration. Did you mean data.root?"),
        (["data.rot=birds"], "data.rot is not a key of this configuration. Did you mean data.root? It belongs to "),
        (["max_epochs=3"], "max_epochs is not a key of this configuration. Did you mean trainer.max_epochs?"),
        (["epochs=3"], "epochs is trainer.max_epochs here"),
        (["lr=0.1"], "lr is optimizer.backbone_lr here"),
        (["loss.margin=3"], "loss.margin is loss.loss.margin here"),
        (["recipe.tuned_shares=[0.5]"], "recipe.tuned_shares is now recipe.wise_ft_alphas"),
        (["+recipe.rewhiten=true"], "recipe.rewhiten is now recipe.refit_whitening"),
        (["data=pictures"], "data=pictures is now data=images"),
        (["data=folder", "data.root=[a,b]"], "data.root=['a', 'b'] is of another type than conspecific.data.sources."),
    ],
    ids=" ".join,
)
def test_a_key_of_another_name_or_place_is_told_where_it_is(given: list[str], told: str) -> None:
    assert message(*given).startswith(told)


def test_the_new_name_of_every_renamed_key_exists() -> None:
    configs = [compose_config("train"), compose_config("train", ["data=images", "data.root=x"])]
    known = {
        key
        for config in configs
        for key in (*config, *(f"{group}.{key}" for group in config for key in keys(config[group])))
    }
    known |= set(compose_config("evaluate")) | set(compose_config("search"))
    assert {new for old, new in RENAMED.items() if old != "data.pictures"} <= known
    assert not RENAMED.keys() & known


def keys(node: Any) -> list[str]:
    return [str(key) for key in node] if OmegaConf.is_dict(node) else []


def test_the_names_of_poolings_are_those_that_can_be_built() -> None:
    assert set(POOLINGS) == set(OF_EMBEDDERS["pooling"])
    for name in OF_EMBEDDERS["head"]:
        create_head(name, channels=8)


def test_an_argument_that_is_not_in_the_yaml_is_offered_with_a_plus() -> None:
    assert message("trainer.limit_train_batches=2") == (
        "trainer.limit_train_batches is not set in this configuration, but can be: +trainer.limit_train_batches=VALUE"
    )
    assert train_config("+trainer.limit_train_batches=2").trainer["limit_train_batches"] == 2


def test_evaluate_changes_one_key_of_the_split_and_leaves_the_others() -> None:
    changed = typed(compose_config("evaluate", ["split.test_share=0.3"]), EvaluateConfig).split
    assert changed == OtherSplitConfig(test_share=0.3)


def test_nothing_can_be_set_below_a_value() -> None:
    assert message("split.seed.x=1").endswith("split.seed.x cannot be set. split.seed holds no keys.")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("callbacks.checkpoint.foo=3", "Known here: callbacks.checkpoint.auto_insert_metric_name, "),
        ("loss.loss.foo=3", "Known here: loss.loss.margin, loss.loss.scale."),
        ("model.foo=1", "Known here: model.backbone, model.dimensions, "),
        ("optimizer.optimizer.foo=1", "Known here: optimizer.optimizer.amsgrad, optimizer.optimizer.betas, "),
    ],
)
def test_a_key_that_is_near_none_lists_those_of_its_place(given: str, told: str) -> None:
    assert message(given).startswith(f"{given.partition('=')[0]} is not a key of this configuration. {told}")


def test_arguments_of_every_target_are_read_without_importing_it() -> None:
    text = "".join(path.read_text() for path in sorted(config_dir().rglob("*.yaml")))
    targets = set(re.findall(r"_target_: (\S+)", text))
    read = {target: written_arguments(target) for target in targets if not target.startswith("hydra")}
    assert len(read) > 40
    for target, names in read.items():
        module, _, name = target.rpartition(".")
        built = getattr(import_module(module), name)
        maker = built.__init__ if inspect.isclass(built) else built
        assert (
            names is not None and set(inspect.signature(maker).parameters) - {"self", "args", "kwargs"} <= names.keys()
        ), target


# --- options and values that do not fit


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("loss=triplex", "loss=triplex does not exist. Did you mean triplet or soft_triple?"),
        ("loss=zzz", "loss=zzz does not exist. Known here: arcface, circle, contrastive, "),
        ("loss/miner=soft", "loss/miner=soft does not exist. Known here: angular, batch_easy_hard, "),
        ("experiment=null", "experiment=null: a group takes the name of one of its options; ~experiment leaves it out"),
        ("+loss=triplet", "loss is set already: write loss=NAME, once and without a plus"),
        ("seed=1,2", "seed=1,2 is several values: add -m to run each in turn, or quote it as one: \"seed='1,2'\""),
        ("triplet", "triplet is not KEY=VALUE"),
        ("name=(a", "name=(a cannot be read. Put the value in quotes, and the whole for the shell: \"name='(a'\""),
        ("leaks=maybe", "leaks=maybe is unknown. Known here: drop, error, report."),
        ("monitor=map", "monitor=map is unknown. Did you mean map@r?"),
        ("model.pooling=gme", "model.pooling=gme is unknown. Did you mean gem?"),
        ("model.head=line", "model.head=line is unknown. Did you mean linear?"),
        ("model.embedding_layer=heads", "model.embedding_layer=heads is unknown. Did you mean head?"),
        ("seed=abc", "seed: Value 'abc' of type 'str' could not be converted to Integer"),
        (
            "split=3",
            "split=3: split has keys of its own: seed, test_share, val_share, gallery_images, query_images",
        ),
        ("trainer.max_epochs=ten", "trainer.max_epochs=ten is of another type than pytorch_lightning.Trainer takes"),
        (
            "data.species=many",
            "data.species=many is of another type than conspecific.data.sources.butterflies takes: int",
        ),
        ("loader.crop_scale=[0.3]", "loader.crop_scale must be two shares, 0 < from <= to <= 1; found [0.3]"),
        ("loader.image_size=8", "loader.image_size must be 32 pixels or more; found 8"),
        ("loader.jitter=-1", "loader.jitter must be 0 or more; found -1"),
        ("seed=-1", "seed must be from 0 to 4294967295; found -1"),
        ("seed=4294967296", "seed must be from 0 to 4294967295; found 4294967296"),
        ("loader.workers=-1", "loader.workers must be null, 0 or more; found -1"),
        ("recipe.head_epochs=-1", "recipe.head_epochs must be 0 or more; found -1"),
        ("recipe.cached_augmentations=-1", "recipe.cached_augmentations must be 0 or more; found -1"),
        ("recipe.distillation=-0.5", "recipe.distillation must be 0 or more; found -0.5"),
        ("recipe.ema=1", "recipe.ema is a share, from 0 to below 1; found 1.0"),
        ("recipe.ema=-0.1", "recipe.ema is a share, from 0 to below 1; found -0.1"),
        ("recipe.hard_negatives=1.0", "recipe.hard_negatives is a share, from 0 to below 1; found 1.0"),
        ("recipe.initial_size=16", "recipe.initial_size must be 32 pixels or more; found 16"),
        ("recipe.wise_ft_alphas=[0.5,1]", "recipe.wise_ft_alphas must be between 0 and 1; found [0.5, 1.0]"),
        ("recipe.wise_ft_alphas=[0]", "recipe.wise_ft_alphas must be between 0 and 1; found [0.0]"),
        ("recipe.matryoshka=[128,64]", "recipe.matryoshka must rise from 1 or more, as [64,128,256]; found [128, 64]"),
        ("recipe.matryoshka=[64,64]", "recipe.matryoshka must rise from 1 or more, as [64,128,256]; found [64, 64]"),
        ("recipe.matryoshka=[0,64]", "recipe.matryoshka must rise from 1 or more, as [64,128,256]; found [0, 64]"),
        ("recipe.emma=0.9", "recipe.emma is not a key of this configuration. Did you mean recipe.ema?"),
        ("teacher=timm", "teacher.backbone must be given, for example teacher.backbone=VALUE"),
        ("data=folder", "data.root must be given, for example data.root=VALUE"),
        ("model=timm", "model.backbone must be given, for example model.backbone=VALUE"),
        (
            "loss._target_=nowhere.Loss",
            "loss._target_=nowhere.Loss is not allowed. loss can be: conspecific.losses.*. If ",
        ),
        ("loss._target_=conspecific.losses.Lost", "loss._target_=conspecific.losses.Lost cannot be imported: module"),
        (
            "loss._target_=conspecific.__version__",
            "loss._target_=conspecific.__version__ is not allowed. loss can be: ",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_told_in_a_line(given: str, told: str) -> None:
    found = message(given)
    assert found.startswith(told)
    assert "\n" not in found


@pytest.mark.parametrize(("name", "schema"), USES)
@pytest.mark.parametrize(("key", "value"), [("image_size", -5), ("image_size", 0), ("image_size", 8), ("workers", -1)])
def test_a_size_that_no_image_can_have_is_refused(name: str, schema: type[Any], key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"^{key} must be null, .* or more; found {value}$"):
        typed(compose_config(name, [f"{key}={value}"]), schema)


# --- places with difficult names


@pytest.mark.parametrize(
    "place",
    [
        "2024",
        "true",
        "1e3",
        "/home/My Images",
        "birds (2024)",
        "it's",
        "a=b",
        "back\\slash\\",
        "[x]",
        "{y}",
        "ünï/ç",
        "plain/x.csv",
    ],
)
def test_a_place_is_taken_to_the_letter(place: str) -> None:
    config = train_config("data=folder", f"data.root={place}", f"paths.cache={place}")
    assert config.data["root"] == config.paths.cache == str(Path(place).absolute())


def test_a_place_that_is_quoted_for_hydra_already_stays_as_it_is() -> None:
    assert train_config("data=folder", "data.root='my birds'").data["root"] == str(Path("my birds").absolute())


def test_a_comma_means_several_places_unless_the_place_exists(tmp_path: Path) -> None:
    assert "add -m to run each in turn" in message("data=folder", "data.root=a,b")
    (tmp_path / "a,b").mkdir()
    assert train_config("data=folder", f"data.root={tmp_path}/a,b").data["root"] == f"{tmp_path}/a,b"


def test_without_a_home_directory_the_key_that_needs_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run under a number that no user has."""
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("CONSPECIFIC_CACHE", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    told = "paths.cache=~/.cache/conspecific names a home directory that there is not: give another path, or set HOME"
    with pytest.raises(ConfigError, match=re.escape(told)):
        typed(compose_config("train"), TrainConfig)
    typed(compose_config("train", ["paths.cache=/cache"]), TrainConfig)
