"""Warnings of a sound run: each names something that is meant to be so, and would only alarm."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def expected_warnings() -> Iterator[None]:
    """Keep Lightning's warnings about choices of ours, and about its own calls into torch, from being printed."""
    with warnings.catch_warnings():
        # batch norms stay in eval mode to keep their pretrained statistics: model.freeze_norms
        warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
        # one core a decoder is a choice: loader.workers
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        # a resumed run goes on in its own directory
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        # Lightning asks torch in a form that torch 2.10 and later no longer like
        warnings.filterwarnings(
            "ignore",
            message=r"`isinstance\(treespec, LeafSpec\)` is deprecated",
            category=FutureWarning,
            module=r"pytorch_lightning\.utilities\._pytree",
        )
        yield
