"""The README of an export: how to run it, what it was trained on, how well it does, what is still to be said."""

from dataclasses import replace
from typing import Any

import polars as pl

from conspecific.config.targets import TARGET
from conspecific.evaluation.compare import resampled_together
from conspecific.evaluation.tables import NAMES, format_interval
from conspecific.exporting.int8 import Int8
from conspecific.exporting.network import ExportedNetwork
from conspecific.exporting.parity import Parity
from conspecific.exporting.usage import program
from conspecific.leaks.record import Leaks
from conspecific.metrics import explain, paired_intervals
from conspecific.runs.open import OpenRun
from conspecific.runs.record import RunRecord, read_record
from conspecific.runs.verdict import verdict

TO_FILL = "*to be filled in*"
PROTOCOLS = {
    "seen": "every species is in the training split and in the test split",
    "unseen": "no species of the test split is in the training split",
    "query_gallery": "the queries are searched in a separate gallery",
}
METRICS = ("recall@1", "precision@10", "r_precision", "map@r", "mrr")


def card(
    opened: OpenRun, name: str, network: ExportedNetwork, parity: Parity, int8: Int8 | None, license: str | None
) -> str:
    """Return the README in Markdown, with the header that the Hugging Face hub reads.

    name: of the format. int8: what int8 costs, None for float32. license: of the exported weights; None leaves it to be
    filled in.
    """
    record = read_record(opened.run.path) if opened.run and opened.run.summary.is_file() else None
    sections = [
        _header(name, license),
        _title(opened, record),
        _run_it(name, network, parity, int8),
        _training(opened, record),
        _scores(record),
        _leaks(record),
        _licences(opened, license),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(name: str, license: str | None) -> str:
    lines = [f"library_name: {name}" if name != "torch" else "library_name: pytorch"]
    lines += [f"license: {license}"] if license else []
    lines += ["pipeline_tag: image-feature-extraction", "tags:"]
    lines += [f"- {tag}" for tag in ("image-retrieval", "metric-learning", "conspecific")]
    return "\n".join(["---", *lines, "---"])


def _title(opened: OpenRun, record: RunRecord | None) -> str:
    found = record and verdict(record)
    text = f" {replace(found, advice='')}".rstrip() if found else ""
    return (
        f"# {opened.embedder.backbone.name} for image retrieval\n\n"
        "A network from an image to an embedding: images of one species get similar embeddings, so that the nearest "
        f"embeddings of a collection are images of the same species.{text}"
    )


def _run_it(name: str, network: ExportedNetwork, parity: Parity, int8: Int8 | None) -> str:
    facts = network.describe()
    normalised = "in the network" if network.uint8 else f"{facts['input']}; mean {facts['mean']}, std {facts['std']}"
    embedding = facts["embedding"]
    length = "of length 1" if embedding["l2_normalized"] else "not normalised"
    rows = {
        "input": f"{facts['color_order']}, {facts['layout']}, {network.image_size} x {network.image_size} pixels",
        "resize": f"{facts['resize']}, then the {facts['crop']}",
        "normalisation": normalised,
        "embedding": f"{embedding['dimensions']} dimensions, {length}, compared by {embedding['similarity']}",
        "agreement with torch": str(parity),
        **({"cost of int8": f"{int8}; weights have a scale for each channel"} if int8 else {}),
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
    return f"## Use\n\n```python\n{program(name, network)}```\n\n{table}\n\n{_notes(name)}"


def _notes(name: str) -> str:
    files = "`preprocessing.json` has the same for programs, `parity.json` the comparison with torch."
    if name != "timm":
        return files
    return (
        f"{files} The transform of timm rounds the size of a resized image in another way, so that a crop can lie one "
        "pixel off."
    )


def _training(opened: OpenRun, record: RunRecord | None) -> str:
    config = opened.trained
    model = config.model
    lines = [f"pooling {model.get('pooling')}, head {model.get('head')}"]
    if record is None:
        return f"## Training\n\nBackbone `{opened.embedder.backbone.name}`, {lines[0]}. This run has no final scores."
    source = _class_of(config.data)
    synthetic = ", synthetic images that the program draws" if source == "butterflies" else ""
    counts, selection = record.counts, record.selection
    rows = {
        "data": f"{counts.images:,} images of {counts.species:,} species (`data={source}`{synthetic})",
        "split": f"{counts.train:,} training, {counts.val:,} validation, {counts.tested:,} test images",
        "protocol": f"{config.protocol}: {PROTOCOLS[config.protocol]}",
        "backbone": f"`{opened.embedder.backbone.name}`, pretrained weights `{_name_of_weights(model)}`",
        "embedding": "the pooled reference" if selection is None or selection.pooled_reference else lines[0],
        "loss": f"`{_class_of(config.loss.get('loss') or config.loss)}`",
        "kept weights": f"{selection}, selected on validation by {config.monitor}" if selection else "pretrained",
        "software": f"conspecific {record.environment.conspecific}, torch {record.environment.packages.get('torch')}",
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
    return f"## Training\n\n{table}"


def _class_of(node: dict[str, Any]) -> str:
    return str(node.get(TARGET)).rpartition(".")[2]


def _name_of_weights(model: dict[str, Any]) -> str:
    """Return what the pretrained weights are called, of a file its name without the folders of this machine."""
    return str(model.get("weights")).rpartition("/")[2]


def _scores(record: RunRecord | None) -> str:
    """Return the test scores of the model with intervals, beside both references, and the gain over each."""
    if record is None:
        return ""
    best = record.test[record.best]
    metrics = [name for name in METRICS if name in best.metrics]
    values = best.per_query.select(metrics).cast(pl.Float64).to_numpy()
    over_species = best.facts.get("protocol") == "unseen"
    groups = resampled_together(best.per_query, over_species)
    names = [name for name in NAMES if name in record.test and name != record.best]
    gains = {(name, each.metric): each for name in names for each in record.gains.get(name, ())}
    head = ["metric", *(NAMES[name].removeprefix("the ") for name in names), "this model (95 % interval)"]
    head += [f"gain over {NAMES[name]} (95 % interval)" for name in names]
    rows = []
    for metric, interval in zip(metrics, paired_intervals(values, groups), strict=True):
        cells = [metric, *(f"{record.test[name].metrics[metric]:.3f}" for name in names)]
        cells.append(f"**{best.metrics[metric]:.3f}** ({interval.low:.3f} to {interval.high:.3f})")
        for name in names:
            found = gains.get((name, metric))
            cells.append(f"{found.interval.mean:+.3f} ({format_interval(found.interval)})" if found else "")
        rows.append(cells)
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
    facts, unit = best.facts, "species" if over_species else "queries" if groups is None else "groups of queries"
    counts = f"{facts['queries']:,} queries in {facts['gallery']:,} images of {facts['species']:,} species"
    meanings = "\n".join(f"- `{name}`: {explain(name)}" for name in metrics)
    return (
        f"## Scores\n\nTest split, {counts}. Bootstrap intervals over {unit}; the gains are paired. The flatten "
        "baseline and the pooled reference are the pretrained backbone without training.\n\n"
        f"{table}\n\n{meanings}"
    )


def _leaks(record: RunRecord | None) -> str:
    if record is None:
        return ""
    return f"## Leaks\n\n{_leaks_found(record.leaks, record.config.leaks)}"


def _leaks_found(leaks: Leaks | None, policy: str) -> str:
    """Return sentences with counts. Names of images and species are left out, because a README may be published."""
    if leaks is None:
        return "No check was made for images that training and test share."
    exact = int((leaks.pairs["kind"] == "exact").sum())
    if not leaks.pairs.height and not leaks.species:
        return f"None of {leaks.compared:,} images is in more than one of the training, validation and test splits."
    treated = {
        "drop": "They were removed from training.",
        "report": f"{len(leaks.leaked_queries):,} test images have a copy in training or validation, and are scored.",
        "error": "",
    }
    return (
        f"{leaks.pairs.height:,} pairs of copies are in different splits ({exact:,} identical files, "
        f"{leaks.pairs.height - exact:,} near-duplicates), and {len(leaks.species):,} species are in training and test "
        f"under two names. {treated[policy]}"
    ).strip()


def _licences(opened: OpenRun, license: str | None) -> str:
    origin = opened.embedder.backbone.origin
    rows = {
        "these weights": license or TO_FILL,
        "the pretrained weights they started from": str(origin or TO_FILL),
        "the training images": TO_FILL,
    }
    table = "\n".join(["| of | licence |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
    return f"## Licences\n\n{table}"
