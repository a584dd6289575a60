"""The validation metrics of every epoch, as curves and as a table."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from conspecific.evaluation.tables import format_interval
from conspecific.metrics import Interval, in_order
from conspecific.reporting.page.plots import learning_curves
from conspecific.reporting.page.wording import DASH, number, signed
from conspecific.reporting.run.subject import Subject
from conspecific.runs.record import Epoch


@dataclass(frozen=True, slots=True)
class Curve:
    """One plot. metric: what is plotted. svg: the plot. summary: the plot in words."""

    metric: str
    svg: Markup
    summary: str


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """A reference or an epoch: its name, and a text for each column. selected: whether its weights are the run's."""

    name: str
    values: tuple[str, ...]
    selected: bool = False


def learning(run: Subject) -> dict[str, Any] | None:
    """Build the section; None where no epoch was trained."""
    if not run.record.epochs:
        return None
    baseline, pooled = (run.record.validation[name].metrics for name in ("flatten", "pooled"))
    epochs = [*_start(run), *(_values(epoch) for epoch in run.record.epochs)]
    plots = learning_curves(epochs, baseline, pooled, run.selected_epoch)
    curves = [Curve(plot.metric, Markup(plot.svg), plot.summary) for plot in plots]
    columns, rows = validation_table(run)
    return {
        "curves": sorted(curves, key=lambda curve: curve.metric != run.record.config.monitor),
        "selection": selection_sentence(run),
        "starts": bool(run.record.start),
        "columns": columns,
        "rows": rows,
    }


def selection_sentence(run: Subject) -> str:
    """Return which weights the run selected, and by which validation metric; empty where nothing was trained."""
    selection = run.record.selection
    if selection is None:
        return ""
    untrained = str(replace(selection, folds=0, class_probabilities=0.0))
    weights = f"epoch {selection.chosen_epoch} (ringed)" if selection.is_trained else untrained
    if selection.wise_ft_alpha != 1:
        weights = (
            f"WiSE-FT, alpha {selection.wise_ft_alpha:g}: the interpolation between the initial weights (alpha 0) and "
            f"those of epoch {selection.chosen_epoch} (alpha 1)"
        )
    fitted = ", with refitted whitening" if selection.whitening_refitted else ""
    fitted += ", followed by the probabilities of the training species" if selection.class_probabilities else ""
    by = run.record.config.monitor + (f" over {selection.folds} folds" if selection.folds > 1 else "")
    chosen = (
        f"Weights selected by validation {by}, the nearest to the start of those within one standard error of the "
        f"best: {weights}{fitted}."
    )
    if not selection.folds or selection.pooled_reference:
        return chosen
    return f"{chosen} They were then made again from training and validation images; the epochs here are of the former."


def validation_table(run: Subject) -> tuple[list[str], list[ValidationRow]]:
    """Return the names of the columns, and a row for each reference and each epoch.

    The last column is the gain over the baseline in the monitored metric, where the epochs have its interval.
    """
    epochs, references = run.record.epochs, run.record.validation
    metrics = ["loss", *in_order({name for epoch in epochs for name in epoch.metrics})]
    gains = [_gain(run, epoch) for epoch in epochs]
    has_gains = any(gains)

    def row(name: str, values: Mapping[str, float], gain: str = "", selected: bool = False) -> ValidationRow:
        texts = [number(values.get(metric)) for metric in metrics] + [gain or DASH] * has_gains
        return ValidationRow(name, tuple(texts), selected)

    rows = [row("Baseline", references["flatten"].metrics), row("Pooled reference", references["pooled"].metrics)]
    rows += [row("Epoch 0, before training", values) for values in _start(run)]
    for epoch, gain in zip(epochs, gains, strict=True):
        rows.append(row(f"Epoch {epoch.epoch}", _values(epoch), gain, epoch.epoch == run.selected_epoch))
    return [*metrics, *[f"{run.record.config.monitor}, gain"] * has_gains], rows


def _start(run: Subject) -> list[dict[str, float]]:
    """Return the values before training as those of epoch 0; empty where the record does not have them."""
    return [{"epoch": 0, **run.record.start}] if run.record.start else []


def _values(epoch: Epoch) -> dict[str, float]:
    return {"epoch": epoch.epoch, "loss": epoch.loss, **epoch.metrics}


def _gain(run: Subject, epoch: Epoch) -> str:
    """Return the gain over the baseline in the monitored metric with its interval; empty without an interval."""
    metric = run.record.config.monitor
    bounds = epoch.gain_intervals.get(metric)
    if bounds is None:
        return ""
    gain = epoch.metrics[metric] - run.record.validation["flatten"].metrics[metric]
    return f"{signed(gain)} ({format_interval(Interval(gain, *bounds), signed)})"
