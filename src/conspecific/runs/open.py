"""Open a run or a weights file: the embedder with its weights, and the images to use it on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from conspecific.config.compose import compose_config, typed
from conspecific.config.overrides import override
from conspecific.config.schema import EvaluateConfig, TrainConfig, UseConfig
from conspecific.config.targets import TARGET, build, check_targets
from conspecific.data.check import check_manifest
from conspecific.data.corrections import load_manifest
from conspecific.data.dataset import EvaluationImages
from conspecific.data.manifest import Manifest
from conspecific.data.splits import split
from conspecific.encoding import Encoder, Encoders, KeptActivations
from conspecific.errors import ConfigError, RunError
from conspecific.evaluation import Evaluator, device_for
from conspecific.evaluation.embed import embed
from conspecific.evaluation.store import (
    load_cached_embeddings,
    load_embeddings,
    read_facts,
    require_replaceable,
    save_embeddings,
)
from conspecific.files import cache_key
from conspecific.images import workers_for
from conspecific.leaks.image_hashes import image_hashes
from conspecific.models import Embedder, pooled_reference
from conspecific.models.class_probabilities import MEANS, WithClassProbabilities
from conspecific.models.layouts import holds_miewid
from conspecific.models.state_dict import load_weights, read_state_dict
from conspecific.models.weights import holds_pooled_reference, read_origin
from conspecific.runs.directory import RunDirectory
from conspecific.runs.own_images import OwnImages
from conspecific.runs.record import read_config, read_record, trained_images
from conspecific.types import EmbeddingSet, EvalResult, IntArray


@dataclass(frozen=True)
class OpenRun:
    """A trained embedder and the configuration it was trained with. run is None where only weights were given."""

    embedder: Embedder
    weights: Path
    trained: TrainConfig
    run: RunDirectory | None
    config: UseConfig

    @property
    def cache(self) -> Path:
        """The folder of cached manifests and references."""
        return Path(self.config.paths.cache).expanduser()

    @property
    def image_size(self) -> int:
        """Side in pixels: the requested one, else the one that the run was evaluated at."""
        return self.config.image_size or self.trained.loader.image_size

    @property
    def caution(self) -> str | None:
        """A sentence where the run was interrupted, and the weights are those of a checkpoint."""
        if self.run is None or self.weights == self.run.weights:
            return None
        return (
            f"{self.run.path} was interrupted before its weights were selected: these are of checkpoints/"
            f"{self.weights.name}. To finish it: conspecific train {override('resume', str(self.run.path))}"
        )

    @property
    def suffix(self) -> str:
        """Suffix of the names of results, which tells truncated embeddings from full ones."""
        return "" if self.config.truncate is None else f"_first{self.config.truncate}"

    @property
    def is_as_validated(self) -> bool:
        """Whether embeddings are those that the run's validation scored: its weights, its size, all dimensions."""
        same = self.config.truncate is None and self.image_size == self.trained.loader.image_size
        return self.run is not None and self.weights == self.run.weights and same

    @property
    def validation(self) -> dict[str, EvalResult]:
        """The run's results on validation; empty where it has not ended, or these embeddings were not validated."""
        if self.run is None or not self.is_as_validated or not self.run.summary.is_file():
            return {}
        return read_record(self.run.path).validation

    @property
    def has_own_images(self) -> bool:
        """Whether the images are those of the run, perhaps in another place."""
        return self.run is not None and TARGET not in (self.config.data or {})

    def manifest(self) -> Manifest:
        """The requested images, else those of the run."""
        return load_manifest(self.data(), self.config.allow)

    def encoder_facts(self) -> dict[str, Any]:
        """Return what embeddings depend on besides the images: the weights, as a hash, and how they are used."""
        return self._facts(self.embedder, hashlib.sha256(self.weights.read_bytes()).hexdigest())

    def _facts(self, embedder: Embedder, weights: str) -> dict[str, Any]:
        return {
            "weights": weights,
            "image_size": self.image_size,
            "similarity": embedder.metric,
            **({"precision": "bfloat16"} if self.config.encode.precision == "bfloat16" else {}),
            **({} if embedder.truncate is None else {"truncate": embedder.truncate}),
        }

    def data(self) -> dict[str, Any]:
        """The node `data` of the images, with the present cache in place of that of a run made elsewhere."""
        given = self.config.data or {}
        if TARGET in given:
            return given
        own = {**self.trained.data, **given}
        if "cache" not in given and own.get("cache") == self.trained.paths.cache:
            own["cache"] = self.config.paths.cache
        check_targets({"data": own}, allow=self.config.allow)
        return own

    def checked(self, console: Console, scored: bool) -> tuple[Manifest, str]:
        """Check the images, print what was found, and return them with their fingerprint."""
        if self.caution:
            console.print(f"Caution: {self.caution}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        manifest, fingerprint = check_manifest(self.manifest(), self.cache, scored=scored)
        for line in manifest.describe():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        return manifest, fingerprint

    def _own_images(
        self, manifest: Manifest, fingerprint: str, console: Console, use: str | None = None
    ) -> OwnImages | None:
        """Compare the images of the run with those it recorded, and print what changed; None for other images.

        Raises RunError where most of them, or of those of a use such as `test_query`, are not there.
        """
        if self.run is None or not self.has_own_images:
            return None
        workers = workers_for(self.config.workers)
        own = OwnImages.of(
            self.run, manifest, image_hashes(manifest, fingerprint, self.cache, workers, console).contents
        )
        own.require_most(self.run, manifest, use)
        if own.differ:
            console.print(own.describe(), style="yellow", highlight=False, soft_wrap=True)
        return own

    def embed_all(self, console: Console, folder: Path | None = None) -> tuple[Path, Manifest, EmbeddingSet]:
        """Embed every image into a folder, unless it holds embeddings of the same images by the same weights.

        folder: None takes one whose name tells these embeddings from others, so that none are overwritten. That one is
            a cache, in which damaged embeddings are computed again; in a folder that a user named they are refused.
        """
        manifest, fingerprint = self.checked(console, scored=False)
        weights, is_cache = self.encoder_facts()["weights"], folder is None
        folder = folder or self.embeddings_folder(fingerprint, weights)
        found = self.embedded(self.embedder, weights, manifest, fingerprint, folder, console, is_cache=is_cache)
        return folder, manifest, found

    def embedded(
        self,
        embedder: Embedder,
        weights: str,
        manifest: Manifest,
        fingerprint: str,
        folder: Path,
        console: Console,
        mirrored: bool = False,
        is_cache: bool = True,
    ) -> EmbeddingSet:
        """Return the embeddings of all images by an embedder, from a folder if it holds them.

        weights: their hash. mirrored: of the images mirrored left to right. is_cache: whether the program chose the
        name of the folder, and so makes it again where it is damaged.
        """
        facts = {"data": fingerprint, **self._facts(embedder, weights), **({"mirrored": True} if mirrored else {})}
        say = partial(console.print, style="yellow", markup=False, highlight=False, soft_wrap=True)
        if is_cache and (found := load_cached_embeddings(folder, manifest, facts, say)) is not None:
            return found
        if not is_cache and read_facts(folder) == facts:
            return load_embeddings(folder, manifest)
        self._own_images(manifest, fingerprint, console)
        require_replaceable(folder, is_cache=is_cache)  # before the work, not after
        embeddings = self.embed_images(embedder, manifest, np.arange(len(manifest)), console, mirrored)
        save_embeddings(folder, embeddings, manifest, facts, is_cache=is_cache)
        return load_embeddings(folder, manifest)

    def encoder(self, embedder: Embedder, sampled: EvaluationImages, images: int, console: Console) -> Encoder:
        """Return the encoder of an embedder's backbone. sampled: to measure it on. images: how many it will encode."""
        device = device_for(self.config.device)
        encoders = Encoders.of(self.config.encode, device, self.cache, console)
        return encoders.open(embedder.eval().to(device).backbone, sampled.sample, images)

    def embed_mirrored(self, manifest: Manifest, folder: Path, console: Console) -> EmbeddingSet:
        """Embed every image of a checked manifest mirrored. folder: of the embeddings of the images as they are."""
        weights, place = self.encoder_facts()["weights"], folder.with_name(f"{folder.name}_mirrored")
        return self.embedded(self.embedder, weights, manifest, manifest.fingerprint(), place, console, mirrored=True)

    def embed_images(
        self, embedder: Embedder, manifest: Manifest, ids: IntArray, console: Console, mirrored: bool = False
    ) -> EmbeddingSet:
        """Embed some images of a manifest, by their sample ids. mirrored: left to right."""
        images = EvaluationImages(manifest, ids, self.image_size, mirrored)
        encoder = self.encoder(embedder, images, len(images), console)
        device, workers = device_for(self.config.device), workers_for(self.config.workers)
        [embeddings] = embed([embedder], images, workers=workers, device=device, console=console, encoder=encoder)
        return embeddings

    def embeddings_folder(self, fingerprint: str, weights: str) -> Path:
        """Return the folder of embeddings: in the run `all` of its own images, and other images by their fingerprint.

        Without a run, it is named after the weights too.
        """
        size = f"_{self.image_size}px" if self.image_size != self.trained.loader.image_size else ""
        if self.run is None:
            return Path("embeddings") / f"{fingerprint}_{weights[:16]}{size}{self.suffix}"
        name = "all" if self.config.data is None else fingerprint
        return self.run.embeddings / f"{name}{size}{self.suffix}"

    def training_caution(self, evaluator: Evaluator, subset: str) -> str | None:
        """Return a sentence if queries of a subset were training images or species of the run, else None.

        Images are compared by content, so that copies under other paths are found.
        """
        if self.run is None:
            return None
        trained = trained_images(self.run)
        manifest, ids = evaluator.manifest, evaluator.subset(subset).query
        images = int(np.isin(np.array(evaluator.contents)[ids], trained["content"].to_numpy()).sum())
        if images:
            return f"the run was trained on {images} of these {len(ids)} queries: this is not a test of it."
        species = int(manifest.table["label"].gather(ids).is_in(trained["label"].unique().to_list()).sum())
        if evaluator.splits.protocol == "unseen" and species:
            return f"the run was trained on the species of {species} of these {len(ids)} queries: they are not unseen."
        return None

    def evaluation_folder(self, evaluator: Evaluator) -> Path:
        """The folder of the results of `evaluate`, in the run; its name tells them from those of other evaluations."""
        assert isinstance(self.config, EvaluateConfig)
        subset, protocol = self.config.subset, evaluator.splits.protocol
        refine = vars(self.config.refine) if self.config.refine.name else {}
        changes = _set(self.config.split) | _set(self.config.metrics) | refine
        if self.config.local:
            changes |= {"local": self.config.local, "local_descriptors": self.config.local_descriptors}
        if evaluator.exclude_group != self.trained.exclude_group:
            changes |= {"exclude_group": evaluator.exclude_group}
        other = f"_{cache_key(changes)}" if changes else ""
        name = f"{subset}_{protocol}_{evaluator.image_size}px_{evaluator.fingerprint}{other}{self.suffix}"
        return (self.run.path if self.run else Path.cwd()) / "evaluations" / name

    def evaluator(self, console: Console) -> Evaluator:
        """Check the images and split them as requested, else as the run did."""
        asked = self.config if isinstance(self.config, EvaluateConfig) else EvaluateConfig()
        protocol, shares = asked.protocol or self.trained.protocol, {**vars(self.trained.split), **_set(asked.split)}
        recorded = self.has_own_images and (protocol, shares) == (self.trained.protocol, vars(self.trained.split))
        exclude_group = self.trained.exclude_group if asked.exclude_group is None else asked.exclude_group
        manifest, fingerprint = self.checked(console, scored=not recorded)
        own = self._own_images(manifest, fingerprint, console, f"{asked.subset}_query" if recorded else None)
        if own is not None and own.differ and recorded:
            splits = own.splits(protocol)
        else:
            splits = split(manifest, protocol, **shares, exclude_group=exclude_group)
        device, workers = device_for(self.config.device), workers_for(self.config.workers)
        ks = self.trained.metrics.ks if asked.metrics.ks is None else asked.metrics.ks
        encoders = Encoders.of(self.config.encode, device, self.cache, console)
        return Evaluator(
            manifest,
            splits,
            fingerprint,
            self.image_size,
            workers,
            device,
            console,
            ks=ks,
            encoders=encoders,
            kept=KeptActivations(self.cache / "activations", encoders.say),
            contents=image_hashes(manifest, fingerprint, self.cache, workers, console).contents,
            exclude_group=exclude_group,
        )


def _set(changes: object) -> dict[str, object]:
    """The keys that are set, of keys that change those of the run."""
    return {name: value for name, value in vars(changes).items() if value is not None}


def open_run(config: UseConfig) -> OpenRun:
    """Build the embedder of a run directory, or of a weights file and a model. Raises RunError for anything else.

    Of a run that was interrupted, the best epoch so far is taken, and `OpenRun.caution` says so.
    """
    if (config.run is None) == (config.weights is None):
        raise ConfigError("give a run directory, or weights=FILE with model=NAME, and not both")
    if config.run is not None:
        run = RunDirectory(Path(config.run).expanduser())
        trained = read_config(run)
        check_parts(run, trained, config.allow)
        weights = next((file for file in (run.weights, run.best, run.last) if file.is_file()), run.weights)
        embedder = load_embedder(trained, weights, config.allow)
        return _truncated(OpenRun(embedder, weights, trained, run, config))
    if config.model is None or config.data is None:
        raise ConfigError("weights=FILE needs model=NAME, which says what the weights belong to, and data=NAME")
    trained = typed(compose_config("train"), TrainConfig)
    trained.model = config.model
    weights = Path(str(config.weights)).expanduser()
    weights = RunDirectory(weights).weights if weights.is_dir() else weights
    if not weights.is_file():
        raise RunError(f"weights={config.weights} is neither a file of weights, .safetensors, .pth or .ckpt, nor a run")
    return _truncated(OpenRun(load_embedder(trained, weights, config.allow), weights, trained, None, config))


def check_parts(run: RunDirectory, trained: TrainConfig, allow: Sequence[str]) -> None:
    """Check what is to be built of a run directory, which can come from elsewhere. Raises RunError."""
    try:
        check_targets({"model": trained.model, "data": trained.data}, allow=allow)
    except ConfigError as error:
        raise RunError(f"{run.config}: {error}") from error


def _truncated(opened: OpenRun) -> OpenRun:
    """Truncate the embeddings to `truncate` dimensions.

    Raises ConfigError where they have fewer, or come from the layer below the head, which no loss trains for it.
    """
    if (asked := opened.config.truncate) is None:
        return opened
    if not opened.embedder.search_head:
        found = (
            "no head, as the pooled reference that a run may keep"
            if isinstance(opened.embedder.head, torch.nn.Identity)
            else "model.embedding_layer=pooled"
        )
        raise ConfigError(
            f"truncate={asked} needs embeddings of the head, as recipe.matryoshka trains them; this model has {found}, "
            "whose first dimensions are no embedding of their own: leave truncate out"
        )
    side = opened.image_size
    with torch.inference_mode():
        dimensions = opened.embedder.eval()(torch.zeros(1, 3, side, side)).shape[1]
    if not 1 <= asked <= dimensions:
        raise ConfigError(f"truncate must be 1 to {dimensions}, the dimensions of these embeddings; found {asked}")
    opened.embedder.truncate = asked
    return opened


def load_embedder(trained: TrainConfig, weights: Path, allow: Sequence[str] = ()) -> Embedder:
    """Build the embedder and load its weights, all of them. allow: modules of the user's own it may be built from.

    weights: a .safetensors file, a checkpoint of a training, or MiewID's published weights, which hold pooling and head
    too. Raises RunError where it is missing or does not fit.
    """
    if not weights.is_file():
        raise RunError(f"{weights} does not exist: the run trained nothing, or was interrupted in its first epoch")
    embedder: Embedder = build({**trained.model, "weights": "none"}, "model", allow)
    try:
        state = read_state_dict(weights)
        if holds_miewid(state):
            return _miewid(trained, weights, allow)
        if holds_pooled_reference(weights):
            embedder = pooled_reference(embedder.backbone)
        if (means := state.get(MEANS)) is not None:
            embedder.head = WithClassProbabilities(embedder.head, torch.zeros_like(means))
        load_weights(embedder, state, weights, "model", whole=True)
        embedder.backbone.origin = read_origin(weights)
    except ConfigError as error:
        raise RunError(str(error)) from error
    return embedder


def _miewid(trained: TrainConfig, weights: Path, allow: Sequence[str]) -> Embedder:
    """Build the embedder whose embeddings MiewID's authors publish. Raises ConfigError where it is not asked for."""
    embedder: Embedder = build({**trained.model, "weights": str(weights)}, "model", allow)
    if not embedder.pretrained_head:
        raise ConfigError(
            f"{weights} holds MiewID, whose embeddings come from GeM pooling and a batch norm: set model.pooling=gem "
            "and model.head=batch_norm"
        )
    return embedder
