"""Writes the report of a run directory."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from conspecific.config.schema import TrainConfig
from conspecific.evaluation.compare import Difference
from conspecific.images import open_rgb
from conspecific.leaks.record import Leaks
from conspecific.reporting.run.report import write_report
from conspecific.reporting.run.subject import Report
from conspecific.runs.directory import RunDirectory
from conspecific.types import EvalResult


def report_run(run: RunDirectory) -> Report:
    """Write `report.html` and the images of the example queries into the directory of a finished run."""
    summary: dict[str, Any] = json.loads(run.summary.read_text())
    test = {name: EvalResult.load(run.results / f"test_{name}") for name in summary["test"]}
    validation = {name: EvalResult.load(run.results / f"val_{name}") for name in ("flatten", "pooled")}
    config, root = run.load_config(), Path(summary["data_root"])
    environment: dict[str, Any] = json.loads(run.environment.read_text())

    def open_image(path: str) -> Image.Image:
        return open_rgb(root / path, shorter_side=224)

    report = Report(
        title=f"{run.path.parent.name} / {run.path.name}",
        facts=_facts(run, config, summary, environment),
        flatten=test["flatten"],
        pooled=test["pooled"],
        model=test.get("model"),
        open_image=open_image,
        epochs=run.read_epochs(),
        flatten_validation=validation["flatten"].metrics,
        pooled_validation=validation["pooled"].metrics,
        chosen_epoch=summary.get("chosen_epoch"),
        chosen_by=config.monitor,
        wise_ft_alpha=summary.get("wise_ft_alpha", 1.0),
        whitening_refitted=summary.get("whitening_refitted", False),
        over_flatten=_differences(summary, "flatten"),
        over_pooled=_differences(summary, "pooled"),
        validation=_stored(run, "val_model" if "model" in test else "val_pooled"),
        leaks=Leaks.load(run.leaks) if run.leaks.with_suffix(".parquet").is_file() else None,
        leak_policy=config.leaks,
        command=environment["command"],
        config=run.config.read_text(),
    )
    write_report(run.report, report)
    return report


def _differences(summary: dict[str, Any], other: str) -> list[Difference]:
    """Return the paired differences as the summary has them."""
    return [Difference.from_json(stored) for stored in summary["gains"].get(other, ())]


def _stored(run: RunDirectory, name: str) -> EvalResult | None:
    stem = run.results / name
    return EvalResult.load(stem) if stem.with_suffix(".json").is_file() else None


def _facts(
    run: RunDirectory, config: TrainConfig, summary: dict[str, Any], environment: dict[str, Any]
) -> dict[str, Any]:
    model, stages = config.model, config.model["trainable_stages"]
    facts = {
        "Data": f"{summary['images']} images of {summary['species']} species",
        "Protocol": config.protocol,
        "Splits": f"train {summary['train']}, validation {summary['val']}, test {summary['tested']} images",
        "Backbone": f"{model['backbone']}, weights: {model['weights']}",
        "Model": f"pooling {model['pooling']}, head {model['head']}, embedding layer {model['embedding_layer']}",
        "Trainable": "all stages" if stages is None else f"the last {stages} stages",
        "Loss": config.loss["loss"]["_target_"].rpartition(".")[2],
        "Image size": f"training {config.loader.train_size} px, evaluation {config.loader.image_size} px",
        "Epochs": f"{len(run.read_epochs())}, selected: {_selected(summary)} by {config.monitor}",
        "Seeds": f"run {config.seed}, split {config.split.seed}",
        "Time": f"{summary['minutes']} minutes, of which training {summary.get('training_minutes', 0)}",
        "Peak memory": f"{summary['peak_memory_gb']} GB",
        "Machine": f"{environment['processor']}, {environment['cores']} cores, GPU: {environment['gpu'] or 'none'}",
        "Versions": ", ".join(f"{name} {version}" for name, version in environment["packages"].items()),
        "Git revision": environment["git"] or "none",
        "Data fingerprint": environment["data_fingerprint"],
    }
    return facts


def _selected(summary: dict[str, Any]) -> str:
    epoch, alpha = summary.get("chosen_epoch", "none"), summary.get("wise_ft_alpha", 1.0)
    weights = f"{epoch}" if alpha == 1 else f"WiSE-FT alpha {alpha:g} of epoch {epoch}"
    return f"{weights}, whitening refitted," if summary.get("whitening_refitted") else weights
