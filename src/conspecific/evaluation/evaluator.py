"""One evaluation set-up for the baseline, every epoch and the final test: the same images, size and device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np
import torch
from rich.console import Console
from torch import nn

from conspecific.config.choices import ScoredSubset, check_choice
from conspecific.data.dataset import EvaluationImages
from conspecific.data.manifest import Manifest
from conspecific.data.splits import Splits, Subset
from conspecific.encoding import Encoder, Encoders, torch_encoder
from conspecific.encoding.encoders import digest
from conspecific.evaluation.embed import Activations, embed, frozen_activations, has_room
from conspecific.evaluation.evaluate import evaluate
from conspecific.metrics import KS
from conspecific.models import Backbone, Embedder, FrozenStages, pooled_reference
from conspecific.progress import Phases, progress_bar
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, IntArray

MOST_MOVED = 0.002  # of recall@1 and map@r, by a reduced precision


@dataclass(frozen=True)
class FrozenEncoder:
    """The encoder of a backbone's frozen stages, and the hash of these stages."""

    encoder: Encoder
    digest: str


@dataclass(frozen=True)
class Evaluator:
    """Embeds and scores the subsets of one manifest.

    fingerprint: the manifest's, see `data.check.check_manifest`. image_size: side in pixels. workers: decoding threads.
    activations: subset -> activations of its images behind the frozen stages, if they were computed in advance.
    ks: cut-offs of recall, see `metrics.metric_names`. encoders: how networks are run. frozen: what computed the
    activations. phases: where the time goes, `encoding` and `scoring` among others.
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
    encoders: Encoders = field(default_factory=Encoders)
    frozen: FrozenEncoder | None = None
    phases: Phases = field(default_factory=Phases)

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
        if not backbone.is_split or self.has_activations(backbone, name):
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
        with self.phases.measure("encoding"):
            stages = digest(FrozenStages(backbone))
            known = self.frozen if self.frozen and self.frozen.digest == stages else None
            frozen = known or FrozenEncoder(self._frozen_encoder(backbone), stages)
            found = self._activations(frozen.encoder, ids, f"Encoding {name} once")
        before = self.activations if known else {}
        return replace(self, activations={**before, name: found}, frozen=frozen)

    def _activations(self, encoder: Encoder, ids: IntArray, title: str) -> FloatArray:
        images = EvaluationImages(self.manifest, ids, self.image_size)
        return frozen_activations(encoder, images, workers=self.workers, title=title, console=self.console)

    def _frozen_encoder(self, backbone: Backbone) -> Encoder:
        """Return the encoder of the frozen stages: bfloat16 where the processor has it and scores stay as they are."""
        network = FrozenStages(backbone)
        found = self.encoder(network, reduced=True)
        if found.precision == "float32" or self.encoders.precision != "auto":
            return found
        exact = self.encoder(network)
        moved = self._moved(backbone, exact, found)
        if not moved:
            return found
        told = ", ".join(f"{name} by {by:+.4f}" for name, by in moved.items())
        self.encoders.say(f"{found} is not used: it moves the pooled reference's {told} on validation.")
        return exact

    def _moved(self, backbone: Backbone, exact: Encoder, reduced: Encoder) -> dict[str, float]:
        """Return by how much a reduced precision moves the pooled reference on validation, where it is too much."""
        subset, reference = self.splits.val, pooled_reference(backbone)
        metrics = []
        for encoder in (exact, reduced):
            activations = self._activations(encoder, subset.ids, f"Comparing precisions: {encoder}")
            found = self.embed({"pooled": reference}, subset.ids, "Comparing precisions", activations)["pooled"]
            metrics.append(evaluate(found, subset, self.manifest, reference.metric, {}, self.ks).metrics)
        changes = {name: metrics[1][name] - metrics[0][name] for name in ("recall@1", "map@r")}
        return {name: by for name, by in changes.items() if abs(by) > MOST_MOVED}

    def has_activations(self, backbone: Backbone, name: str) -> bool:
        """Whether there are activations of a subset, of the frozen stages that this backbone has."""
        return (
            name in self.activations
            and self.frozen is not None
            and backbone.is_split
            and self.frozen.digest == digest(FrozenStages(backbone))
        )

    def precision(self, subset: str) -> str:
        """Return the precision that a subset is encoded in: float32 or bfloat16."""
        if self.frozen is not None and subset in self.activations:
            return self.frozen.encoder.precision
        return "bfloat16" if self.encoders.precision == "bfloat16" else "float32"

    def encoder(self, network: nn.Module, *, reduced: bool = False) -> Encoder:
        """Return the encoder of a network whose weights stay as they are, on the device and in evaluation mode.

        reduced: whether encode.precision=auto may be bfloat16.
        """
        images = EvaluationImages(self.manifest, np.arange(len(self.manifest)), self.image_size)
        return self.encoders.open(network.eval().to(self.device), images.sample, len(images), reduced=reduced)

    def embed(
        self,
        embedders: Mapping[str, Embedder],
        ids: IntArray,
        title: str,
        activations: Activations | None = None,
        encoder: Encoder | None = None,
    ) -> dict[str, EmbeddingSet]:
        """Embed images with embedders that share a backbone.

        activations: of its frozen stages for these images. encoder: of the whole backbone; torch where None.
        """
        images = EvaluationImages(self.manifest, ids, self.image_size)
        with self.phases.measure("encoding"):
            found = embed(
                list(embedders.values()),
                images,
                workers=self.workers,
                device=self.device,
                title=title,
                console=self.console,
                activations=activations,
                encoder=encoder,
            )
        return dict(zip(embedders, found, strict=True))

    def embed_training(self, embedder: Embedder, title: str) -> EmbeddingSet:
        """Embed the training images, cropped as in evaluation."""
        return self.embed({"train": embedder}, self.splits.train, title, self.activations.get("train"))["train"]

    def score(
        self, embedders: Mapping[str, Embedder], subset: str, title: str, encoder: Encoder | None = None
    ) -> dict[str, EvalResult]:
        """Embed a subset once and score it under each embedder.

        encoder: of the backbone that the embedders share; activations of the subset are not used then.
        """
        ids = self.subset(subset)
        facts = {"subset": subset, "protocol": self.splits.protocol, "image_size": self.image_size}
        activations = self.activations.get(subset) if encoder is None else None
        if encoder is None and activations is None and self.precision(subset) == "bfloat16":
            encoder = torch_encoder(next(iter(embedders.values())).backbone, self.device, "bfloat16")
        used = self.frozen.encoder if activations is not None and self.frozen else encoder
        facts["encoder"] = str(used) if used else "torch, float32"
        found = self.embed(embedders, ids.ids, title, activations, encoder)
        with self.phases.measure("scoring"), progress_bar(self.console) as progress:
            return {
                name: evaluate(found[name], ids, self.manifest, embedder.metric, {"name": name, **facts}, self.ks)
                for name, embedder in progress.track(embedders.items(), description="Searching")
            }
