"""How the run was made: facts, encoders, command, configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conspecific.errors import name_some
from conspecific.reporting.page.wording import DASH
from conspecific.reporting.run.subject import Encoder, Subject

_SIMILARITIES = {"cosine": "cosine similarity", "l2": "squared Euclidean distance"}


@dataclass(frozen=True, slots=True)
class EncoderRow:
    """The number of dimensions of an encoder's embeddings, and how they are compared."""

    encoder: Encoder
    dimensions: str
    similarity: str


def details(run: Subject) -> dict[str, Any]:
    """Build the section."""
    return {
        "facts": {**_setup(run), **_environment(run)},
        "encoders": [_encoder_row(encoder) for encoder in run.encoders],
        "command": run.record.environment.command,
        "config": run.record.directory.config.read_text(encoding="utf-8"),
    }


def _setup(run: Subject) -> dict[str, str]:
    record, config, counts = run.record, run.record.config, run.record.counts
    model, stages = config.model, config.model["trainable_stages"]
    return {
        "Data": f"{counts.images:,} images of {counts.species:,} species",
        **({"Corrections": counts.corrections} if counts.corrections else {}),
        **({"Unreadable images": _unreadable(counts.unreadable)} if counts.unreadable else {}),
        "Protocol": config.protocol,
        "Splits": f"train {counts.train:,}, validation {counts.val:,}, test {counts.tested:,} images",
        "Backbone": f"{model['backbone']}, weights: {model['weights']}",
        **({"Pretrained weights": record.origin} if record.origin else {}),
        "Model": f"pooling {model['pooling']}, head {model['head']}, embedding layer {model['embedding_layer']}",
        "Trainable": "all stages" if stages is None else f"the last {stages} stages",
        "Loss": config.loss["loss"]["_target_"].rpartition(".")[2],
        "Image size": f"training {config.loader.train_size} px, evaluation {config.loader.image_size} px",
        "Epochs": f"{len(record.epochs)}, selected: {record.selection or 'none'}",
        "Selected by": f"validation {config.monitor}",
        "Seeds": f"run {config.seed}, split {config.split.seed}",
    }


def _environment(run: Subject) -> dict[str, str]:
    cost, environment = run.record.cost, run.record.environment
    return {
        "Time": str(cost),
        "Peak memory": f"{cost.peak_memory_gb} GB",
        "Encoder": str(run.record.test[run.record.best].facts.get("encoder", "torch, float32")),
        "Machine": f"{environment.processor}, {environment.cores} cores, GPU: {environment.gpu or 'none'}",
        "Versions": ", ".join(f"{name} {version}" for name, version in environment.packages.items()),
        "Git revision": environment.git or "none",
        "Data fingerprint": environment.data_fingerprint,
    }


def _unreadable(names: Sequence[str]) -> str:
    return f"{len(names):,}, left out (data.on_bad=skip): {name_some(names)}"


def _encoder_row(encoder: Encoder) -> EncoderRow:
    size, similarity = encoder.result.facts.get("dimensions"), str(encoder.result.facts.get("similarity", ""))
    dimensions = f"{size:,}" if isinstance(size, int) else DASH
    return EncoderRow(encoder, dimensions, _SIMILARITIES.get(similarity, similarity or DASH))
