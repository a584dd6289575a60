"""Fixtures of the pages: made-up runs, comparisons and leak checks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from conspecific.leaks.record import PAIRS, Leaks
from conspecific.reporting.run.subject import Subject

from .comparisons import data_root, make_comparison
from .subjects import SPECIES, MakeSubject, make_subject

MakeLeaks = Callable[..., Leaks]

__all__ = ["data_root", "make_comparison"]  # fixtures


@pytest.fixture
def make_leaks() -> MakeLeaks:
    """Return a function that makes the result of a leak check from pairs of paths of `build_result`.

    The first is a near duplicate in the train split of the second, a test query; a pair can change its columns:
    make_leaks(("Species_A/0.jpg", "Species_A/3.jpg", {"kind": "exact"}), inside=2).
    """

    def make(*pairs: tuple[str, str, dict[str, object]], **found: Any) -> Leaks:
        rows = []
        for first, second, changed in pairs:
            sides = {"first": (first, "train"), "second": (second, "test")}
            row: dict[str, object] = {"kind": "near", "view": "same", "similarity": 0.987}
            for side, (path, subset) in sides.items():
                label, _, name = path.partition("/")
                number = int(name.removesuffix(".jpg")) + (1000 if subset == "train" else 0)
                row |= {f"{side}_path": path, f"{side}_label": label, f"{side}_id": number, f"{side}_subset": subset}
            rows.append(row | changed)
        nothing: dict[str, Any] = {"inside": 0, "species": (), "compared": 240, "blank": 0}
        return Leaks(pairs=pl.DataFrame(rows, schema=PAIRS), **(nothing | found))

    return make


@pytest.fixture
def make_run(tmp_path: Path) -> MakeSubject:
    """Return a function that makes a run with the named species, trained or not."""

    def make(species: list[str] | None = None, trained: bool = True) -> Subject:
        return make_subject(tmp_path, tuple(species or SPECIES), trained)

    return make
