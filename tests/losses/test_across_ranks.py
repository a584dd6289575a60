"""Two ranks with half a batch each do what one process does with the whole batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from . import ranks

Found = dict[str, dict[str, list[Tensor]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    """What each of the ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    commands = [[sys.executable, ranks.__file__, str(rank), str(folder)] for rank in range(len(ranks.SIZES))]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    try:
        errors = [process.communicate(timeout=180)[1] for process in started]
    finally:
        for process in started:  # one that is left alone would wait for the others
            process.kill()
    assert [process.returncode for process in started] == [0] * len(started), "\n".join(errors)
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(len(started))]


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", ["whole", "embedder"])
@pytest.mark.parametrize("name", ranks.MAKERS)
def test_losses_gradients_and_memory_are_those_of_one_process(name: str, wrapped: str, found: list[Found]) -> None:
    whole = ranks.Whole(name)
    alone = ranks.steps(whole, whole, rank=None)
    assert len(alone) == ranks.STEPS + len(list(whole.parameters())) + len(list(whole.buffers()))
    assert all(gradient.any() for gradient in alone[ranks.STEPS :])
    for rank in found:
        assert len(rank[name][wrapped]) == len(alone)
        for one, many in zip(alone, rank[name][wrapped], strict=True):
            torch.testing.assert_close(many, one, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_every_rank_remembers_the_same_in_the_same_order(found: list[Found]) -> None:
    first, second = (rank["memory"]["whole"] for rank in found)
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    written = [int(tensor) for tensor in first if tensor.dtype == torch.int64 and tensor.ndim == 0]
    assert written == [ranks.STEPS * sum(ranks.SIZES)]
