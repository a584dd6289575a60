"""Files of a run that are damaged, or made to do damage, are refused in a sentence by whatever reads them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conspecific.errors import ConspecificError, RunError
from conspecific.parquet import write_parquet
from conspecific.reading import CHECKSUM, MOST_JSON, read_json
from conspecific.runs.groups import compare_runs
from conspecific.runs.overview import read_overview
from conspecific.runs.record import read_record
from conspecific.runs.tested import read_run
from conspecific.types import EvalResult

from .conftest import MakeRun

JUNK: list[Any] = [None, True, -1, 1.5, 10**30, float("nan"), "", "x\x1b[2J", [], [1], {}, {"a": 1}]
FILES = ("summary.json", "environment.json", "results/test_model.json", "results/test_pooled.json", "config.yaml")
TABLES = ("splits.parquet", "results/test_model.parquet")


def places(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in plain containers."""
    for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield (*above, key)
        yield from places(tree[key], (*above, key))


def with_junk(text: str, number: int, junk: Any) -> str:
    """JSON with one value replaced, and without a checksum, which who does it on purpose would make anew."""
    tree = json.loads(text)
    tree.pop(CHECKSUM, None)
    *above, last = (found := list(places(tree)))[number % len(found)]
    node = tree
    for key in above:
        node = node[key]
    node[last] = junk
    return json.dumps(tree)


def read_everything(run: Path, other: Path) -> None:
    read_overview(run.parent)
    compare_runs([read_run(other), read_run(run)]).to_json()


@given(st.sampled_from((*FILES, *TABLES)), st.integers(0, 10**4), st.sampled_from(JUNK), st.booleans())
@settings(max_examples=25, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_it_is_read_or_refused(
    two_runs: tuple[Path, Path], name: str, number: int, junk: Any, flip: bool
) -> None:
    run, other = two_runs
    file = run / name
    whole = file.read_bytes()
    try:
        if flip or not name.endswith(".json"):
            damaged = bytearray(whole)
            damaged[number % len(damaged)] ^= 1 << number % 8
            file.write_bytes(damaged)
        else:
            file.write_text(with_junk(whole.decode(), number, junk))
        read_everything(run, other)
    except ConspecificError as error:
        assert str(run) in str(error) or str(file) in str(error)
    finally:
        file.write_bytes(whole)


@pytest.fixture
def two_runs(make_run: MakeRun) -> tuple[Path, Path]:
    runs = make_run("damaged", [0.2, 0.4]), make_run("other", [0.3, 0.5], "seed=1")
    read_everything(*runs)
    return runs


@pytest.mark.parametrize("name", [*TABLES, "leaks.parquet", *FILES[:-1], "epochs.jsonl"])
def test_a_file_that_stands_for_very_much_is_refused(name: str, two_runs: tuple[Path, Path]) -> None:
    run, other = two_runs
    if name == "leaks.parquet":
        (run / "leaks.json").write_text('{"inside": 0, "compared": 1, "blank": 0, "species": [], "synonyms": []}')
    if name.endswith(".parquet"):
        pl.DataFrame({"content": pl.repeat(True, 2**24, eager=True)}).write_parquet(run / name)
    else:
        (run / name).write_text("0" * (MOST_JSON + 1))
    with pytest.raises(RunError, match=f"{run / Path(name).with_suffix('')}.*(stand for|Larger than 16 MiB)"):
        read_record(run)
        compare_runs([read_run(other), read_run(run)]).to_json()


@pytest.mark.parametrize("name", TABLES)
def test_a_flipped_bit_of_a_table_is_noticed(name: str, two_runs: tuple[Path, Path]) -> None:
    file = two_runs[0] / name
    write_parquet(pl.read_parquet(file), file)
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match="it was changed: its checksum differs"):
        read_everything(*two_runs)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metrics": {"recall@1": "high"}}, "its metrics are not all numbers"),
        ({"metrics": 3}, "its metrics are not all numbers"),
        ({"facts": "none"}, "its facts are no mapping"),
        ({"facts": {"gallery": "many"}}, "its gallery is 'many'"),
        ({"facts": {"protocol": ["seen"]}}, "its protocol is ['seen']"),
    ],
)
def test_a_result_of_other_types_is_refused(change: dict[str, Any], told: str, two_runs: tuple[Path, Path]) -> None:
    stem = two_runs[0] / "results" / "test_model"
    file = Path(f"{stem}.json")
    file.write_text(json.dumps({**read_json(file), **change}))
    with pytest.raises(RunError) as caught:
        EvalResult.load(stem)
    assert str(caught.value).startswith(f"{stem}.json / .parquet is not a stored evaluation result: {told}")
