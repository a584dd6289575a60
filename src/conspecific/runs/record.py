"""The record of a run: everything a run directory says, typed, written and read in this one place."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import polars as pl

from conspecific.config.compose import load_typed, save_yaml
from conspecific.config.schema import TrainConfig
from conspecific.errors import RunError
from conspecific.evaluation import Difference, compare
from conspecific.evaluation.rejection import with_rejection
from conspecific.files import write_checked_json, write_json, write_text
from conspecific.leaks.record import Leaks
from conspecific.parquet import read_parquet
from conspecific.progress import format_duration
from conspecific.reading import MOST_JSON, read_bounded, read_json
from conspecific.runs.directory import RunDirectory
from conspecific.runs.environment import Environment, current_environment
from conspecific.types import EvalResult

Part = TypeVar("Part")

SCHEMA_VERSION = 2  # raise it when a file of the record changes its meaning; 1 had no version in it


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of epochs.jsonl.

    epoch: from 1. loss: mean training loss. metrics: validation metrics by name.
    gain_intervals: metric -> bounds of the 95 % interval of its gain over the flatten baseline; empty where validation
        has one species.
    seconds: duration of the epoch with its validation. learning_rates: parameter group -> rate at its end.
    """

    epoch: int
    loss: float
    metrics: Mapping[str, float]
    gain_intervals: Mapping[str, Sequence[float]]
    seconds: float | None = None
    learning_rates: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the metrics among the other keys."""
        first = {"epoch": self.epoch, "loss": self.loss, **self.metrics}
        return {
            **first,
            "gain_intervals": dict(self.gain_intervals),
            "seconds": self.seconds,
            "learning_rates": self.learning_rates and dict(self.learning_rates),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Make it of what `to_json` returned."""
        own = {"epoch", "loss", "gain_intervals", "seconds", "learning_rates"}
        metrics = {name: value for name, value in stored.items() if name not in own}
        return cls(metrics=metrics, **{name: stored[name] for name in own & stored.keys()})


@dataclass(frozen=True, slots=True)
class SelectedWeights:
    """Which weights were kept.

    chosen_epoch: from 1; 0 for what was there before training. wise_ft_alpha: 1 for the weights of the epoch itself.
    whitening_refitted: after training. pooled_reference: whether it is the pooled reference, without the head.
    class_probabilities: the factor of those of the training species, which then follow the embedding; 0: they do not.
    whitening_strength: of an untrained head that is not the one training started from. folds: how many validation parts
        chose them, before they were trained again on training and validation images together; 0: neither was done.
    """

    chosen_epoch: int
    wise_ft_alpha: float = 1.0
    whitening_refitted: bool = False
    pooled_reference: bool = False
    whitening_strength: float | None = None
    folds: int = 0
    class_probabilities: float = 0.0

    @property
    def is_trained(self) -> bool:
        """Whether training changed them."""
        return self.chosen_epoch > 0

    def __str__(self) -> str:
        """Which they are, in words.

        >>> str(SelectedWeights(20, 0.85, whitening_refitted=True)), str(SelectedWeights(0, pooled_reference=True))
        ('epoch 20, WiSE-FT alpha 0.85, whitening refitted', 'pooled reference, untrained')
        >>> str(SelectedWeights(6, folds=4))
        'epoch 6 (chosen by 4 folds, then made of training and validation images)'
        """
        if self.pooled_reference:
            told = "pooled reference, untrained"
        elif not self.is_trained:
            strength = "" if self.whitening_strength is None else f" with strength {self.whitening_strength:g}"
            told = f"head fitted{strength}, untrained"
        else:
            alpha = "" if self.wise_ft_alpha == 1 else f", WiSE-FT alpha {self.wise_ft_alpha:g}"
            told = f"epoch {self.chosen_epoch}{alpha}{', whitening refitted' if self.whitening_refitted else ''}"
        told += ", with class probabilities" if self.class_probabilities else ""
        return told + (f" ({self.how_chosen})" if self.folds else "")

    @property
    def how_chosen(self) -> str:
        """By what they were chosen, and what they were then made of."""
        by = f"{self.folds} folds" if self.folds > 1 else "the validation split"
        return f"chosen by {by}" + ("" if self.pooled_reference else ", then made of training and validation images")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a run was made of: images and species of the data set, and images in each split.

    unreadable: "path (reason)" of each image that `data.on_bad=skip` left out. corrections: what they changed; empty
    where there were none.
    """

    data_root: str
    images: int
    species: int
    train: int
    val: int
    tested: int
    unreadable: Sequence[str] = ()
    corrections: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """Minutes in all and in training, 0 where nothing was trained, and the peak memory in GB (10^9 bytes).

    seconds: phase -> seconds, the longest first: reading, encoding, training, scoring, report.
    """

    minutes: float
    training_minutes: float
    peak_memory_gb: float
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """The time in all, and that of each phase from one second on.

        >>> str(Cost(2.5, 1.5, 1.0, {"training": 90.0, "encoding": 40.2, "report": 0.4}))
        '2:30 (training 1:30, encoding 0:40)'
        """
        phases = ", ".join(f"{name} {format_duration(value)}" for name, value in self.seconds.items() if value >= 1)
        return format_duration(60 * self.minutes) + (f" ({phases})" if phases else "")


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    gains: name of a reference -> paired differences on test of `best` over it. leaks: None where nobody looked.
    selection: None where nothing was trained. start: validation metrics of the embedder before training, with its head
    fitted; empty where they are not known. origin: where the pretrained weights come from, and their licence, in words;
    empty where that is not known. Results and splits are read from the disk when they are first asked for.
    """

    directory: RunDirectory
    config: TrainConfig
    environment: Environment
    epochs: tuple[Epoch, ...]
    leaks: Leaks | None
    selection: SelectedWeights | None
    counts: Counts
    cost: Cost
    gains: Mapping[str, tuple[Difference, ...]]
    start: Mapping[str, float] = field(default_factory=dict)
    origin: str = ""

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.directory.path

    @property
    def best(self) -> str:
        """The name of what the run ended with: `model`, or `pooled` where nothing was trained."""
        return best_name(self.selection is not None)

    @property
    def reference(self) -> str:
        """The name of what `best` is to exceed: `pooled`, or `flatten` where nothing was trained."""
        return "flatten" if self.selection is None else "pooled"

    @cached_property
    def validation(self) -> dict[str, EvalResult]:
        """Results on the validation split by name: flatten, pooled and, where something was trained, model."""
        return self._results("val")

    @cached_property
    def test(self) -> dict[str, EvalResult]:
        """Results on the test split, named as `validation`'s."""
        return self._results("test")

    @cached_property
    def splits(self) -> pl.DataFrame:
        """A row an image: path, label, content, train, val_query, val_gallery, test_query, test_gallery."""
        return read_splits(self.directory)

    @cached_property
    def trained(self) -> pl.DataFrame:
        """The rows of `splits` whose images the kept weights were made of."""
        return trained_images(self.directory)

    @property
    def score(self) -> float:
        """The monitored metric on validation, of the model or, where nothing was trained, of the flatten baseline."""
        return self.validation["model" if self.selection else "flatten"].metrics[self.config.monitor]

    def _results(self, subset: str) -> dict[str, EvalResult]:
        names = ("flatten", "pooled", *(("model",) if self.selection else ()))
        return {name: read_result(self.directory, subset, name) for name in names}


def best_name(trained: bool) -> str:
    """Return the name of the result that a run is judged by: the model, else the pooled reference."""
    return "model" if trained else "pooled"


def start_record(run: RunDirectory, config: TrainConfig, overrides: Sequence[str], data_fingerprint: str) -> None:
    """Write configuration, overrides and environment before anything long begins."""
    command = shlex.join(["conspecific", "train", *overrides])
    write_environment(run, command, data_fingerprint)
    save_yaml(list(overrides), run.overrides)
    save_yaml(config, run.config)


def write_environment(run: RunDirectory, command: str, data_fingerprint: str) -> None:
    """Write versions, machine and the version of the record."""
    write_json(run.environment, asdict(current_environment(command, data_fingerprint, SCHEMA_VERSION)))


def append_epoch(run: RunDirectory, epoch: Epoch) -> None:
    """Add a line to epochs.jsonl; a resumed run first drops the lines from that epoch on."""
    kept = [*(line for line in read_epochs(run) if line.epoch < epoch.epoch), epoch]
    write_text(run.epochs, "".join(json.dumps(line.to_json()) + "\n" for line in kept))


def finish_record(
    run: RunDirectory,
    validation: Mapping[str, EvalResult],
    test: Mapping[str, EvalResult],
    selection: SelectedWeights | None,
    counts: Counts,
    cost: Cost,
    start: Mapping[str, float] | None = None,
    origin: str = "",
) -> RunRecord:
    """Write the results and, last, the summary with the paired differences; return the record read back.

    start, origin: see `RunRecord`.
    """
    best = best_name(selection is not None)
    test = with_rejection(test, validation, best)
    for subset, results in (("val", validation), ("test", test)):
        for name, result in results.items():
            result.save(run.results / f"{subset}_{name}")
    gains = {
        name: [change.to_json() for change in compare(test[best], other)]
        for name, other in test.items()
        if name != best
    }
    summary = {
        **(asdict(selection) if selection else {}),
        **asdict(cost),
        **asdict(counts),
        "test": {name: dict(result.metrics) for name, result in test.items()},
        "gains": gains,
        "start": dict(start or {}),
        "origin": origin,
    }
    write_checked_json(run.summary, summary)
    return read_record(run.path)


def end_record(record: RunRecord, seconds: Mapping[str, float]) -> RunRecord:
    """Write that the run has ended, and the seconds of each phase once more, now that the report is among them."""
    add_to_summary(record, seconds=dict(seconds), ended=True)
    return replace(record, cost=replace(record.cost, seconds=seconds))


def add_to_summary(record: RunRecord, **values: Any) -> None:
    """Set keys of the summary."""
    summary = record.directory.summary
    write_checked_json(summary, _read_json(summary) | values)


def has_ended(run: RunDirectory) -> bool:
    """Whether nothing is left to do: everything was scored, and what comes after that was written too."""
    return run.summary.is_file() and bool(_read_json(run.summary).get("ended"))


def discard_end(run: RunDirectory) -> None:
    """Remove what says that a run has ended, before it is trained further; what else there is will be replaced."""
    for file in (run.summary, run.final.config):
        file.unlink(missing_ok=True)


def read_record(path: Path) -> RunRecord:
    """Read a finished run. Raises RunError where it has not ended, or is not the record of a run of this version."""
    run = RunDirectory(path)
    config, environment = read_config(run), read_environment(run)
    summary = read_summary(run)
    try:
        return RunRecord(
            directory=run,
            config=config,
            environment=environment,
            epochs=tuple(read_epochs(run)),
            leaks=Leaks.load(run.leaks) if run.leaks.with_suffix(".parquet").is_file() else None,
            selection=read_selection(summary),
            counts=_part(Counts, summary),
            cost=_part(Cost, summary),
            gains={name: tuple(map(Difference.from_json, stored)) for name, stored in summary["gains"].items()},
            start={str(name): float(value) for name, value in summary.get("start", {}).items()},
            origin=str(summary.get("origin", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{run.summary} is not the summary of a run: {error!r}") from error


def read_summary(run: RunDirectory) -> dict[str, Any]:
    """Read the summary of a run as it is stored. Raises RunError where the run has not ended, or it is damaged."""
    if not run.summary.is_file():
        raise RunError(f"{run.path} has not ended: it was not scored on its test split. Resume it, or leave it out.")
    return _read_json(run.summary)


def read_selection(summary: Mapping[str, Any]) -> SelectedWeights | None:
    """Return which weights a summary says were kept, None where nothing was trained."""
    return _part(SelectedWeights, summary) if "chosen_epoch" in summary else None


def read_config(run: RunDirectory) -> TrainConfig:
    """Read the configuration of a run. Raises RunError where the folder is none, or is of another version."""
    if not run.config.is_file():
        raise RunError(f"{run.path} is not a run directory: it has no {run.config.name}. Give a folder under runs/.")
    read_environment(run)
    return load_typed(run.config, TrainConfig)


def read_environment(run: RunDirectory) -> Environment:
    """Read where a run was made. Raises RunError for a record of another version."""
    stored = _read_json(run.environment)
    found = stored.get("schema_version", 1)
    if found != SCHEMA_VERSION:
        made = f"{run.path} was written by conspecific {stored.get('conspecific', 'of an unknown version')}, in version"
        raise RunError(
            f"{made} {found} of the record; this one reads version {SCHEMA_VERSION}. Run it again, or use the "
            "conspecific that wrote it."
        )
    try:
        return Environment(**stored)
    except TypeError as error:
        raise RunError(f"{run.environment} is not the record of an environment: {error}") from error


def read_epochs(run: RunDirectory) -> list[Epoch]:
    """Read epochs.jsonl; empty before the first epoch. Raises RunError where it is damaged."""
    if not run.epochs.exists():
        return []
    try:
        lines = read_bounded(run.epochs, MOST_JSON).decode().splitlines()
        return [Epoch.from_json(json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{run.epochs} cannot be read: {error}") from error


def read_result(run: RunDirectory, subset: str, name: str) -> EvalResult:
    """Read a stored result: subset `val` or `test`; name flatten, pooled or model."""
    return EvalResult.load(run.results / f"{subset}_{name}")


def read_scores(run: RunDirectory, subset: str, name: str) -> dict[str, Any]:
    """Read what `read_result` reads, without its table of queries: `metrics` and `facts`, as they are stored."""
    return _read_json(run.results / f"{subset}_{name}.json")


def read_splits(run: RunDirectory) -> pl.DataFrame:
    """Read which image a run used for what, as `Splits.save` wrote it. Raises RunError where it cannot be read."""
    try:
        table = read_parquet(run.splits)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error  # it would repeat the path
        raise RunError(f"{run.splits} cannot be read: {reason}") from error
    if "content" not in table.columns:
        raise RunError(f"{run.path} was made by an older version, which kept no hash of its images. Run it again.")
    return table


def trained_images(run: RunDirectory) -> pl.DataFrame:
    """Return the rows of `read_splits` whose images the kept weights were made of."""
    used = pl.col("train") | pl.col("val_query") if used_validation(run) else pl.col("train")
    return read_splits(run).filter(used)


def used_validation(run: RunDirectory) -> bool:
    """Whether the kept weights were made of the validation images too, as where few images call for folds."""
    return run.summary.is_file() and bool(_read_json(run.summary).get("folds"))


def _part(kind: type[Part], summary: Mapping[str, Any]) -> Part:
    """Make a dataclass of those keys of the summary that are its fields."""
    return kind(**{each.name: summary[each.name] for each in fields(kind) if each.name in summary})  # type: ignore[arg-type]


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = read_json(file)
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise RunError(f"{file} holds a {type(found).__name__}, not a mapping")
    return found
