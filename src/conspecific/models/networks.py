"""Networks of timm by name, and what they need of the Hugging Face hub."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import partial
from typing import Any

import timm
from huggingface_hub import constants

from conspecific.config.choices import IN_FOLDER
from conspecific.errors import ConfigError
from conspecific.reachable import is_reachable

ON_HUB = "hf-hub:"  # timm's prefix of a network that the hub describes


def create_network(name: str, pretrained: bool) -> Any:
    """Return a timm network without classifier or pooling. pretrained: with the weights that timm has for the name.

    name: a model of timm, hf-hub:OWNER/NAME, or local-dir:FOLDER, a folder with the config.json of such a model.
    Raises ConfigError for an unknown name, and where the hub is needed and can neither be reached nor has its cache the
    files.
    """
    described = name.startswith((ON_HUB, IN_FOLDER))
    if not described and not timm.is_model(name):
        raise ConfigError(_unknown(name))
    create = partial(timm.create_model, name, pretrained=pretrained, num_classes=0, global_pool="")
    with _hub(name, pretrained):
        if described or timm.models.get_pretrained_cfg_value(name, "fixed_input_size"):
            with suppress(TypeError):  # not every such model can be told to interpolate its positions for other sizes
                return create(dynamic_img_size=True)
        return create()


def is_pooled_by_class_token(name: str) -> bool:
    """Whether timm pools the tokens of a network by taking the class token, as it was trained to be used."""
    with _hub(name, pretrained=False):
        return bool(getattr(timm.create_model(name, num_classes=0), "global_pool", None) == "token")


def _unknown(name: str) -> str:
    text = f"model.backbone={name} is not a timm model."
    if "/" in name:
        return f"{text} A model of the Hugging Face hub is {ON_HUB}OWNER/NAME, one in a folder {IN_FOLDER}FOLDER"
    return (
        f"{text} Some that are: {', '.join(get_close_matches(name, timm.list_models(), n=5)) or 'timm.list_models()'}"
    )


@contextmanager
def _hub(name: str, pretrained: bool) -> Iterator[None]:
    """Explain what fails while timm creates a network. Where the hub cannot be reached, only its cache is read."""
    reachable = not (name.startswith(ON_HUB) or (pretrained and not name.startswith(IN_FOLDER))) or hub_is_reachable()
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not reachable
    try:
        yield
    except KeyError as error:  # a config.json of another library
        raise ConfigError(f"model.backbone={name} is not described as a model of timm: no {error} was found") from error
    except (OSError, RuntimeError, AssertionError) as error:  # no hub, no weights there, or a network of another kind
        weights = " with model.weights=timm" if pretrained else ""
        if isinstance(error, OSError) and not reachable:
            cause = "HF_HUB_OFFLINE is set" if before else "it cannot be reached"
            raise ConfigError(f"model.backbone={name}{weights} {_needs_hub(name, cause)}") from error
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"model.backbone={name}{weights} cannot be made: {reason}") from error
    finally:
        constants.HF_HUB_OFFLINE = before


def hub_is_reachable() -> bool:
    """Whether the hub may be asked, and answers."""
    return not constants.HF_HUB_OFFLINE and is_reachable(constants.ENDPOINT)


def _needs_hub(name: str, cause: str) -> str:
    config = f", with model.backbone={IN_FOLDER}FOLDER for its config.json" if name.startswith(ON_HUB) else ""
    return (
        f"needs files of {constants.ENDPOINT}, but {cause} and its cache here does not have them. Give "
        f"model.weights=FILE, the weights as .safetensors or .pth{config}"
    )
