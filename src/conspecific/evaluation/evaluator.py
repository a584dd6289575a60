"""One evaluation set-up for the baseline, every epoch and the final test: the same images, size and device."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from rich.console import Console
from torch import nn

from conspecific.config.choices import ScoredSubset, check_choice
from conspecific.config.refine import RefineConfig
from conspecific.data.dataset import EvaluationImages
from conspecific.data.manifest import Manifest
from conspecific.data.splits import Splits, Subset
from conspecific.encoding import Encoder, Encoders, KeptActivations, Rows, torch_encoder
from conspecific.encoding.encoders import digest
from conspecific.encoding.machine import versions
from conspecific.errors import DataError
from conspecific.evaluation.embed import Activations, embed, frozen_activations
from conspecific.evaluation.evaluate import evaluate
from conspecific.evaluation.frozen import VERSION, FrozenActivations, FrozenEncoder, group_name
from conspecific.evaluation.refined import evaluate_refined
from conspecific.files import cache_key, write_json
from conspecific.metrics import KS
from conspecific.models import Backbone, Embedder, FrozenStages, pooled_reference
from conspecific.progress import Phases, progress_bar
from conspecific.types import EmbeddingSet, EvalResult, FloatArray, IntArray, Similarity

MOST_MOVED = 0.002  # of recall@1 and map@r, by a reduced precision


@dataclass(frozen=True)
class Evaluator:
    """Embeds and scores the subsets of one manifest.

    fingerprint: the manifest's, see `data.check.check_manifest`. image_size: side in pixels. workers: decoding threads.
    activations: subset -> activations of its images behind the frozen stages, if they were computed in advance.
    ks: cut-offs of recall, see `metrics.metric_names`. encoders: how networks are run. frozen: what computes
    activations. phases: where the time goes, `encoding` and `scoring` among others. kept: activations of earlier runs.
    contents: a hash of the content of each image, by which `kept` knows it; empty: nothing is found by content.
    exclude_group: whether a query's group is left out of its answers.
    """

    manifest: Manifest
    splits: Splits
    fingerprint: str
    image_size: int
    workers: int
    device: torch.device
    console: Console
    activations: Mapping[str, FrozenActivations] = field(default_factory=dict)
    ks: Sequence[int] = KS
    encoders: Encoders = field(default_factory=Encoders)
    frozen: FrozenEncoder | None = None
    phases: Phases = field(default_factory=Phases)
    kept: KeptActivations = field(default_factory=KeptActivations)
    contents: Sequence[str] = ()
    exclude_group: bool = False

    def __post_init__(self) -> None:
        if self.exclude_group and not self.manifest.grouped:
            raise DataError(
                "exclude_group=true, but no image has a group: give a table with a column group (data=manifest), or "
                "data.group_level=1 for folders below the species"
            )

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
        with self.phases.measure("encoding"):
            stages = digest(FrozenStages(backbone))
            frozen = self.frozen if self.frozen and self.frozen.stages == stages else None
            found = self._found(stages, ids)
            if found is None:
                bytes_needed = 4 * len(ids) * backbone.activation_size(self.image_size)
                if bytes_needed > self.kept.room():
                    self.console.print(
                        f"The {name} images are encoded every time: their activations would take "
                        f"{bytes_needed / 1e9:.1f} GB.",
                        soft_wrap=True,
                        highlight=False,
                    )
                    return self
                frozen = frozen or self._frozen_encoder(backbone, stages)
                found = self._encoded(frozen, ids, f"Encoding {name} once")
        others = {key: value for key, value in self.activations.items() if value.stages == stages}
        return replace(self, activations={**others, name: found}, frozen=frozen)

    def keys(self, ids: IntArray) -> list[str]:
        """Return what the images are known by among the kept activations."""
        return [self.contents[index] if self.contents else str(index) for index in ids.tolist()]

    def _found(self, stages: str, ids: IntArray) -> FrozenActivations | None:
        """Return the activations of images where earlier runs, or this one, left all of them."""
        verdict = self._verdict(stages)
        for backend, precision in self.encoders.acceptable(reduced=verdict is not None and verdict.is_file()):
            rows = self.kept.find(group_name(stages, self.image_size, backend, precision), self.keys(ids))
            if rows is not None:
                return FrozenActivations(rows, f"{backend}, {precision}", precision, stages)
        return None

    def _encoded(self, frozen: FrozenEncoder, ids: IntArray, title: str) -> FrozenActivations:
        """Return the activations of images, of which only those that are not known yet are encoded."""
        encoder = frozen.encoder

        def encode(missing: IntArray) -> Iterator[Activations]:
            images = EvaluationImages(self.manifest, ids[missing], self.image_size)
            return frozen_activations(encoder, images, workers=self.workers, title=title, console=self.console)

        group = group_name(frozen.stages, self.image_size, encoder.backend, encoder.precision)
        rows = self.kept.completed(group, self.keys(ids), encode)
        return FrozenActivations(rows, str(encoder), encoder.precision, frozen.stages)

    def _frozen_encoder(self, backbone: Backbone, stages: str) -> FrozenEncoder:
        """Return the encoder of the frozen stages: bfloat16 where the processor has it and scores stay as they are."""
        network = FrozenStages(backbone)
        found = FrozenEncoder(self.encoder(network, reduced=True), stages)
        if found.encoder.precision == "float32" or self.encoders.precision != "auto":
            return found
        verdict = self._verdict(stages)
        if verdict and verdict.is_file():
            return found
        exact = FrozenEncoder(self.encoder(network), stages)
        moved = self._moved(backbone, exact, found)
        if not moved:
            if verdict:
                write_json(verdict, {"accepted": str(found.encoder)})
            return found
        told = ", ".join(f"{name} by {by:+.4f}" for name, by in moved.items())
        self.encoders.say(f"{found.encoder} is not used: it moves the pooled reference's {told} on validation.")
        return exact

    def _verdict(self, stages: str) -> Path | None:
        """Return the file that is there if bfloat16 was found to leave the scores on validation as they are."""
        if self.encoders.cache is None:
            return None
        subset = self.splits.val
        facts = self.encoders.backend, versions(), self.image_size, self.keys(subset.query), self.keys(subset.gallery)
        return self.encoders.cache / "bfloat16" / f"{cache_key(VERSION, stages, *facts)}.json"

    def _moved(self, backbone: Backbone, exact: FrozenEncoder, reduced: FrozenEncoder) -> dict[str, float]:
        """Return by how much a reduced precision moves the pooled reference on validation, where it is too much."""
        subset, reference = self.splits.val, pooled_reference(backbone)
        metrics = []
        for frozen in (exact, reduced):
            rows = self._encoded(frozen, subset.ids, f"Comparing precisions: {frozen.encoder}").rows
            found = self.embed({"pooled": reference}, subset.ids, "Comparing precisions", rows)["pooled"]
            metrics.append(evaluate(found, subset, self.manifest, reference.metric, {}, self.ks).metrics)
        changes = {name: metrics[1][name] - metrics[0][name] for name in ("recall@1", "map@r")}
        return {name: by for name, by in changes.items() if abs(by) > MOST_MOVED}

    def without_activations(self, name: str) -> "Evaluator":
        """Return this evaluator without the activations of a subset, whose images are others now."""
        return replace(self, activations={key: value for key, value in self.activations.items() if key != name})

    def has_activations(self, backbone: Backbone, name: str) -> bool:
        """Whether there are activations of a subset, of the frozen stages that this backbone has."""
        found = self.activations.get(name)
        return found is not None and backbone.is_split and found.stages == digest(FrozenStages(backbone))

    def precision(self, subset: str) -> str:
        """Return the precision that a subset is encoded in: float32 or bfloat16."""
        if subset in self.activations:
            return self.activations[subset].precision
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
        activations: Rows | None = None,
        encoder: Encoder | None = None,
        mirrored: bool = False,
    ) -> dict[str, EmbeddingSet]:
        """Embed images with embedders that share a backbone.

        activations: of its frozen stages for these images. encoder: of the whole backbone; torch where None.
        """
        images = EvaluationImages(self.manifest, ids, self.image_size, mirrored)
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
        known = self.activations.get("train")
        return self.embed({"train": embedder}, self.splits.train, title, known.rows if known else None)["train"]

    def score(
        self,
        embedders: Mapping[str, Embedder],
        subset: str,
        title: str,
        encoder: Encoder | None = None,
        refine: RefineConfig | None = None,
        within: FloatArray | None = None,
    ) -> dict[str, EvalResult]:
        """Embed a subset once and score it under each embedder.

        encoder: of the backbone that the embedders share; activations of the subset are not used then.
        refine: how answers are refined; each embedder is then scored a second time, as NAME_METHOD or the like.
        within: covariance of their embeddings within species, for `refine.wiener`.
        """
        ids = self.subset(subset)
        facts = {"subset": subset, "protocol": self.splits.protocol, "image_size": self.image_size}
        known = self.activations.get(subset) if encoder is None else None
        if encoder is None and known is None and self.precision(subset) == "bfloat16":
            encoder = torch_encoder(next(iter(embedders.values())).backbone, self.device, "bfloat16")
        facts["encoder"] = known.encoder if known else str(encoder or "torch, float32")
        found = self.embed(embedders, ids.ids, title, known.rows if known else None, encoder)
        searched_on = self.device if self.device.type == "cuda" else None  # elsewhere faiss is faster
        with self.phases.measure("scoring"), progress_bar(self.console) as progress:
            results = {
                name: evaluate(
                    found[name],
                    ids,
                    self.manifest,
                    embedder.metric,
                    {"name": name, **facts},
                    self.ks,
                    searched_on,
                    exclude_group=self.exclude_group,
                )
                for name, embedder in progress.track(embedders.items(), description="Searching")
            }
            if self.manifest.grouped and subset == "test":
                for name, embedder in embedders.items():
                    results[name] = self._with_own_group(results[name], found[name], ids, embedder.metric)
        if refine is not None and refine.name:
            flipped = self._flipped(embedders, ids.ids, encoder) if refine.flip else {}
            with self.phases.measure("scoring"):
                for name, embedder in embedders.items():
                    told, other = {"name": f"{name}_{refine.name}", **facts}, flipped.get(name)
                    results[f"{name}_{refine.name}"] = evaluate_refined(
                        found[name],
                        other,
                        ids,
                        self.manifest,
                        embedder.metric,
                        refine,
                        told,
                        self.ks,
                        self.exclude_group,
                        within,
                    )
        return results

    def _with_own_group(
        self, result: EvalResult, embeddings: EmbeddingSet, ids: Subset, metric: Similarity
    ) -> EvalResult:
        """Return the result with the fact `own_group`: recall@1 with and without answers of a query's own group, over
        the queries that have a positive outside it."""
        outside = ids.count_positives(self.manifest.labels, self.manifest.groups) > 0
        if not outside.any():
            return result
        answerable = Subset(ids.query[outside], ids.gallery)
        recall = {
            name: evaluate(embeddings, answerable, self.manifest, metric, exclude_group=exclude).metrics["recall@1"]
            for name, exclude in (("with", False), ("without", True))
        }
        return replace(result, facts={**result.facts, "own_group": {**recall, "queries": int(outside.sum())}})

    def _flipped(
        self, embedders: Mapping[str, Embedder], ids: IntArray, encoder: Encoder | None
    ) -> dict[str, EmbeddingSet]:
        """Embed mirrored images, by the whole backbone: activations are of images as they are."""
        encoder = encoder or self.encoder(next(iter(embedders.values())).backbone)
        return self.embed(embedders, ids, "Embedding mirrored images", encoder=encoder, mirrored=True)
