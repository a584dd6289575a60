"""Conspecific: fine-tuned image-retrieval embeddings, measured every epoch against the baseline they started from."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("conspecific")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0+source"
