"""Search galleries of embeddings and of hashes; the only package that imports faiss."""

from conspecific.index.approximate import AnySearcher, make_searcher
from conspecific.index.gallery_index import Index
from conspecific.index.hashes import near_hashes
from conspecific.index.searcher import GallerySearcher, Searcher

__all__ = ["AnySearcher", "GallerySearcher", "Index", "Searcher", "make_searcher", "near_hashes"]
