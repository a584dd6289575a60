"""Search galleries of embeddings and of hashes; the only package that imports faiss."""

from conspecific.index.hashes import near_hashes
from conspecific.index.searcher import Searcher

__all__ = ["Searcher", "near_hashes"]
