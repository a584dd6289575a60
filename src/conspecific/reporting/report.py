"""The report of a run: one HTML file that needs nothing but itself, and the pictures of its chosen targets."""

from importlib.resources import files
from pathlib import Path

import polars as pl
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from conspecific.reporting.examples import SHOWN, Answer, Example, by_species, chosen_targets, further_examples, paired
from conspecific.reporting.montage import answer_sheet, side_by_side
from conspecific.reporting.plots import learning_curves
from conspecific.reporting.record import Report
from conspecific.reporting.sections import (
    encoder_rows,
    encoders,
    excluded_sentence,
    headline,
    metric_rows,
    species_rows,
    validation_table,
)
from conspecific.reporting.thumbnails import Thumbnails
from conspecific.reporting.wording import explain, fact_lines, in_order, protocol_sentence, species_name

__all__ = ["Report", "save_answer_sheets", "write_report"]


def write_report(path: Path, report: Report) -> Path:
    """Write the page to `path` and the chosen targets' pictures into `images/` beside it; return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_render(report), encoding="utf-8")
    save_answer_sheets(path.parent / "images", report)
    return path


def save_answer_sheets(folder: Path, report: Report) -> list[Path]:
    """Write a PNG for each chosen target, baseline and best encoder side by side; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = Thumbnails(report.open_picture)
    paths = []
    for place, example in enumerate(chosen_targets(paired(report.flatten, report.best)), start=1):
        sheets = [_sheet(example, answers, pictures) for answers in (example.before, example.after)]
        titles = [
            f"{name}: {_right(answers)} of {len(answers)} right"
            for name, answers in (("Baseline", example.before), (report.best_name, example.after))
        ]
        path = folder / f"target-{place}-{example.why.lower().replace(' ', '-')}.png"
        side_by_side(sheets[0], sheets[1], (titles[0], titles[1])).save(path)
        paths.append(path)
    return paths


def _sheet(example: Example, answers: tuple[Answer, ...], pictures: Thumbnails) -> Image.Image:
    return answer_sheet(
        pictures.picture(example.path),
        [pictures.picture(answer.path) for answer in answers],
        [answer.hit for answer in answers],
        captions=[species_name(answer.label) for answer in answers],
        target_caption=species_name(example.label),
    )


def _right(answers: tuple[Answer, ...]) -> int:
    return sum(answer.hit is True for answer in answers)


def _render(report: Report) -> str:
    rows = paired(report.flatten, report.best)
    curves = learning_curves(report.epochs, report.flatten_validation, report.pooled_validation, report.chosen_epoch)
    columns = ["loss", *in_order({name for row in report.epochs for name in row} - {"epoch", "loss"})]
    targets = chosen_targets(rows)
    others = rows.filter(~pl.col("path").is_in([target.path for target in targets]))
    worst, best = species_rows(by_species(rows))
    template = _environment().get_template("report.html.j2")
    return template.render(
        report=report,
        headline=headline(report, rows),
        encoders=encoders(report),
        metrics=metric_rows(report),
        curves=[(curve, Markup(curve.svg)) for curve in curves],
        columns=columns,
        validation=validation_table(report, columns),
        targets=targets,
        examples=further_examples(others),
        worst=worst,
        best=best,
        facts=fact_lines(report.facts),
        encoder_rows=encoder_rows(report),
        excluded=excluded_sentence(report.best),
        protocol=protocol_sentence(str(report.best.facts.get("protocol", ""))),
        part=str(report.best.facts.get("part", "")),
        pictures=Thumbnails(report.open_picture),
        shown=SHOWN,
    )


def _environment() -> Environment:
    """Return the templates of this package. Everything is escaped: species names and paths come from strangers."""
    environment = Environment(
        loader=FunctionLoader(_source), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(species=species_name, explain=explain, right=_right)
    return environment


def _source(name: str) -> str:
    return files("conspecific.reporting").joinpath(name).read_text(encoding="utf-8")
