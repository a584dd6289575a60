"""The report of a run: one HTML file that needs nothing but itself, and the images of its chosen targets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup
from PIL import Image

from conspecific.reporting.page.montage import answer_sheet, side_by_side
from conspecific.reporting.page.plots import learning_curves
from conspecific.reporting.page.template import count_right, page
from conspecific.reporting.page.thumbnails import Thumbnails
from conspecific.reporting.page.wording import fact_lines, protocol_sentence, species_name
from conspecific.reporting.run.cleanliness import cleanliness
from conspecific.reporting.run.diagnosis import (
    collapsed,
    geometry_note,
    geometry_rows,
    hardest_and_easiest,
    hub_sides,
    mix_ups,
    species_rows,
)
from conspecific.reporting.run.examples import SHOWN, Answer, Example, chosen_targets, further_examples, paired
from conspecific.reporting.run.numbers import comparisons, interval_sentence, macro_rows, macro_sentence, metric_rows
from conspecific.reporting.run.record import Report
from conspecific.reporting.run.sections import encoder_rows, excluded_sentence, headline, validation_table
from conspecific.reporting.run.trust import trust

__all__ = ["Report", "save_answer_sheets", "write_report"]


def write_report(path: Path, report: Report) -> Path:
    """Write the page to `path` and the chosen targets' images into `images/` beside it; return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_render(report), encoding="utf-8")
    save_answer_sheets(path.parent / "images", report)
    return path


def save_answer_sheets(folder: Path, report: Report) -> list[Path]:
    """Write a PNG for each chosen target, baseline and best encoder side by side; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    images = Thumbnails(report.open_image)
    paths = []
    for place, example in enumerate(chosen_targets(paired(report.flatten, report.best)), start=1):
        sheets = [_sheet(example, answers, images) for answers in (example.before, example.after)]
        titles = [
            f"{name}: {count_right(answers)} of {len(answers)} right"
            for name, answers in (("Baseline", example.before), (report.best_name, example.after))
        ]
        path = folder / f"target-{place}-{example.why.lower().replace(' ', '-')}.png"
        side_by_side(sheets[0], sheets[1], (titles[0], titles[1])).save(path)
        paths.append(path)
    return paths


def _sheet(example: Example, answers: tuple[Answer, ...], images: Thumbnails) -> Image.Image:
    return answer_sheet(
        images.image(example.path),
        [images.image(answer.path) for answer in answers],
        [answer.hit for answer in answers],
        captions=[species_name(answer.label) for answer in answers],
        target_caption=species_name(example.label),
    )


def _render(report: Report) -> str:
    template = page("report.html.j2")
    values = {
        "report": report,
        "images": Thumbnails(report.open_image),
        "shown": SHOWN,
        "subset": str(report.best.facts.get("subset", "")),
        **_numbers(report),
        **_answers(report),
        **_diagnosis(report),
        **_run(report),
    }
    return template.render(parts=_parts(values), **values)


def _numbers(report: Report) -> dict[str, Any]:
    curves = learning_curves(report.epochs, report.flatten_validation, report.pooled_validation, report.kept_epoch)
    columns, validation = validation_table(report)
    return {
        "metrics": metric_rows(report),
        "interval_sentence": interval_sentence(report),
        "macro_sentence": macro_sentence(report),
        "comparisons": comparisons(report),
        "macro_rows": macro_rows(report),
        "clean": cleanliness(report),
        "curves": [(curve, Markup(curve.svg)) for curve in curves],
        "columns": columns,
        "validation": validation,
    }


def _answers(report: Report) -> dict[str, Any]:
    rows = paired(report.flatten, report.best)
    targets = chosen_targets(rows)
    others = rows.filter(~pl.col("path").is_in([target.path for target in targets]))
    return {"headline": headline(report, rows), "targets": targets, "examples": further_examples(others)}


def _diagnosis(report: Report) -> dict[str, Any]:
    species, omitted = species_rows(report)
    hardest, easiest = hardest_and_easiest(species)
    found = trust(report)
    return {
        "species": species,
        "omitted": omitted,
        "hardest": hardest,
        "easiest": easiest,
        "stored": f"results/test_{'pooled' if report.model is None else 'model'}.parquet",
        "mix_ups": mix_ups(report),
        "hub_sides": hub_sides(report),
        "geometry": geometry_rows(report),
        "geometry_note": geometry_note(report),
        "collapsed": collapsed(report),
        "trust": found,
        "trust_svg": Markup(found.svg),
    }


def _run(report: Report) -> dict[str, Any]:
    return {
        "facts": fact_lines(report.facts),
        "encoder_rows": encoder_rows(report),
        "excluded": excluded_sentence(report.best),
        "protocol": protocol_sentence(str(report.best.facts.get("protocol", ""))),
    }


def _parts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return id and name of each part of the page that has something to show."""
    parts = [
        ("numbers", "Numbers", True),
        ("clean", "Leaks", values["clean"]),
        ("learning", "Learning", values["curves"]),
        ("targets", "Three targets", True),
        ("examples", "More examples", values["examples"]),
        ("species", "Species", True),
        ("mixups", "Mix-ups", True),
        ("hubs", "Hubs", True),
        ("space", "The space", values["geometry"]),
        ("trust", "Trust", True),
        ("run", "The run", True),
        ("reading", "How to read it", True),
    ]
    return [(place, name) for place, name, there in parts if there]
