"""The first lines of a run: what it found and what it will do, so that a wrong folder or key is seen at once."""

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from conspecific.config.recipe import PK
from conspecific.config.schema import LoaderConfig, TrainConfig
from conspecific.data.balanced_sampler import EXPONENTS, drawn_by_share
from conspecific.data.sampler import drawn_by_pk, expected_undrawn
from conspecific.evaluation import Evaluator
from conspecific.training.folds import FEW, everything
from conspecific.training.trainer import precision_of
from conspecific.types import IntArray

UNDRAWN = 0.01  # share of the training images
EQUALLY = "every species is drawn equally often"
WHY = {
    PK: EQUALLY,
    "class_balanced": EQUALLY,
    "square_root": "species are drawn in proportion to the square root of their images",
    "instance_balanced": "an epoch has a whole number of batches",
}


def print_header(config: TrainConfig, evaluator: Evaluator, console: Console) -> None:
    """Print images, species, split sizes, what was left out, network, device, encoder and run folder."""
    for line in header(config, evaluator):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def header(config: TrainConfig, evaluator: Evaluator) -> list[str]:
    """Return the lines of the header."""
    manifest, splits, model = evaluator.manifest, evaluator.splits, config.model
    stages = model.get("trainable_stages")
    trained = "all stages trained" if stages is None else f"last {stages} stages trained"
    head = "no head" if model.get("head") == "none" else f"{model.get('head')} head"
    size = f"evaluated at {config.loader.image_size} px, trained at {config.loader.train_size} px"
    found, *more = manifest.describe()
    lines = [
        found,
        f"Splits: {len(splits.train):,} training, {len(splits.val.ids):,} validation and {len(splits.test.ids):,} test "
        f"images (protocol {config.protocol}, split seed {config.split.seed})",
        *more,
        *_distractors(evaluator),
        *_apart(evaluator),
        *_unused(evaluator),
        *_undrawn(config, evaluator),
        *_test_share(config, evaluator),
        f"Network: {model['backbone']}, weights {model['weights']}, pooling {model.get('pooling')}, {head}, {trained}; "
        + size,
        f"Encoder: {_encoder(evaluator)}; trained in {precision_of(config)} on "
        f"{config.trainer.get('accelerator', 'auto')}",
        f"Run: {config.paths.run}",
    ]
    return lines


def _test_share(config: TrainConfig, evaluator: Evaluator) -> list[str]:
    """Where images are few, say what share of them the test takes, and how all of them are used in the end."""
    splits, share = evaluator.splits, config.split.test_share
    if len(everything(splits)) >= FEW or config.final or not config.trainer["max_epochs"]:
        return []
    kind = {"seen": "the images of each species", "unseen": "the species"}.get(splits.protocol)
    named = (evaluator.manifest.table["split"] == "test").any()
    taken = f"the test takes {share:.0%} of {kind} (split.test_share={share:g}); " if kind and not named else ""
    return [f"Few images: {taken}final=true also trains on all of them after the test, for use."]


def _undrawn(config: TrainConfig, evaluator: Evaluator) -> list[str]:
    """Say how many training images no batch is expected to hold, if they are a share to mention."""
    manifest, train, loader = evaluator.manifest, evaluator.splits.train, config.loader
    species, counts = np.unique(manifest.labels[train], return_counts=True)
    epochs = config.trainer["max_epochs"]
    undrawn = expected_undrawn(counts, _drawn(counts, loader), epochs)
    if not epochs or undrawn.sum() < UNDRAWN * len(train):
        return []
    most = int(undrawn.argmax())
    return [
        f"Sampling: about {undrawn.sum():,.0f} of {len(train):,} training images are never drawn in {epochs} epochs, "
        f"because {WHY[loader.sampling]}; {undrawn[most]:,.0f} of them are of the {counts[most]:,} of "
        f"{manifest.species[species[most]]}. More epochs draw more of them (trainer.max_epochs)."
    ]


def _drawn(counts: IntArray, loader: LoaderConfig) -> NDArray[np.float64]:
    """Return how many images of each species an epoch draws, [S]. counts: [S] training images of each species."""
    if loader.sampling == PK:
        return drawn_by_pk(counts, loader.classes_per_batch, loader.samples_per_class)
    return drawn_by_share(counts, loader.classes_per_batch * loader.samples_per_class, EXPONENTS[loader.sampling])


def _distractors(evaluator: Evaluator) -> list[str]:
    """Say in which galleries the images without a label are."""
    own, splits = evaluator.manifest.distractors, evaluator.splits
    if not own.size:
        return []
    val, test = (int(np.isin(own, part.gallery).sum()) for part in (splits.val, splits.test))
    return [f"Distractors: {val:,} images without a label in the validation gallery, {test:,} in the test gallery"]


def _apart(evaluator: Evaluator) -> list[str]:
    """Say whether a query's group is among its answers, and how many images were left out to keep groups together."""
    splits, lines = evaluator.splits, []
    if evaluator.manifest.grouped:
        answers = "left out of its answers" if evaluator.exclude_group else "among its answers (exclude_group=false)"
        lines.append(f"Groups: none is divided between training and test; a query's own group is {answers}")
        if splits.protocol == "query_gallery":
            lines = [f"Groups: a query's own group is {answers}"]
    if splits.apart:
        lines.append(
            f"Left out: {splits.apart:,} images of training or validation, since others of their group are in a later "
            "part"
        )
    return lines


def _unused(evaluator: Evaluator) -> list[str]:
    """Say how many images are in no split."""
    splits = evaluator.splits
    used = np.unique(np.concatenate([splits.train, splits.val.ids, splits.test.ids])).size
    unused = len(evaluator.manifest) - used - splits.apart
    return [f"Left out: {unused:,} images that are in no split"] if unused else []


def _encoder(evaluator: Evaluator) -> str:
    """Say what runs the network where nothing is trained; another backend than torch is named when it is chosen."""
    encoders = evaluator.encoders
    precision = "float32" if encoders.precision == "auto" else encoders.precision
    if evaluator.device.type != "cpu" or encoders.backend == "torch":
        return f"torch on {evaluator.device}, {precision}"
    return "torch on cpu, or another backend that is named below" if encoders.backend == "auto" else encoders.backend
