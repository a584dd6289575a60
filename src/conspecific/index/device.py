"""Exact search by matrix products on a device of torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from conspecific.index.gallery import block_slices
from conspecific.types import FloatArray, IntArray, Similarity


def nearest_on_device(
    queries: FloatArray, gallery: FloatArray, k: int, metric: Similarity, device: torch.device
) -> tuple[FloatArray, IntArray]:
    """Return the scores, descending, and the gallery rows of the k nearest of each query: both [Q, k].

    queries, gallery: [Q, D] and [N, D], k <= N, as `gallery.prepared` returns them. The products are float32, never
    TF32; a block of scores takes at most 256 MB of the device, beside the queries and the gallery.
    """
    scores = np.empty((len(queries), k), np.float32)
    columns = np.empty((len(queries), k), np.int64)
    images = torch.from_numpy(gallery).to(device)
    with full_precision():
        for rows in block_slices(len(queries), 4 * len(images)):
            found = _scores(torch.from_numpy(queries[rows]).to(device), images, metric).topk(k)
            scores[rows], columns[rows] = found.values.cpu().numpy(), found.indices.cpu().numpy()
    return scores, columns


def _scores(queries: Tensor, gallery: Tensor, metric: Similarity) -> Tensor:
    """[Q, N], higher is nearer."""
    scores = queries @ gallery.T
    if metric == "l2":
        scores.mul_(2).sub_(queries.square().sum(1, keepdim=True)).sub_(gallery.square().sum(1)).clamp_(max=0)
    return scores


@contextmanager
def full_precision() -> Iterator[None]:
    """Multiply float32 matrices in float32: TF32 has 10 bits, and its scores are wrong in the fourth digit."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
