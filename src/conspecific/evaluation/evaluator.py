"""One evaluation set-up for the baseline, every epoch and the final test: the same images, size and device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import torch
from rich.console import Console

from conspecific.config.choices import ScoredSubset, check_choice
from conspecific.data.dataset import EvaluationImages
from conspecific.data.manifest import Manifest
from conspecific.data.splits import Splits, Subset
from conspecific.evaluation.embed import Activations, embed, frozen_activations, has_room
from conspecific.evaluation.evaluate import evaluate
from conspecific.metrics import KS
from conspecific.models import Backbone, Embedder
from conspecific.progress import progress_bar
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, IntArray


@dataclass(frozen=True)
class Evaluator:
    """Embeds and scores the subsets of one manifest.

    fingerprint: the manifest's, see `data.check.check_manifest`. image_size: side in pixels. workers: decoding threads.
    activations: subset -> activations of its images behind the frozen stages, if they were computed in advance.
    ks: cut-offs of recall, see `metrics.metric_names`.
    """

    manifest: Manifest
    splits: Splits
    fingerprint: str
    image_size: int
    workers: int
    device: torch.device
    console: Console
    activations: Mapping[str, FloatArray] = field(default_factory=dict)
    ks: Sequence[int] = KS

    def subset(self, name: str) -> Subset:
        """The subset called `val` or `test`."""
        check_choice("subset", name, get_args(ScoredSubset))
        found: Subset = getattr(self.splits, name)
        return found

    def encoded_once(self, backbone: Backbone, name: str) -> "Evaluator":
        """Return this evaluator with the activations of a subset behind the frozen stages, computed once.

        name: train, val or test. The result is for embedders whose frozen stages are those of this backbone. If the
        backbone cannot be split, or the activations do not fit on the disk, the evaluator is returned as it is.
        """
        if not backbone.is_split:
            return self
        ids = self.splits.train if name == "train" else self.subset(name).ids
        bytes_needed = 4 * len(ids) * backbone.activation_size(self.image_size)
        if not has_room(bytes_needed):
            self.console.print(
                f"The {name} images are encoded every time: their activations would take {bytes_needed / 1e9:.1f} GB.",
                soft_wrap=True,
                highlight=False,
            )
            return self
        found = frozen_activations(
            backbone,
            EvaluationImages(self.manifest, ids, self.image_size),
            workers=self.workers,
            device=self.device,
            title=f"Encoding {name} once",
            console=self.console,
        )
        return replace(self, activations={**self.activations, name: found})

    def embed(
        self, embedders: Mapping[str, Embedder], ids: IntArray, title: str, activations: Activations | None = None
    ) -> dict[str, EmbeddingSet]:
        """Embed images with embedders that share a backbone, from the activations of its frozen stages if given."""
        images = EvaluationImages(self.manifest, ids, self.image_size)
        found = embed(
            list(embedders.values()),
            images,
            workers=self.workers,
            device=self.device,
            title=title,
            console=self.console,
            activations=activations,
        )
        return dict(zip(embedders, found, strict=True))

    def embed_training(self, embedder: Embedder, title: str) -> EmbeddingSet:
        """Embed the training images, cropped as in evaluation."""
        return self.embed({"train": embedder}, self.splits.train, title, self.activations.get("train"))["train"]

    def score(self, embedders: Mapping[str, Embedder], subset: str, title: str) -> dict[str, EvalResult]:
        """Embed a subset once and score it under each embedder."""
        ids = self.subset(subset)
        facts = {"subset": subset, "protocol": self.splits.protocol, "image_size": self.image_size}
        found = self.embed(embedders, ids.ids, title, self.activations.get(subset))
        with progress_bar(self.console) as progress:
            return {
                name: evaluate(found[name], ids, self.manifest, embedder.metric, {"name": name, **facts}, self.ks)
                for name, embedder in progress.track(embedders.items(), description="Searching")
            }
