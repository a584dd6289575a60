"""Weights that are published for animals and plants: how they are known, what they were prepared for, their licence."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from conspecific.errors import ConfigError
from conspecific.models.birder_layouts import FAMILIES
from conspecific.models.layouts import MIEWID

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
MOST = 100  # characters of a name, a source or a licence that a file gives
KEYS = "origin", "origin_source", "origin_licence"  # in the metadata of a .safetensors file

Moments = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where pretrained weights come from. source: who published them. licence: as they state it."""

    name: str
    source: str
    licence: str

    def to_metadata(self) -> dict[str, str]:
        """Return what a file of weights says of where they come from."""
        return dict(zip(KEYS, (self.name, self.source, self.licence), strict=True))

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self | None:
        """Make it of what `to_metadata` returned, in one line each; None where a file does not say it."""
        return cls(*(" ".join(metadata[key].split())[:MOST] for key in KEYS)) if metadata.keys() >= set(KEYS) else None

    def __str__(self) -> str:
        return f"{self.name}, published by {self.source}, licence: {self.licence}"


@dataclass(frozen=True, slots=True)
class Published:
    """Weights that are known.

    called: a pattern of the names that their files and folders have on the hub. holds: names of tensors that no others
    have together, for each of their layouts. moments: mean and standard deviation that images are normalised by; None
    where the backbone's are right. backbone: a network of timm that has them.
    """

    origin: Origin
    called: str
    holds: tuple[frozenset[str], ...] = ()
    moments: Moments | None = None
    backbone: str = ""


PUBLISHED = (
    Published(Origin("MegaDescriptor", "BVRA", "CC-BY-NC-4.0"), r"mega-?descriptor"),
    Published(
        Origin("MiewID", "Conservation X Labs", "not stated: ask its authors"),
        r"miew-?id",
        (MIEWID,),
        IMAGENET,
        "efficientnetv2_rw_m",
    ),
    Published(
        Origin("BioCLIP 2", "Imageomics", "MIT"),
        r"bioclip[-_]?2(?![._-]?5)",
        moments=CLIP,
        backbone="vit_large_patch14_clip_224.openai",
    ),
    Published(
        Origin("Birder", "the Birder project", "Apache-2.0"),
        r"birder-project|bio-?dino",
        tuple(family.known_by for family in FAMILIES),
    ),
)


def published(backbone: str, weights: str = "", names: Collection[str] = ()) -> Published | None:
    """Return the published weights that a backbone, a file and the names of its tensors tell of; None for others.

    weights: a file, known by its name and those of the three folders above it.
    """
    given = set(names)
    if found := next((each for each in PUBLISHED if any(names <= given for names in each.holds)), None):
        return found
    text = " ".join([backbone, *Path(weights).parts[-4:]])
    return next((each for each in PUBLISHED if re.search(each.called, text, re.IGNORECASE)), None)


def birder_moments(others: Mapping[str, Any], file: Path) -> Moments:
    """Return the mean and standard deviation that a checkpoint of Birder says. Raises ConfigError where it does not."""
    try:
        mean, std = (tuple(map(float, others["rgb_stats"][key])) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{file} holds rgb_stats without a mean and std of numbers: {error!r}") from error
    if len(mean) != 3 or len(std) != 3:
        raise ConfigError(f"{file} holds rgb_stats of {len(mean)} and {len(std)} numbers, and not of three colours")
    return mean, std


def require_moments(backbone: str, own: Moments, wanted: Moments, told: str, use: str) -> None:
    """Raise ConfigError where a backbone normalises images in another way than weights were trained with.

    told: what the weights are. use: a backbone that normalises as they need it; empty where none is known.
    """
    if np.allclose(own, wanted, rtol=0, atol=1e-3):
        return
    better = f"model.backbone={use}" if use else "model.backbone=local-dir:FOLDER, with them in its config.json"
    raise ConfigError(
        f"{told} was trained on images normalised by mean {_text(wanted[0])} and std {_text(wanted[1])}, but "
        f"model.backbone={backbone} has {_text(own[0])} and {_text(own[1])}: set {better}"
    )


def _text(moment: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in moment) + ")"
