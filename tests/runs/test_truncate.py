"""Truncated embeddings: only those of a head, and not more dimensions than it has."""

from types import SimpleNamespace
from typing import Any

import pytest

from conspecific.errors import ConfigError
from conspecific.models import build_embedder, pooled_reference
from conspecific.runs import open as module


def opened(truncate: int | None, **options: Any) -> Any:
    """What `_truncated` reads of an opened run."""
    embedder = build_embedder("test_resnet", "none", head="linear", dimensions=8, **options)
    return SimpleNamespace(config=SimpleNamespace(truncate=truncate), embedder=embedder, image_size=32)


def test_embeddings_of_the_layer_below_the_head_are_not_truncated() -> None:
    with pytest.raises(ConfigError, match=r"truncate=4 needs embeddings of the head.* model\.embedding_layer=pooled"):
        module._truncated(opened(4, embedding_layer="pooled"))
    assert module._truncated(opened(None, embedding_layer="pooled")).embedder.truncate is None


def test_a_run_that_kept_the_pooled_reference_has_no_head_to_truncate() -> None:
    run = opened(4)
    run.embedder = pooled_reference(run.embedder.backbone)
    with pytest.raises(
        ConfigError, match=r"truncate=4 needs embeddings of the head.* no head, as the pooled reference"
    ):
        module._truncated(run)


@pytest.mark.parametrize("truncate", [0, 9])
def test_there_are_no_more_dimensions_than_the_head_has(truncate: int) -> None:
    with pytest.raises(ConfigError, match=rf"truncate must be 1 to 8, .* found {truncate}"):
        module._truncated(opened(truncate))
    assert module._truncated(opened(8)).embedder.truncate == 8
