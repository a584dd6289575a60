"""conspecific embed shard=1/2 and conspecific merge, as several processes would run them."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from conspecific.runs.directory import RunDirectory

Command = Callable[..., CompletedProcess[str]]


def test_parts_give_what_one_process_gives(conspecific: Command, run: RunDirectory) -> None:
    for shard in ("2/2", "1/2", "1/2"):
        done = conspecific("embed", run.path, "output=parted", f"shard={shard}")
        assert (done.returncode, done.stderr) == (0, "")
    assert "Part 1 of 2: 24 embeddings in parted.parts" in done.stdout
    assert "Next, once all parts are there: conspecific merge parted" in done.stdout
    merged = conspecific("merge", "parted")
    assert (merged.returncode, merged.stderr) == (0, "")
    assert "48 embeddings of " in merged.stdout
    assert conspecific("embed", run.path, "output=whole").returncode == 0
    found, expected = (np.load(Path(folder) / "vectors.npy") for folder in ("parted", "whole"))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    again = conspecific("embed", run.path, "output=parted")  # it takes them for its own
    assert again.returncode == 0 and np.array_equal(np.load(Path("parted") / "vectors.npy"), found)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["embed", "RUN", "shard=1/2"], "shard=1/2 needs the folder that all parts are for: output=FOLDER"),
        (["embed", "RUN", "output=out", "shard=3/2"], "from 1/100 to 100/100; found 3/2"),
        (["embed", "RUN", "output=out", "shard=1/2", "store=parquet"], "store=parquet is for all embeddings"),
        (["merge"], "name the folder that the parts were made for: conspecific merge OUT"),
        (["merge", "nothing"], "nothing.parts holds no part"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], told: str, conspecific: Command) -> None:
    done = conspecific(*arguments)
    assert done.returncode == 2 and told in done.stderr
