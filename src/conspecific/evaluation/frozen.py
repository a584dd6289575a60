"""Activations of images behind the frozen stages of a backbone: computed once, or found from an earlier run."""

from dataclasses import dataclass

import PIL

from conspecific.encoding import Encoder, Rows
from conspecific.encoding.machine import versions
from conspecific.files import cache_key

VERSION = 1  # raise it when a change of code changes how images are prepared for evaluation


@dataclass(frozen=True)
class FrozenEncoder:
    """The encoder of a backbone's frozen stages, and the hash of these stages."""

    encoder: Encoder
    stages: str


@dataclass(frozen=True)
class FrozenActivations:
    """The activations of a subset's images, what computed them, in which precision, and the hash of the stages."""

    rows: Rows
    encoder: str
    precision: str
    stages: str


def group_name(stages: str, image_size: int, backend: str, precision: str, *views: object) -> str:
    """Return the name of what `KeptActivations` holds of images prepared and encoded in one way.

    views: how training views are made; nothing for images as they are evaluated.
    """
    return cache_key(VERSION, stages, image_size, backend, precision, versions(), PIL.__version__, *views)
