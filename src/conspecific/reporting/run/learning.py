"""The validation metrics of every epoch, as curves and as a table."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from conspecific.metrics import in_order
from conspecific.reporting.page.plots import learning_curves
from conspecific.reporting.page.wording import DASH, NO_BREAK, number, signed
from conspecific.reporting.run.subject import Report


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


def learning(run: Report) -> dict[str, Any] | None:
    """Build the section; None where no epoch was trained."""
    plots = learning_curves(run.epochs, run.flatten_validation, run.pooled_validation, run.selected_epoch)
    if not plots:
        return None
    columns, rows = validation_table(run)
    return {
        "curves": [Curve(plot.metric, Markup(plot.svg), plot.summary) for plot in plots],
        "selection": selection_sentence(run),
        "columns": columns,
        "rows": rows,
    }


def selection_sentence(run: Report) -> str:
    """Return which weights the run kept, and by which validation metric; empty where none were chosen."""
    if run.chosen_epoch is None:
        return ""
    weights = f"epoch {run.chosen_epoch} (ringed)"
    if run.wise_ft_alpha != 1:
        weights = (
            f"WiSE-FT, alpha {run.wise_ft_alpha:g}: the interpolation between the initial weights (alpha 0) and those "
            f"of epoch {run.chosen_epoch} (alpha 1)"
        )
    refitted = ", with refitted whitening" if run.whitening_refitted else ""
    by = f" by validation {run.chosen_by}" if run.chosen_by else ""
    return f"Weights selected{by}: {weights}{refitted}."


def validation_table(run: Report) -> tuple[list[str], list[ValidationRow]]:
    """Return the names of the columns, and a row for each reference and each epoch.

    The last column is the gain over the baseline in the monitored metric, where the epochs have its interval.
    """
    named = {name for row in run.epochs for name in row} - {"epoch", "loss", "gain_intervals"}
    metrics, gains = ["loss", *in_order(named)], _gains(run)
    lines = [
        ("Baseline", run.flatten_validation, "", None),
        ("Pooled reference", run.pooled_validation, "", None),
        *(
            (f"Epoch {row.get('epoch', DASH)}", row, gain, row.get("epoch"))
            for row, gain in zip(run.epochs, gains or [""] * len(run.epochs), strict=True)
        ),
    ]
    columns = [*metrics, *([f"{run.chosen_by}, gain"] if gains else [])]
    rows = [
        ValidationRow(
            name,
            (*(number(values.get(metric)) for metric in metrics), *([gain or DASH] if gains else [])),
            selected=epoch is not None and epoch == run.selected_epoch,
        )
        for name, values, gain, epoch in lines
        if values
    ]
    return columns, rows


def _gains(run: Report) -> list[str]:
    """Return each epoch's gain over the baseline with its interval, as text; empty where no epoch has one."""
    metric, gains = run.chosen_by, []
    for row in run.epochs:
        bounds = row.get("gain_intervals", {}).get(metric)
        if bounds is None or metric not in run.flatten_validation:
            gains.append("")
            continue
        low, high = (signed(bound) for bound in bounds)
        gains.append(f"{signed(row[metric] - run.flatten_validation[metric])} ({low}{NO_BREAK}…{NO_BREAK}{high})")
    return gains if any(gains) else []
