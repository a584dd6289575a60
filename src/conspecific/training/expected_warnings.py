"""Warnings that are expected in a correct run and would only confuse its user."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def expected_warnings() -> Iterator[None]:
    """Suppress Lightning's warnings about choices of this package and about its own calls into torch."""
    with warnings.catch_warnings():
        # batch norms stay in eval mode to keep their pretrained statistics: model.freeze_norms
        warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
        # the number of workers is a choice: loader.workers
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        # a resumed run continues in its own directory
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        # Lightning calls torch in a way that torch 2.10 deprecates
        warnings.filterwarnings(
            "ignore",
            message=r"`isinstance\(treespec, LeafSpec\)` is deprecated",
            category=FutureWarning,
            module=r"pytorch_lightning\.utilities\._pytree",
        )
        yield
