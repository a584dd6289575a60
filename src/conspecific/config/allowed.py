"""What a `_target_` may name. A configuration can come from elsewhere: a name that is not listed is never imported."""

import inspect
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from conspecific.errors import ConfigError

EMBEDDERS = ("conspecific.models.build_embedder",)
PARTS_OF_LOSSES = ("losses", "miners", "distances", "reducers", "regularizers")

# A group -> what it may be; GROUP.* -> what may be anywhere below it. A name ending in .* is every public class and
# function that this module or package defines and offers.
ALLOWED: dict[str, tuple[str, ...]] = {
    "data": tuple(f"conspecific.data.{module}.*" for module in ("sources", "detections", "downloads")),
    "model": EMBEDDERS,
    "teacher": EMBEDDERS,
    "loss": ("conspecific.losses.*",),
    "loss.*": ("conspecific.losses.*", *(f"pytorch_metric_learning.{part}.*" for part in PARTS_OF_LOSSES)),
    "optimizer": ("conspecific.training.optimizers.GroupedOptimizer",),
    "optimizer.*": ("torch.optim.*",),
    "trainer": ("pytorch_lightning.Trainer",),
    "callbacks.*": ("pytorch_lightning.callbacks.*", "conspecific.training.pruning.Pruning"),
    "logger.*": tuple(f"conspecific.training.loggers.{name}_logger" for name in ("csv", "tensorboard", "wandb")),
    "hydra.*": (
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "hydra_plugins.conspecific_sweeper.OptunaSweeper",
        "optuna.samplers.*",
        "optuna.pruners.*",
    ),
}


def check_name(target: Any, key: str, allow: Sequence[str] = ()) -> None:
    """Check a `_target_` against what may stand at its place. Imports nothing.

    key: the place, such as `loss.miner`. allow: modules of the user's own; whatever they define may stand anywhere.
    Raises ConfigError naming what may stand there, and how to allow something else.
    """
    if not isinstance(target, str):
        raise ConfigError(f"{key}._target_ must be the name of a class or function; found {target}")
    home, _, name = target.rpartition(".")
    if _is_public(name) and any(home == module or home.startswith(f"{module}.") for module in allow):
        return
    group, _, below = re.sub(r"\[\d+\]", ".*", key).partition(".")
    listed = ALLOWED.get(f"{group}.*" if below else group, ())
    if target in listed or (_is_public(name) and f"{home}.*" in listed):
        return
    known = f"{key} can be: {', '.join(listed)}" if listed else f"{key} takes no _target_"
    raise ConfigError(
        f"{key}._target_={target} is not allowed. {known}. "
        f"If it is a class of your own, or one that you trust, add allow=[{home or target}]"
    )


def locate(target: str, key: str, allow: Sequence[str] = ()) -> Callable[..., Any]:
    """Import the class or function that a `_target_` names, once `check_name` has passed it.

    It must be defined in the module it is named from, or below it: `package.module.torch.load` and things that a module
    has imported from elsewhere are not found. Raises ConfigError.
    """
    check_name(target, key, allow)
    home, _, name = target.rpartition(".")
    try:
        found: Callable[..., Any] = getattr(import_module(home), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}._target_={target} cannot be imported: {error}") from error
    defined = f"{getattr(found, '__module__', '')}.".startswith(f"{home}.")
    if not (inspect.isclass(found) or inspect.isfunction(found)) or not defined or found.__name__ != name:
        raise ConfigError(f"{key}._target_={target} is not a class or function that {home} defines")
    return found


def _is_public(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) is not None
