"""From a run directory to its report: everything is read from the record, nothing from the process that made it."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from conspecific.config.run_directory import RunDirectory
from conspecific.data.images import open_rgb
from conspecific.evaluation import Difference
from conspecific.metrics import Interval
from conspecific.reporting.record import Report
from conspecific.reporting.report import write_report
from conspecific.types import EvalResult


def report_run(run: RunDirectory) -> Report:
    """Write `report.html` and the pictures of three targets into a finished run's directory; return what it shows."""
    summary: dict[str, Any] = json.loads(run.summary.read_text())
    test = {name: EvalResult.load(run.results / f"test_{name}") for name in summary["test"]}
    validation = {name: EvalResult.load(run.results / f"val_{name}") for name in ("flatten", "pooled")}
    best = test.get("model", test["pooled"])
    root = Path(summary["data_root"])
    environment: dict[str, Any] = json.loads(run.environment.read_text())

    def open_picture(path: str) -> Image.Image:
        return open_rgb(root / path, shorter_side=224)

    report = Report(
        title=f"{run.path.parent.name} / {run.path.name}",
        facts=_facts(run, summary, environment),
        flatten=test["flatten"],
        pooled=test["pooled"],
        model=test.get("model"),
        open_picture=open_picture,
        epochs=run.read_epochs(),
        flatten_validation=validation["flatten"].metrics,
        pooled_validation=validation["pooled"].metrics,
        chosen_epoch=summary.get("chosen_epoch"),
        chosen_by=run.load_config().monitor,
        over_flatten=_differences(best, test["flatten"], summary["gains"]["flatten"]),
        over_pooled=_differences(best, test["pooled"], summary["gains"]["pooled"]) if "model" in test else (),
        command=environment["command"],
        config=run.config.read_text(),
    )
    write_report(run.report, report)
    return report


def _differences(best: EvalResult, other: EvalResult, gains: dict[str, list[float]]) -> list[Difference]:
    """The paired differences as the summary has kept them: resampling again would give the same, a second later."""
    return [
        Difference(metric, best.metrics[metric], other.metrics[metric], Interval(*gain))
        for metric, gain in gains.items()
    ]


def _facts(run: RunDirectory, summary: dict[str, Any], environment: dict[str, Any]) -> dict[str, Any]:
    config = run.load_config()
    model, stages = config.model, config.model["trainable_stages"]
    facts = {
        "Data": f"{summary['pictures']} pictures of {summary['species']} species",
        "Protocol": config.protocol,
        "Pictures": f"{summary['train']} to train, {summary['val']} to validate, {summary['tested']} to test",
        "Backbone": f"{model['backbone']}, weights: {model['weights']}",
        "Pooling and head": f"{model['pooling']}, head: {model['head']}, searched with: {model['search_with']}",
        "Trained": "all stages" if stages is None else f"the last {stages} stages",
        "Loss": config.loss["loss"]["_target_"].rpartition(".")[2],
        "Sizes": f"trained at {config.loader.train_size} px, evaluated at {config.loader.image_size} px",
        "Epochs": f"{len(run.read_epochs())}, chosen: {summary.get('chosen_epoch', 'none')} by {config.monitor}",
        "Seed": config.seed,
        "Time": f"{summary['minutes']} minutes, of them training {summary.get('training_minutes', 0)}",
        "Peak memory": f"{summary['peak_memory_gb']} GB",
        "Machine": f"{environment['processor']}, {environment['cores']} cores, GPU: {environment['gpu'] or 'none'}",
        "Versions": ", ".join(f"{name} {version}" for name, version in environment["packages"].items()),
        "Git revision": environment["git"] or "none",
        "Data fingerprint": environment["data_fingerprint"],
    }
    return facts
