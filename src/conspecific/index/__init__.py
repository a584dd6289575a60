"""Searching galleries of embeddings; the only package that knows faiss."""

from conspecific.index.searcher import Searcher

__all__ = ["Searcher"]
