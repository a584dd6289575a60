"""Model soups (Wortsman et al. 2022): the average of the weights of several fine-tuned models."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from conspecific.config.compose import save_yaml
from conspecific.config.schema import EvaluateConfig, SoupConfig, TrainConfig
from conspecific.errors import RunError
from conspecific.evaluation import Evaluator
from conspecific.files import write_json
from conspecific.models import Embedder
from conspecific.models.tensor_file import read_tensors
from conspecific.models.weights import holds_pooled_reference, save_weights
from conspecific.runs.directory import RunDirectory
from conspecific.runs.open import OpenRun, check_parts, load_embedder
from conspecific.runs.record import (
    read_config,
    read_environment,
    read_result,
    read_splits,
    used_validation,
    write_environment,
)
from conspecific.runs.tested import find_runs

Weights = Mapping[str, Tensor]
RECIPE = "soup.json"


@dataclass(frozen=True, slots=True)
class SoupStep:
    """One ingredient tried in a greedy soup. score: of the soup with it. kept: whether it stayed in."""

    score: float
    kept: bool


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One run of a soup. validation: its own score. soup_with_it: the soup's with it; None where all are averaged."""

    run: str
    validation: float
    kept: bool = True
    soup_with_it: float | None = None


@dataclass(frozen=True, slots=True)
class Soup:
    """What was averaged: the best ingredient on validation first. metric: what scored, on validation."""

    folder: Path
    metric: str
    greedy: bool
    score: float
    ingredients: tuple[Ingredient, ...]


def make_soup(places: Sequence[str], folder: Path, config: SoupConfig, console: Console) -> Soup:
    """Average the weights of runs, score the soup on validation, and write a folder that opens like a run.

    places: run directories, or folders of them, of which those without weights are left out. Raises RunError for fewer
    than two runs, runs of different models or data, and a folder that holds something.
    """
    named = {Path(place).expanduser() for place in places}
    found = [RunDirectory(path) for path in find_runs(places)]
    runs = [each for each in found if each.path in named or each.weights.is_file()]
    if len(runs) < 2:
        raise RunError(f"a soup needs two runs or more; found {len(runs)}")
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} holds something already. Name another folder with output=FOLDER.")
    trained = read_config(runs[0])
    scores = _validated(runs, trained)
    runs.sort(key=lambda each: -scores[each.path])
    _require_alike(runs)
    evaluator, embedder = _set_up(runs[0], config, console)
    steps, score = _cook(runs, config.greedy, embedder, evaluator, trained.monitor)
    ingredients = tuple(
        Ingredient(str(run.path), scores[run.path], *((step.kept, step.score) if step else ()))
        for run, step in zip(runs, steps, strict=True)
    )
    soup = Soup(folder, trained.monitor, config.greedy, score, ingredients)
    _write(soup, runs[0], embedder)
    return soup


def _validated(runs: Sequence[RunDirectory], trained: TrainConfig) -> dict[Path, float]:
    """Return the monitored validation metric of each run. Raises RunError if a run has none."""
    for run in runs:
        if not ((run.results / "val_model.json").is_file() and run.weights.is_file()):
            raise RunError(
                f"{run.path} has no weights with a validation score: it was interrupted, or trained nothing."
            )
        if used_validation(run):
            raise RunError(
                f"{run.path} was trained on its validation images too, which are to judge the soup: train the runs "
                "with recipe.folds=0 to average them"
            )
    return {run.path: read_result(run, "val", "model").metrics[trained.monitor] for run in runs}


def _require_alike(runs: Sequence[RunDirectory]) -> None:
    """Raise RunError if runs have different models, data or splits."""
    first, *others = runs
    wanted, splits = _identity(first), read_splits(first).sort("path")
    for other in others:
        found = _identity(other)
        if differing := [name for name in wanted | found if wanted.get(name) != found.get(name)]:
            told = "; ".join(f"{name}: {wanted.get(name)} and {found.get(name)}" for name in differing)
            raise RunError(f"{first.path} and {other.path} cannot be averaged, they differ in {told}")
        if not read_splits(other).sort("path").equals(splits):
            raise RunError(
                f"{first.path} and {other.path} cannot be averaged: their training, validation or test images differ"
            )


def _identity(run: RunDirectory) -> dict[str, Any]:
    """Return what must be equal for all ingredients."""
    config = read_config(run)
    model = {f"model.{name}": value for name, value in config.model.items()}
    data = read_environment(run).data_fingerprint
    model["weights"] = "pooled reference" if holds_pooled_reference(run.weights) else "trained or fitted"
    return {**model, "protocol": config.protocol, "loader.image_size": config.loader.image_size, "data": data}


def _set_up(run: RunDirectory, config: SoupConfig, console: Console) -> tuple[Evaluator, Embedder]:
    """Return the evaluator of the validation split and the network to load soups into."""
    trained = read_config(run)
    check_parts(run, trained, config.allow)
    embedder = load_embedder(trained, run.weights, config.allow)
    use = EvaluateConfig(device=config.device, workers=config.workers, allow=config.allow, paths=config.paths)
    evaluator = OpenRun(embedder, run.weights, trained, run, use).evaluator(console)
    stored = _identity(run)["data"]
    if evaluator.fingerprint != stored:
        raise RunError(f"the images in {evaluator.manifest.root} have changed since {run.path}: nothing to score on")
    return evaluator, embedder


def _cook(
    runs: Sequence[RunDirectory], greedy: bool, embedder: Embedder, evaluator: Evaluator, metric: str
) -> tuple[Sequence[SoupStep | None], float]:
    """Load the soup into the embedder. Return a step for each run of a greedy soup, None else, and the score."""

    def score(weights: Mapping[str, Tensor]) -> float:
        embedder.load_state_dict(dict(weights))
        return evaluator.score({"model": embedder}, "val", "Scoring the soup")["model"].metrics[metric]

    if not greedy:
        return [None] * len(runs), score(average_weights(_weights(runs)))
    soup, steps = greedy_soup(_weights(runs), score)
    embedder.load_state_dict(soup)
    return steps, max(step.score for step in steps if step.kept)


def _weights(runs: Sequence[RunDirectory]) -> Iterator[dict[str, Tensor]]:
    """Yield the weights of one run after another."""
    for run in runs:
        yield read_tensors(run.weights)


def _write(soup: Soup, first: RunDirectory, embedder: Embedder) -> None:
    """Write the configuration and splits of the best run, the weights of the soup, and its ingredients."""
    run, config = RunDirectory(soup.folder), read_config(first)
    command = " ".join(["conspecific soup", *(each.run for each in soup.ingredients)])
    write_environment(run, command, read_environment(first).data_fingerprint)
    save_yaml(replace(config, name="soup", paths=replace(config.paths, run=str(soup.folder))), run.config)
    shutil.copy(first.splits, run.splits)
    recipe = {**asdict(soup), "folder": str(soup.folder), "metric": f"validation {soup.metric}"}
    write_json(soup.folder / RECIPE, recipe)
    save_weights(embedder, run.weights, is_pooled_reference=holds_pooled_reference(first.weights))


def average_weights(ingredients: Iterable[Weights], shares: Sequence[float] | None = None) -> dict[str, Tensor]:
    """Return the weighted mean of every tensor; without shares, all ingredients have equal weight.

    Sums are float64 and the result has the types of the first ingredient. Integer tensors (counters of batches) are
    those of the first.
    Ingredients are taken one after another, so a generator needs memory for one. Raises RunError where their names or
    shapes differ, and ValueError where shares are negative, sum up to nothing, or are not one an ingredient.
    """
    if shares is not None and (min(shares, default=0.0) < 0 or sum(shares) <= 0):
        raise ValueError(f"shares must not be negative and must sum up to more than 0; found {list(shares)}")
    sums: dict[str, Tensor] | None = None
    first: Weights = {}
    count, total = 0, 0.0
    for count, weights in enumerate(ingredients, start=1):
        if shares is not None and count > len(shares):
            raise ValueError(f"there must be a share for each of the ingredients; found {len(shares)}")
        share = 1.0 if shares is None else shares[count - 1]
        first = first or weights
        sums = _added(sums, weights, share)
        total += share
    if sums is None or (shares is not None and count != len(shares)):
        raise ValueError(f"there must be an ingredient for each share, and one at least; found {count}")
    return _divided(sums, total, first)


def greedy_soup(
    ingredients: Iterable[Weights], score: Callable[[Weights], float]
) -> tuple[dict[str, Tensor], list[SoupStep]]:
    """Add ingredients in the given order, and keep those that do not lower the score.

    ingredients: the best on validation first; it is always in. score: of weights, on validation, higher is better.
    Returns the soup, and a step for each ingredient.
    """
    sums: dict[str, Tensor] | None = None
    soup: dict[str, Tensor] = {}
    first: Weights = {}
    steps: list[SoupStep] = []
    best, kept = float("-inf"), 0
    for weights in ingredients:
        first = first or weights
        candidate_sums = _added(sums, weights, 1.0)
        candidate = _divided(candidate_sums, kept + 1, first)
        found = score(candidate)
        stays = not steps or found >= best
        steps.append(SoupStep(found, stays))
        if stays:
            sums, soup, best, kept = candidate_sums, candidate, found, kept + 1
    if not steps:
        raise ValueError("a soup needs one ingredient at least")
    return soup, steps


def _added(sums: Mapping[str, Tensor] | None, weights: Weights, share: float) -> dict[str, Tensor]:
    scaled = {name: tensor.to(torch.float64) * share for name, tensor in weights.items() if tensor.is_floating_point()}
    if sums is None:
        return scaled
    if scaled.keys() != sums.keys() or any(sums[name].shape != tensor.shape for name, tensor in scaled.items()):
        odd = sorted(scaled.keys() ^ sums.keys()) or [name for name in sums if sums[name].shape != scaled[name].shape]
        raise RunError(f"the weights belong to different models: {len(odd)} tensors do not fit, first {odd[0]}")
    return {name: sums[name] + tensor for name, tensor in scaled.items()}


def _divided(sums: Mapping[str, Tensor], total: float, first: Weights) -> dict[str, Tensor]:
    return {name: (sums[name] / total).to(tensor.dtype) if name in sums else tensor for name, tensor in first.items()}
