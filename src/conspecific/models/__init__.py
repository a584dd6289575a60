"""Embedders: a pretrained backbone, a pooling, a head."""

from conspecific.models.allocator import keep_freed_memory
from conspecific.models.backbone import Backbone, FrozenStages
from conspecific.models.embedder import Embedder, build_embedder, flatten_baseline, pooled_reference

__all__ = [
    "Backbone",
    "Embedder",
    "FrozenStages",
    "build_embedder",
    "flatten_baseline",
    "keep_freed_memory",
    "pooled_reference",
]
