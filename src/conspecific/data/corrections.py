"""Corrections of labels, as a person has written them down: applied when data are loaded, never to photographs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from conspecific.config.targets import CORRECTIONS, build
from conspecific.data.labels import tidy
from conspecific.data.manifest import Manifest
from conspecific.data.table_file import read_any
from conspecific.errors import DataError, did_you_mean, name_some
from conspecific.tables import computed_no_more

COLUMNS = ("path", "label_before", "label", "decision", "question")
Decision = Literal["same", "different", "new", "out", "skip"]
DECISIONS: tuple[str, ...] = get_args(Decision)
RELABELS = ("same", "new")


@dataclass(frozen=True, slots=True)
class Correction:
    """What was decided of one image.

    path: as the data have it. before: its label there, empty for none. label: the one it gets.
    decision: `same` and `new` give it the label, of a species that the data have or of a new one; `out` leaves the
        image out; `different` keeps its label, and `skip` decides nothing.
    question: that was answered; empty for none.
    """

    path: str
    before: str
    label: str
    decision: Decision
    question: str = ""


def load_manifest(node: Mapping[str, Any], allow: Sequence[str] = ()) -> Manifest:
    """Return the images that a node `data` names, with its corrections applied.

    allow: see `build`. Raises ConfigError, and DataError where the corrections do not fit the images.
    """
    source = {key: value for key, value in node.items() if key != CORRECTIONS}
    if node.get(CORRECTIONS) is None:
        found: Manifest = build(source, "data", allow)
        return found
    fewest = source.pop("min_images", 1)  # of a species as it is after the corrections
    found = build(source, "data", allow)
    return correct(found, read_corrections(Path(node[CORRECTIONS]).expanduser()), fewest)


def read_corrections(file: Path) -> list[Correction]:
    """Read a table with the columns path, label_before, label and decision, in the order in which they were made.

    Raises DataError for a file that is none, an unknown decision, and a row without a path or without its label.
    """
    if not file.is_file():
        raise DataError(f"data.corrections={file} is not a file: conspecific review RUN writes one")
    table = read_any(file)
    if missing := [name for name in COLUMNS[:4] if name not in table.columns]:
        found = name_some(table.columns)
        raise DataError(f"{file} has no column {', '.join(missing)}, but {found}: it is no table of corrections")
    table = table.select(pl.col(COLUMNS[:4]), pl.col("question") if "question" in table.columns else pl.lit(""))
    rows = computed_no_more(table.cast(pl.String).fill_null("")).iter_rows()
    return [_correction(file, number, row) for number, row in enumerate(rows, 1)]


def _correction(file: Path, number: int, row: tuple[str, str, str, str, str]) -> Correction:
    path, before, label, decision, question = row
    known = next((each for each in get_args(Decision) if each == decision), None)
    if known is None:
        raise DataError(f"{file}: the decision of row {number} is {decision!r}. {did_you_mean(decision, DECISIONS)}")
    if not path:
        raise DataError(f"{file}: row {number} has no path")
    if known in RELABELS and not tidy(label):
        raise DataError(f"{file}: row {number} ({path}) has no label, which decision={decision} gives the image")
    return Correction(path, tidy(before), tidy(label), known, question)


def correct(manifest: Manifest, corrections: Iterable[Correction], fewest: int = 1) -> Manifest:
    """Return the manifest with labels changed and images left out, one correction after another.

    Of data without any labels, images that get none are left out. fewest: images of a species, below which it is left
    out. Raises DataError that names the images which are not there, or have another label than the correction says.
    """
    paths, labels = manifest.table["path"].to_list(), [each or "" for each in manifest.table["label"]]
    rows, kept = defaultdict(list), [True] * len(paths)
    for row, path in enumerate(paths):
        rows[path].append(row)
    gone, other = [], []
    for each in corrections:
        if each.decision not in (*RELABELS, "out"):
            continue
        there = [row for row in rows.get(each.path, ()) if kept[row]]
        meant = [row for row in there if labels[row] == each.before]
        if not there:
            gone.append(each.path)
        elif not meant:
            other.append(f"{each.path} ({labels[there[0]] or 'without a label'}, not {each.before or 'without one'})")
        for row in meant:
            kept[row] = each.decision != "out"
            labels[row] = each.label or labels[row]
    _refuse(manifest, gone, other)
    return _with(manifest, labels, kept, fewest)


def _refuse(manifest: Manifest, gone: list[str], other: list[str]) -> None:
    kinds = {"not there": gone, "with another label": other}
    problems = [f"{len(names)} {kind}: {name_some(names)}" for kind, names in kinds.items() if names]
    if problems:
        raise DataError(
            f"the corrections do not fit the images in {manifest.root}, {'; '.join(problems)}. They were made for "
            "other data, or the data were changed since: remove these rows, or load the data they were made for."
        )


def _with(manifest: Manifest, labels: list[str], kept: list[bool], fewest: int) -> Manifest:
    """Return the manifest with these labels and rows, and a sentence on what that changed."""
    before = manifest.table["label"].fill_null("").to_list()
    used = [row for row, keep in enumerate(kept) if keep and (labels[row] or manifest.labelled)]
    changed, now = sum(labels[row] != before[row] for row in used), {labels[row] for row in used} - {""}
    new, lost, unnamed = now - set(before), set(before) - now - {""}, sum(kept) - len(used)
    told = [f"{_plural(changed, 'label')} changed", f"{_plural(kept.count(False), 'image')} left out"]
    told += [f"{len(new)} new species ({name_some(sorted(new))})"] * bool(new)
    told += [f"{len(lost)} species without an image now ({name_some(sorted(lost))})"] * bool(lost)
    told += [f"{_plural(unnamed, 'image')} without a label left out"] * bool(unnamed)
    table = manifest.table.with_columns(pl.Series("label", labels, pl.String).replace("", None))[used]
    return manifest.corrected(table, ", ".join(told), fewest)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
