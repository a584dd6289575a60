"""The settings in which the groups differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conspecific.reporting.page.wording import DASH
from conspecific.runs.groups import Comparison

SIDE_BY_SIDE = 4  # groups that fit as columns; more groups are rows


@dataclass(frozen=True, slots=True)
class Setting:
    """One cell. differs: whether the value is another than that of the first group."""

    value: str
    differs: bool


@dataclass(frozen=True, slots=True)
class SettingsTable:
    """Settings and groups, one in columns and the other in rows. rows: name of the row, and a cell for each column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Setting, ...]], ...]
    has_group_columns: bool


def settings_table(found: Comparison) -> SettingsTable:
    """Return the settings that differ; groups are columns, or rows where there are more groups than settings."""
    letters = tuple(group.letter for group in found.groups)
    rows = tuple((name, _cells(values)) for name, values in found.settings.items())
    if len(letters) <= max(SIDE_BY_SIDE, len(rows)):
        return SettingsTable(letters, rows, has_group_columns=True)
    turned = zip(*(cells for _, cells in rows), strict=True)
    names = tuple(name for name, _ in rows)
    return SettingsTable(names, tuple(zip(letters, turned, strict=False)), has_group_columns=False)


def _cells(values: Sequence[Any]) -> tuple[Setting, ...]:
    texts = written(values)
    return tuple(Setting(text, text != texts[0]) for text in texts)


def written(values: Sequence[Any]) -> list[str]:
    """Return values as on the command line, dotted names by their last part where that is unique."""
    texts = [_plain(value) for value in values]
    short = [
        text.rpartition(".")[2] if all(part.isidentifier() for part in text.split(".")) else text for text in texts
    ]
    return short if len(set(short)) == len(set(texts)) else texts


def _plain(value: Any) -> str:
    return DASH if value is None else str(value).lower() if isinstance(value, bool) else str(value)
