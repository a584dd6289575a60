"""Plots as inline SVG in the colors of the page, light and dark."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from conspecific.reporting.page.wording import MAIN_METRICS, number, percent

Points = Sequence[tuple[float, float]]

PANELS = (*MAIN_METRICS, "loss")

# Placeholders: each color is replaced by a CSS variable of the page in the finished SVG.
_MODEL, _BASELINE, _POOLED, _INK, _LINE = "#010203", "#010204", "#010205", "#010206", "#010207"
_VARIABLES = {_MODEL: "--model", _BASELINE: "--baseline", _POOLED: "--pooled", _INK: "--quiet", _LINE: "--line"}

_STYLES = {"baseline": (_BASELINE, (0, (6, 3))), "pooled": (_POOLED, (0, (1.5, 2)))}


@dataclass(frozen=True, slots=True)
class Plot:
    """The plot of one metric over epochs. summary: the plot in words."""

    metric: str
    svg: str
    summary: str


def learning_curves(
    epochs: Sequence[Mapping[str, Any]],
    baseline: Mapping[str, float],
    pooled: Mapping[str, float],
    chosen_epoch: int | None = None,
) -> list[Plot]:
    """Return a plot for each of `PANELS` that the epochs have finite values of; all start at the first epoch.

    epochs: one mapping per epoch, with `epoch` and values by metric name. baseline, pooled: drawn as horizontal lines.
    chosen_epoch: drawn with a ring.
    """
    plots = []
    for metric in PANELS:
        points = [(int(row["epoch"]), float(row[metric])) for row in epochs if _is_finite(row.get(metric))]
        if points:
            levels = {"baseline": baseline.get(metric), "pooled reference": pooled.get(metric)}
            svg = _panel(metric, points, levels, chosen_epoch)
            plots.append(Plot(metric, svg, _summary(metric, points, levels)))
    return plots


def precision_curve(
    best: Points, others: Mapping[str, Points], chosen: tuple[float, float] | None, wanted: float, name: str
) -> tuple[str, str]:
    """Return precision against the share of kept images as a plot and in words.

    best, baseline: (share kept, precision), from the highest threshold to the lowest. chosen: the point of the chosen
    threshold, None without one. wanted: the precision it was chosen for, drawn as a horizontal line.
    """
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(wanted, color=_INK, linewidth=1)
    for role, points in others.items():
        color, dashes = _STYLES[role]
        if points:
            axes.plot(*zip(*points, strict=True), color=color, linestyle=dashes, linewidth=1.8, clip_on=False)
    if best:
        axes.plot(*zip(*best, strict=True), color=_MODEL, linewidth=2.4, clip_on=False)
    if chosen is not None:
        axes.plot(*chosen, "o", markersize=11, fillstyle="none", color=_MODEL, markeredgewidth=1.8, clip_on=False)
    _style(axes)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of retrieved images kept", color=_INK, fontsize=10)
    axes.set_ylim(top=1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(PercentFormatter(1, 0, symbol=" %"))
    return _inline(figure, "threshold"), _precision_summary(best, chosen, name)


def _precision_summary(best: Points, chosen: tuple[float, float] | None, name: str) -> str:
    if not best:
        return f"{name}: no retrieved images."
    kept, precision = best[-1]
    text = f"{name}: precision {percent(precision)} with {percent(kept)} of the images kept"
    if chosen is not None:
        text += f", {percent(chosen[1])} with {percent(chosen[0])} kept at the threshold"
    return f"{text}."


def rejection_curve(curves: Mapping[str, Points], chosen: tuple[float, float] | None, name: str) -> tuple[str, str]:
    """Return the share of new queries that is refused against that of known ones, as a plot and in words.

    curves: role of each encoder -> (known refused, new refused), from the lowest threshold on; the best encoder is the
    last. chosen: the point of its threshold. name: of the best encoder.
    """
    figure = Figure(figsize=(5.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    *others, best = curves.items()
    for role, points in others:
        color, dashes = _STYLES[role]
        axes.plot(*zip(*points, strict=True), color=color, linestyle=dashes, linewidth=1.8, clip_on=False)
    axes.plot(*zip(*best[1], strict=True), color=_MODEL, linewidth=2.4, clip_on=False)
    if chosen is not None:
        axes.plot(*chosen, "o", markersize=11, fillstyle="none", color=_MODEL, markeredgewidth=1.8, clip_on=False)
    _style(axes)
    axes.set_xlabel("known queries refused", color=_INK, fontsize=10)
    for axis, limit in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
        limit(0, 1)
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(PercentFormatter(1, 0, symbol=" %"))
    known, new = chosen or min(best[1], key=lambda point: abs(point[0] - 0.05))
    summary = f"{name}: {percent(new)} of the new queries are refused where {percent(known)} of the known ones are."
    return _inline(figure, "known-or-new"), summary


def _panel(
    metric: str, points: Sequence[tuple[int, float]], levels: Mapping[str, float | None], chosen_epoch: int | None
) -> str:
    figure = Figure(figsize=(4.6, 2.7), layout="constrained")
    axes = figure.add_subplot()
    for name, level in levels.items():
        if level is not None:
            color, dashes = _STYLES[name.partition(" ")[0]]
            axes.axhline(level, color=color, linestyle=dashes, linewidth=1.8)
    axes.plot(*zip(*points, strict=True), color=_MODEL, linewidth=2.4, marker="o", markersize=4, clip_on=False)
    chosen = [point for point in points if point[0] == chosen_epoch]
    if chosen:
        axes.plot(*chosen[0], "o", markersize=12, fillstyle="none", color=_MODEL, markeredgewidth=1.6, clip_on=False)
    _style(axes)
    return _inline(figure, metric)


def _style(axes: Axes) -> None:
    axes.margins(x=0.04, y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=_INK, labelsize=10, pad=6)
    axes.set_xlabel("epoch", color=_INK, fontsize=10)


def _inline(figure: Figure, name: str) -> str:
    """Return the figure as an <svg> element without prologue and namespaces, with ids that are unique on the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<(metadata|style).*?</\1>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\sxmlns(:\w+)?=\"[^\"]*\"", "", svg).replace("xlink:href", "href")
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None, "matplotlib always writes a viewBox"
    svg = re.sub(r"<svg[^>]*>", f'<svg {box[0]} aria-hidden="true" focusable="false">', svg, count=1)
    prefix = re.sub(r"\W", "-", name)
    svg = re.sub(r'id="([^"]+)"', rf'id="{prefix}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)([^")]+)', rf"\1{prefix}-\2", svg)
    svg = re.sub(r"font-family: [^;\"]*; ", "", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return svg


def _summary(metric: str, points: Sequence[tuple[int, float]], levels: Mapping[str, float | None]) -> str:
    (first, start), (last, end) = points[0], points[-1]
    known = [f"{name} {number(level)}" for name, level in levels.items() if level is not None]
    text = f"{metric}: {number(start)} at epoch {first}, {number(end)} at epoch {last}"
    return "; ".join([text, *known]) + "."


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
