"""Writes the report of a run directory."""

from pathlib import Path
from typing import Any

from PIL import Image

from conspecific.images import open_rgb
from conspecific.reporting.run.report import write_report
from conspecific.reporting.run.subject import Report
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import RunRecord, read_record


def report_run(run: RunDirectory) -> Report:
    """Write `report.html` and the images of the example queries into the directory of a finished run."""
    record = read_record(run.path)
    config, root, test, validation = record.config, Path(record.counts.data_root), record.test, record.validation

    def open_image(path: str) -> Image.Image:
        return open_rgb(root / path, shorter_side=224)

    report = Report(
        title=f"{run.path.parent.name} / {run.path.name}",
        facts=_facts(record),
        flatten=test["flatten"],
        pooled=test["pooled"],
        model=test.get("model"),
        open_image=open_image,
        epochs=[{**line.metrics, "epoch": line.epoch, "loss": line.loss} for line in record.epochs],
        flatten_validation=validation["flatten"].metrics,
        pooled_validation=validation["pooled"].metrics,
        chosen_epoch=record.selection.chosen_epoch if record.selection else None,
        chosen_by=config.monitor,
        wise_ft_alpha=record.selection.wise_ft_alpha if record.selection else 1.0,
        whitening_refitted=record.selection is not None and record.selection.whitening_refitted,
        over_flatten=record.gains["flatten"],
        over_pooled=record.gains.get("pooled", ()),
        validation=validation[record.best],
        leaks=record.leaks,
        leak_policy=config.leaks,
        command=record.environment.command,
        config=run.config.read_text(),
    )
    write_report(run.report, report)
    return report


def _facts(record: RunRecord) -> dict[str, Any]:
    config, environment, counts, cost = record.config, record.environment, record.counts, record.cost
    model, stages = config.model, config.model["trainable_stages"]
    return {
        "Data": f"{counts.images} images of {counts.species} species",
        "Protocol": config.protocol,
        "Splits": f"train {counts.train}, validation {counts.val}, test {counts.tested} images",
        "Backbone": f"{model['backbone']}, weights: {model['weights']}",
        "Model": f"pooling {model['pooling']}, head {model['head']}, embedding layer {model['embedding_layer']}",
        "Trainable": "all stages" if stages is None else f"the last {stages} stages",
        "Loss": config.loss["loss"]["_target_"].rpartition(".")[2],
        "Image size": f"training {config.loader.train_size} px, evaluation {config.loader.image_size} px",
        "Epochs": f"{len(record.epochs)}, selected: {_selected(record)} by {config.monitor}",
        "Seeds": f"run {config.seed}, split {config.split.seed}",
        "Time": f"{cost.minutes} minutes, of which training {cost.training_minutes}",
        "Peak memory": f"{cost.peak_memory_gb} GB",
        "Machine": f"{environment.processor}, {environment.cores} cores, GPU: {environment.gpu or 'none'}",
        "Versions": ", ".join(f"{name} {version}" for name, version in environment.packages.items()),
        "Git revision": environment.git or "none",
        "Data fingerprint": environment.data_fingerprint,
    }


def _selected(record: RunRecord) -> str:
    found = record.selection
    if found is None:
        return "none"
    epoch, alpha = found.chosen_epoch, found.wise_ft_alpha
    weights = f"{epoch}" if alpha == 1 else f"WiSE-FT alpha {alpha:g} of epoch {epoch}"
    return f"{weights}, whitening refitted," if found.whitening_refitted else weights
