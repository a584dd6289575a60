"""How near an exported network comes to torch, measured on images of the run."""

import copy
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conspecific.data.dataset import EvaluationImages, evenly_spaced
from conspecific.data.splits import Subset
from conspecific.encoding import Encoder
from conspecific.encoding.encoder import LEAST_COSINE, images_per_second
from conspecific.errors import RunError
from conspecific.evaluation import Evaluator
from conspecific.evaluation.evaluate import evaluate
from conspecific.exporting.network import ExportedNetwork, Run
from conspecific.models.encode import decoded
from conspecific.progress import progress_bar
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, IntArray

BATCH, NOISE = 32, 16  # images in a batch; random images where there are none of the run
LEAST_INT8 = 0.9  # mean cosine, below which rounding has ruined the network
METRICS = ("recall@1", "map@r")


@dataclass(frozen=True)
class Parity:
    """The embeddings of an exported network beside those of torch in float32.

    images: how many were compared, of `available` test images; of random noise where `available` is 0.
    cosine_mean, cosine_lowest: between the two embeddings of an image. torch, exported: images per second, and scores
    of a search among the compared images; no scores where they hold no two images of a species. same_first_answer: the
    share of queries with the same nearest image, None likewise.
    """

    images: int
    available: int
    cosine_mean: float
    cosine_lowest: float
    torch: dict[str, float]
    exported: dict[str, float]
    same_first_answer: float | None = None
    results: tuple[EvalResult, EvalResult] | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the results of single queries."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "results"}

    def __str__(self) -> str:
        among = (
            f"{self.images:,} of {self.available:,} test images" if self.available else f"{self.images} noise images"
        )
        told = [f"cosine to torch on {among}: mean {self.cosine_mean:.5f}, lowest {self.cosine_lowest:.5f}"]
        told += [
            f"{name} {self.torch[name]:.4f} -> {self.exported[name]:.4f}" for name in METRICS if name in self.torch
        ]
        if self.same_first_answer is not None:
            told.append(f"the same first answer for {100 * self.same_first_answer:.1f} % of the queries")
        speeds = self.exported["images_per_second"], self.torch["images_per_second"]
        return f"{'; '.join(told)}; {speeds[0]:.0f} images/s (torch {speeds[1]:.0f})"

    def require_equal(self, int8: bool) -> None:
        """Raise RunError where an export is not the network of torch: by its lowest cosine in float32, its mean cosine
        in int8."""
        found, least = (self.cosine_mean, LEAST_INT8) if int8 else (self.cosine_lowest, LEAST_COSINE["float32"])
        if not found >= least:  # NaN too
            raise RunError(
                f"the exported network is not that of torch: the {'mean' if int8 else 'lowest'} cosine between their "
                f"embeddings is {found:.5f}, and {least} is needed. Nothing was written: "
                f"{'leave out int8=true' if int8 else 'try another format'}"
            )


def measure(network: ExportedNetwork, run: Run, evaluator: Evaluator | None, most: int) -> Parity:
    """Embed test images by torch and by the exported network, and score both.

    run: the exported network. evaluator: of the run's images; None compares on noise. most: number of images, evenly
    spaced over the species where there are more.
    """
    reference = _torch(network, torch.device("cpu") if evaluator is None else evaluator.device)
    networks: tuple[Run, Run] = reference, lambda pixels: run(network.prepared(pixels))
    sample = network.noise(NOISE)
    if evaluator is None:
        return _parity([each(sample).numpy() for each in networks], networks, sample, 0)
    subset = evaluator.subset("test")
    chosen = spread(subset.ids, evaluator.manifest.labels, most)
    images = EvaluationImages(evaluator.manifest, chosen, network.image_size)
    blocks: list[list[FloatArray]] = [[], []]
    with progress_bar(evaluator.console) as bar:
        task = bar.add_task("Comparing with torch", total=len(images))
        for batch in decoded(range(len(images)), lambda place: images[place]["image"], BATCH, evaluator.workers):
            for found, each in zip(blocks, networks, strict=True):
                found.append(each(batch).numpy())
            bar.advance(task, len(batch))
    vectors = [np.concatenate(found) for found in blocks]
    part = Subset(np.intersect1d(subset.query, chosen), np.intersect1d(subset.gallery, chosen))
    results = _scored(vectors, part, evaluator, network)
    return _parity(vectors, networks, images.sample(NOISE), len(subset.ids), results)


def _torch(network: ExportedNetwork, device: torch.device) -> Run:
    """Return the network as torch runs it on a device, from pixels to embeddings on the CPU."""
    moved = copy.deepcopy(network).to(device)

    def run(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Tensor = moved(network.prepared(pixels).to(device))
            return found.cpu()

    return run


def spread(ids: IntArray, labels: IntArray, most: int) -> IntArray:
    """Return at most so many ids, ascending, evenly spaced in the order of their species."""
    return np.sort(ids[np.argsort(labels[ids], kind="stable")][evenly_spaced(len(ids), most)])


def _scored(
    vectors: list[FloatArray], part: Subset, evaluator: Evaluator, network: ExportedNetwork
) -> tuple[EvalResult, EvalResult] | None:
    """Return the results of torch and of the exported network; None where no query has a positive."""
    labels = evaluator.manifest.labels
    if not part.count_positives(labels).any():
        return None
    facts, metric = {"protocol": evaluator.splits.protocol}, network.embedder.metric
    sets = [EmbeddingSet(each, part.ids, labels[part.ids]) for each in vectors]
    first, second = (evaluate(each, part, evaluator.manifest, metric, facts, evaluator.ks) for each in sets)
    return first, second


def _parity(
    vectors: list[FloatArray],
    networks: tuple[Run, Run],
    sample: Tensor,
    available: int,
    results: tuple[EvalResult, EvalResult] | None = None,
) -> Parity:
    first, second = (each.astype(np.float64) for each in vectors)
    cosines = (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    told = [{"images_per_second": images_per_second(Encoder("", "", each), sample)} for each in networks]
    same = None
    if results is not None:
        for found, result in zip(told, results, strict=True):
            found |= {name: result.metrics[name] for name in METRICS}
        nearest = [result.per_query["neighbor_ids"].list.first().to_numpy() for result in results]
        same = float(np.mean(nearest[0] == nearest[1]))
    return Parity(len(first), available, float(cosines.mean()), float(cosines.min()), told[0], told[1], same, results)
