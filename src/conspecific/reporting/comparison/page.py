"""The page that sets runs beside each other: one HTML file that needs nothing but itself."""

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from conspecific.evaluation.compare import Difference
from conspecific.images import open_rgb
from conspecific.metrics import Interval
from conspecific.reporting.comparison.changes import MAIN, changed_answers, extremes, query_changes, species_changes
from conspecific.reporting.comparison.numbers import (
    difference_of,
    panel,
    row,
    score_table,
    settings_table,
    verdict,
)
from conspecific.reporting.page.template import page
from conspecific.reporting.page.thumbnails import Thumbnails
from conspecific.reporting.page.wording import (
    number,
    p_value,
    percent,
    plural,
    protocol_sentence,
    signed,
)
from conspecific.reporting.run.examples import SHOWN
from conspecific.reporting.run.sections import tally
from conspecific.runs.directory import RunDirectory
from conspecific.runs.groups import CONFIDENCE, Comparison, Contrast, Group

PANELS = ("recall@1", f"precision@{SHOWN}", "map@r")


def write_comparison(path: Path, found: Comparison) -> Path:
    """Write the page to `path` and return it. Images are shown where a run's data still lie where they lay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_render(found), encoding="utf-8")
    return path


def rival(found: Comparison) -> Contrast:
    """Return the contrast of the first group with the best of the others, by map@r."""
    return max(found.contrasts, key=lambda contrast: contrast.group.means[MAIN])


def _render(found: Comparison) -> str:
    against, images = rival(found), _images(found)
    queries = query_changes(against)
    columns, scores = score_table(found)
    names, settings = settings_table(found)
    roles = {group.letter: _role(group, against) for group in found.groups}
    values = {
        "found": found,
        "against": against,
        "images": images,
        "headline": headline(found, against),
        "lead": lead(found, against),
        "tallies": [
            tally(roles[group.letter], group.letter, SHOWN * group.means[f"precision@{SHOWN}"])
            for group in (against.first, against.group)
        ],
        "roles": roles,
        "columns": columns,
        "scores": scores,
        "names": names,
        "settings": settings,
        "panels": [panel(found, metric, roles) for metric in PANELS],
        "overview": [row(contrast, MAIN, contrast.group.letter) for contrast in found.contrasts],
        "contrasts": [
            (contrast, [row(contrast, metric, metric) for metric in found.metrics]) for contrast in found.contrasts
        ],
        "counted": f"{len(found.groups)} groups of {sum(len(group.runs) for group in found.groups)} runs",
        "answers_known": queries["right"].null_count() == 0 == queries["right_after"].null_count(),
        "over_species": found.contrasts[0].differences[0].over_species,
        "several": any(len(group.runs) > 1 for group in found.groups),
        "singles": any(len(group.runs) == 1 for group in found.groups),
        "metrics": found.metrics,
        "species": extremes(species_changes(queries), ["change"]),
        "queries": extremes(queries, ["more", "change"]),
        "strips": changed_answers(against, queries) if images else [],
    }
    return page("comparison.html.j2").render(values)


def headline(found: Comparison, against: Contrast) -> str:
    """Return in one sentence which of the first group and its strongest rival finds more, and whether that is sure."""
    best, other = _ordered(against)
    scores = f"{MAIN} {number(best.means[MAIN])} against {number(other.means[MAIN])}"
    over_seeds = against.over_seeds[MAIN]
    these = " with these seeds" if over_seeds is not None and over_seeds.holds_zero else ""
    if len(found.groups) == 2:
        finds = f"{best.letter} finds more{these}"
        return f"{finds}: {scores}." if _is_sure(against) else f"No difference that could not be chance: {scores}."
    finds = f"Of {len(found.groups)} groups, {best.letter} finds most"
    if _is_sure(against):
        return f"{finds}{these}: {scores} of {other.letter}."
    return f"{finds}, but not surely more than {other.letter}: {scores}."


def lead(found: Comparison, against: Contrast) -> list[str]:
    """Return what was tested, how large the difference is, and what remains open."""
    facts, (best, other), difference = found.facts, _ordered(against), difference_of(against, MAIN)
    interval, over_seeds = difference.interval, against.over_seeds[MAIN]
    if best is against.first:
        interval, over_seeds = _turned(interval), over_seeds and _turned(over_seeds)
    unit = "species" if difference.over_species else "queries"
    sentences = [
        f"Tested on the same {plural(facts['queries'], 'query', 'queries')} in {plural(facts['gallery'], 'image')} "
        f"of {plural(facts['species'], 'species', 'species')}. {protocol_sentence(facts['protocol'])}",
        f"{best.letter} against {other.letter}, query by query: {signed(interval.mean)} in {MAIN} "
        f"({percent(CONFIDENCE)} interval over {unit} {signed(interval.low)} to {signed(interval.high)}, "
        f"p {_p(difference)}).",
        _about_seeds(over_seeds),
    ]
    if len(found.groups) > 2:
        sentences.append(
            f"Every group is held against {against.first.letter}, the first, and p is adjusted for their number; the "
            "others were not tested among themselves."
        )
    return sentences


def _about_seeds(over_seeds: Interval | None) -> str:
    if over_seeds is None:
        return "What other seeds would say is not known: that takes two runs or more of each, with different seeds."
    bounds = f"{signed(over_seeds.low)} to {signed(over_seeds.high)}"
    told = "other seeds might turn it" if over_seeds.holds_zero else "other seeds would hardly turn it"
    return f"Its interval over seeds is {bounds}: {told}."


def _p(found: Difference) -> str:
    text = p_value(found.p_value)
    return text if text.startswith("<") else f"= {text}"


def _is_sure(against: Contrast) -> bool:
    return verdict(difference_of(against, MAIN)) != "unsure"


def _ordered(against: Contrast) -> tuple[Group, Group]:
    """The better of the two first."""
    mine, first = against.group, against.first
    return (mine, first) if mine.means[MAIN] > first.means[MAIN] else (first, mine)


def _turned(interval: Interval) -> Interval:
    return Interval(-interval.mean, -interval.high, -interval.low)


def _role(group: Group, against: Contrast) -> str:
    """Its colours: the accent only where a group is surely the better of the two that the page is about."""
    if group is _ordered(against)[0] and _is_sure(against):
        return "model"
    return "baseline" if group is against.first else "pooled"


def _images(found: Comparison) -> Thumbnails | None:
    """The images of the test, where the data of one of the runs still lie where they lay."""
    for run in (run for group in found.groups for run in group.runs):
        if (root := _data_root(run.path)) is not None:
            return Thumbnails(_opener(root))
    return None


def _data_root(run: Path) -> Path | None:
    try:
        stored = json.loads(RunDirectory(run).summary.read_text(encoding="utf-8")).get("data_root")
    except (OSError, ValueError):  # images are an addition: without them the page still says everything
        return None
    return Path(stored) if stored and Path(stored).is_dir() else None


def _opener(root: Path) -> Callable[[str], Image.Image]:
    def open_image(path: str) -> Image.Image:
        return open_rgb(root / path, shorter_side=224)

    return open_image
