"""conspecific soup: average the weights of several runs into one model."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from conspecific.config.compose import save_yaml
from conspecific.config.overrides import is_override
from conspecific.config.schema import EvaluateConfig, SoupConfig, TrainConfig
from conspecific.errors import RunError
from conspecific.evaluation import Evaluator
from conspecific.evaluation.tables import plain_table
from conspecific.models import Embedder
from conspecific.runs.directory import RunDirectory
from conspecific.runs.environment import save_weights
from conspecific.runs.opened import Opened, load_embedder, read_config
from conspecific.runs.soup import Tasting, average_weights, greedy_soup
from conspecific.runs.tested import find_runs, read_splits

RECIPE = "soup.json"


def run(arguments: Sequence[str]) -> None:
    """Average, score the soup on validation beside its ingredients, and write a folder that opens like a run."""
    places = [text for text in arguments if not is_override(text)]
    config = read_config("soup", SoupConfig, [text for text in arguments if is_override(text)], [])
    named = {Path(place).expanduser() for place in places}
    found = [RunDirectory(path) for path in find_runs(places)]
    runs = [each for each in found if each.path in named or each.weights.is_file()]  # of a multirun, those that ended
    if len(runs) < 2:
        raise RunError(f"a soup needs two runs or more; found {len(runs)}")
    folder = Path(config.output or f"{config.paths.runs}/soups/{datetime.now():%Y-%m-%d_%H-%M-%S}").expanduser()
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} holds something already. Name another folder with output=FOLDER.")
    trained = runs[0].load_config()
    scores = _validated(runs, trained)
    runs.sort(key=lambda each: -scores[each.path])
    _require_alike(runs)
    console = Console()
    evaluator, embedder = _set_up(runs[0], config, console)
    tastings, score = _cook(runs, config.greedy, embedder, evaluator, trained.monitor)
    rows = [
        {"run": str(each.path), "validation": scores[each.path], **_tasted(tasting)}
        for each, tasting in zip(runs, tastings, strict=True)
    ]
    recipe = {"metric": f"validation {trained.monitor}", "greedy": config.greedy, "score": score, "ingredients": rows}
    _write(folder, runs[0], embedder, recipe)
    _print(console, recipe, folder)


def _validated(runs: Sequence[RunDirectory], trained: TrainConfig) -> dict[Path, float]:
    """The validation score of each run. Raises RunError where one has none: cut off, or nothing trained."""
    scores = {}
    for run in runs:
        file = run.results / "val_model.json"
        if not (file.is_file() and run.weights.is_file()):
            raise RunError(f"{run.path} has no weights with a validation score: it was cut off, or trained nothing.")
        scores[run.path] = float(json.loads(file.read_text())["metrics"][trained.monitor])
    return scores


def _require_alike(runs: Sequence[RunDirectory]) -> None:
    """Raise RunError where runs are of different models, or saw different images or parts of them."""
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
    """What ingredients must have in common."""
    config = run.load_config()
    data = json.loads(run.environment.read_text()).get("data_fingerprint") if run.environment.is_file() else None
    model = {f"model.{name}": value for name, value in config.model.items()}
    return {**model, "protocol": config.protocol, "loader.image_size": config.loader.image_size, "data": data}


def _set_up(run: RunDirectory, config: SoupConfig, console: Console) -> tuple[Evaluator, Embedder]:
    """The validation part as the runs had it, and the network to load soups into."""
    trained = run.load_config()
    embedder = load_embedder(trained, run.weights)
    use = EvaluateConfig(device=config.device, workers=config.workers, paths=config.paths)
    evaluator = Opened(embedder, run.weights, trained, run, use).evaluator(console)
    stored = _identity(run)["data"]
    if stored is not None and evaluator.fingerprint != stored:
        raise RunError(f"the images in {evaluator.manifest.root} have changed since {run.path}: nothing to score on")
    return evaluator, embedder


def _cook(
    runs: Sequence[RunDirectory], greedy: bool, embedder: Embedder, evaluator: Evaluator, metric: str
) -> tuple[Sequence[Tasting | None], float]:
    """Load the soup into the embedder. Returns what adding each run came to, where it was tried, and its score."""

    def score(weights: Mapping[str, Tensor]) -> float:
        embedder.load_state_dict(dict(weights))
        return evaluator.score({"model": embedder}, "val", "Scoring the soup")["model"].metrics[metric]

    if not greedy:
        return [None] * len(runs), score(average_weights(_weights(runs)))
    soup, tastings = greedy_soup(_weights(runs), score)
    embedder.load_state_dict(soup)
    return tastings, max(tasting.score for tasting in tastings if tasting.kept)


def _weights(runs: Sequence[RunDirectory]) -> Iterator[dict[str, Tensor]]:
    """One run's weights after another."""
    for run in runs:
        try:
            yield load_file(run.weights)
        except SafetensorError as error:
            raise RunError(f"{run.weights} cannot be read: {error}") from error


def _tasted(tasting: Tasting | None) -> dict[str, Any]:
    return {"kept": True} if tasting is None else {"kept": tasting.kept, "soup_with_it": tasting.score}


def _write(folder: Path, first: RunDirectory, embedder: Embedder, recipe: Mapping[str, Any]) -> None:
    """The configuration and splits of the best run, the soup's weights, and what it was made of."""
    folder.mkdir(parents=True, exist_ok=True)
    soup = RunDirectory(folder)
    config = first.load_config()
    save_yaml(replace(config, name="soup", paths=replace(config.paths, run=str(folder))), soup.config)
    shutil.copy(first.splits, soup.splits)
    (folder / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n")
    save_weights(embedder, soup.weights)


def _print(console: Console, recipe: Mapping[str, Any], folder: Path) -> None:
    """Each run's score and what it did to the soup; then the soup's, held against the best run's."""
    tried = ["soup with it", "kept"] if recipe["greedy"] else []
    table = plain_table(f"Ingredients, {recipe['metric']}", ["run", "alone", *tried])
    for row in recipe["ingredients"]:
        more = [f"{row['soup_with_it']:.4f}", "yes" if row["kept"] else "no"] if tried else []
        table.add_row(row["run"], f"{row['validation']:.4f}", *more)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    console.print(table, "")
    best, kept = recipe["ingredients"][0]["validation"], sum(row["kept"] for row in recipe["ingredients"])
    style = "yellow" if recipe["score"] < best else None
    said = f"Soup of {kept}: {recipe['metric']} {recipe['score']:.4f}; the best run alone {best:.4f}"
    if recipe["score"] < best and not recipe["greedy"]:
        said += ". greedy=true keeps only what does not lower it"
    console.print(f"{said}.", style=style, soft_wrap=True, highlight=False)
    console.print(f"Soup: {folder}", soft_wrap=True, highlight=False)
