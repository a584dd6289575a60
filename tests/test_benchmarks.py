"""The benchmarks run, and what they set beside each other is the same work."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import nn

from conspecific.data.manifest import Manifest
from conspecific.data.splits import split
from conspecific.evaluation import Evaluator
from conspecific.metrics import metric_names
from conspecific.types import EvalResult

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("queries", [2_000, 300])
def test_scoring_gives_the_same_numbers_by_every_method_that_gives_any(queries: int) -> None:
    scoring = load("scoring")
    measured = {name: scoring.measure(method, 2_000, 32, 200, queries) for name, method in scoring.METHODS.items()}
    found = {name: row for name, row in measured.items() if "left out" not in row}
    assert set(scoring.METHODS) - set(found) <= {"open-metric-learning"}, "it cannot share an environment with ours"
    assert all(row["seconds"] > 0 and row["megabytes"] >= 0 for row in found.values())
    ours, other = found["conspecific"], found["pytorch-metric-learning"]
    for metric in ("recall@1", "map@r"):
        assert 0.2 < ours[metric] < 0.99
        if queries == 2_000:
            assert ours[metric] == pytest.approx(other[metric], abs=1e-6) and "intervals" not in ours
        else:  # another sample of the queries
            low, high = ours["intervals"][metric]
            assert low < ours[metric] < high and ours[metric] == pytest.approx(other[metric], abs=2 * (high - low))
    rows = [
        {"method": name, "images": 2_000, "queries": queries, "dimensions": 32} | measured[name] for name in measured
    ]
    lines = scoring.table(rows).splitlines()
    assert len(lines) == 2 + len(rows) and all(line.count("|") == lines[0].count("|") for line in lines)


def test_the_main_jobs_gain_is_the_one_the_summary_keeps() -> None:
    interval, other = ({"mean": 0.1, "low": low, "high": 0.2} for low in (0.05, 0.01))
    stored = {"value": 0.6, "other": 0.5, "by_query": other, "by_species": interval, "over_species": True}
    counts = {"p_value": 0.01, "won": 3, "lost": 1, "unchanged": 0}
    gains = {"pooled": [{"metric": name, **stored, **counts} for name in ("recall@1", "map@r")]}
    assert load("main_job").gain({"gains": gains}) == "+0.100 (+0.050 to +0.200)"


@pytest.fixture
def two_records(tmp_path: Path) -> tuple[Path, Path]:
    """The record of a run by code that has old keys, and the same numbers by code that has new ones."""
    old, new = tmp_path / "old", tmp_path / "new"
    line = {"epoch": 1, "loss": 0.1 + 0.2, "gain_intervals": {"map@r": [0.25, float("nan")]}}
    for run, share, subset, extra in ((old, "tuned_share", "part", {}), (new, "wise_ft_alpha", "subset", {"lr": 1e-3})):
        (run / "results").mkdir(parents=True)
        (run / "epochs.jsonl").write_text(json.dumps(line | extra) + "\n")
        facts = {share: 1.0, "minutes": len(share), "data_root": str(run)}
        (run / "summary.json").write_text(json.dumps(facts))
        (run / "results" / "test_model.json").write_text(json.dumps({"facts": {subset: "test"}}))
        pl.DataFrame({"path": ["a", "b"], "mrr": [1.0, 0.5]}).write_parquet(run / "results" / "test_model.parquet")
    return old, new


def unmoved(old: Path, new: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["unmoved.py", str(old), str(new)])
    return int(load("unmoved").main())


def test_unmoved_numbers_are_told_in_spite_of_new_names_times_and_paths(
    two_records: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unmoved(*two_records, monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "1 values are only in" in printed and "epochs.jsonl/0/lr" in printed and "All 14 values are equal" in printed


@pytest.mark.parametrize("change", ["last digit", "order", "missing", "type"])
def test_a_number_that_moved_is_named(
    change: str, two_records: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, new = two_records
    if change == "order":
        pl.DataFrame({"path": ["b", "a"], "mrr": [0.5, 1.0]}).write_parquet(new / "results" / "test_model.parquet")
    elif change == "missing":
        (new / "summary.json").unlink()
    else:
        epochs = new / "epochs.jsonl"
        values = ("0.30000000000000004", "0.3") if change == "last digit" else ('"epoch": 1', '"epoch": 1.0')
        epochs.write_text(epochs.read_text().replace(*values))
    assert unmoved(*two_records, monkeypatch) == 1
    place = {"order": "results/test_model.parquet/path/0: 'a', now 'b'", "missing": "summary.json/wise_ft_alpha: 1.0"}
    numbers = {"last digit": "epochs.jsonl/0/loss: 0.30000000000000004, now 0.3", "type": "epochs.jsonl/0/epoch: 1"}
    assert (place | numbers)[change] in capsys.readouterr().out


LEAKING = """
import pathlib, time
held, file = [], pathlib.Path("epochs.jsonl")
for epoch in range(6):
    file.write_text("{}\\n" * (epoch + 1))
    held.append((b"x" * 2_000_000, file.open()))
    time.sleep(0.2)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux says what a process holds")
def test_a_run_that_keeps_memory_and_files_is_seen(tmp_path: Path) -> None:
    soak = load("soak")
    with subprocess.Popen([sys.executable, "-c", LEAKING], cwd=tmp_path) as process:
        held = list(soak.after_each_epoch(process, tmp_path / "epochs.jsonl"))
    assert len(held) == 6 and process.returncode == 0
    assert held[-1].files >= held[0].files + 3 and soak.slope(held) > 500
    assert soak.table(held).splitlines()[-1].startswith(f"| 6 | {held[-1].resident:.0f} | {held[-1].files} |")


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_ends_as_one_that_is_not(tmp_path: Path) -> None:
    """Two kills of real processes; docs/reliability.md has fifty."""
    program = f"import sys, kills, pathlib; kills.HERE = pathlib.Path({str(tmp_path)!r}); sys.exit(kills.main())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, "--quick"], cwd=BENCHMARKS, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "kills.json").read_text())
    assert sum(told["kills"].values()) == 2 and told["runs"] >= 1 and told["faults"] == []


def test_every_benchmark_says_how_it_is_run(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)  # some find each other, as scripts do
    for path in [*BENCHMARKS.glob("*.py"), *recipes.glob("*.py")]:
        name = path.relative_to(BENCHMARKS)
        if path.stem != "documented":  # what peers.py trains, not run by itself
            assert f"python benchmarks/{name}" in (load(str(name.with_suffix(""))).__doc__ or "")


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the peers' recipes, which find each other as scripts do."""
    monkeypatch.syspath_prepend(BENCHMARKS / "recipes")
    return BENCHMARKS / "recipes"


class SmallTrunk(nn.Sequential):
    """Images [B, 3, H, W] -> [B, 8], with batch norm."""

    num_features = 8
    pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # noqa: RUF012 as timm has it

    def __init__(self) -> None:
        steps = nn.Conv2d(3, 8, 16, 16), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        super().__init__(*steps)


@pytest.mark.parametrize("loss", ["triplet", "arcface"])
@pytest.mark.parametrize("mode", ["documented", "careful"])
def test_only_a_careful_peer_keeps_its_batch_norm_statistics(
    loss: str, mode: str, recipes: Path, make_folder: Callable[..., Path]
) -> None:
    torch.manual_seed(0)
    root = make_folder({f"species {number}": 4 for number in range(10)})
    table = root / "training.csv"
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    table.write_text("path,label\n" + "".join(f"{name},{name.partition('/')[0]}\n" for name in names))
    peers, trunk = load("recipes/peers"), SmallTrunk()
    images = peers.read_images(table, root)
    assert images.species == 10 and sorted(set(images.labels)) == list(range(10))
    recipe = peers.RECIPES["pml"](trunk, images, peers.Choice(loss, mode, 1e-5, 0))
    batch, labels = next(iter(recipe.epoch()))
    assert batch.shape == (32, 3, 224, 224)
    assert labels.unique(return_counts=True)[1].tolist() == [4] * 8
    assert [optimizer.defaults["lr"] for optimizer in recipe.optimizers] == [1e-5, 1e-3][: 1 + (loss == "arcface")]
    peers.set_mode(recipe.embed, mode)
    filters, means = trunk[0].weight.clone(), trunk[1].running_mean.clone()
    found = peers.train(recipe, minutes=0)  # one step, during which the time is over
    assert (found["steps"], found["images_per_second"] > 0, np.isfinite(found["last_loss"])) == (1, True, True)
    assert not torch.equal(trunk[0].weight, filters)
    assert torch.equal(trunk[1].running_mean, means) == (mode == "careful")


def test_a_peer_stops_where_its_loss_is_not_a_number_and_keeps_nothing(recipes: Path) -> None:
    peers, trunk = load("recipes/peers"), SmallTrunk()

    def broken(embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return embeddings.sum() * float("nan")

    batch = torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64)
    recipe = peers.Recipe(lambda: [batch], trunk, broken, [torch.optim.Adam(trunk.parameters())])
    with pytest.raises(SystemExit, match="the loss is nan after 1 steps"):
        peers.train(recipe, minutes=1)


def test_the_clock_of_a_peer_goes_on_while_images_load(recipes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peers, trunk, seconds = load("recipes/peers"), SmallTrunk(), [0.0]
    monkeypatch.setattr(peers.time, "perf_counter", lambda: seconds[0])

    def slow() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _ in range(2):
            seconds[0] += 25
            yield torch.rand(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64)

    recipe = peers.Recipe(slow, trunk, lambda found, labels: found.mean(), [torch.optim.Adam(trunk.parameters())])
    found = peers.train(recipe, minutes=1)
    assert (found["steps"], found["seconds"], found["images_per_second"]) == (3, 75.0, 0.08)


@pytest.mark.parametrize("protocol", ["seen", "unseen"])
def test_peers_are_given_every_image_but_those_of_the_test(
    protocol: str, recipes: Path, make_manifest: Callable[..., Manifest]
) -> None:
    manifest = make_manifest([f"species {number}" for number in range(8) for _ in range(10)])
    splits = split(manifest, protocol)
    evaluator = Evaluator(manifest, splits, "", 224, 1, torch.device("cpu"), Console(quiet=True))
    given = load("recipes/run").training_ids(evaluator)
    assert np.array_equal(given, np.setdiff1d(np.arange(80), splits.test.ids))


def test_a_run_of_the_recipes_goes_on_where_it_stopped_and_tells_other_settings(recipes: Path, tmp_path: Path) -> None:
    run, folder = load("recipes/run"), tmp_path / "seed0"
    assert run.begin(folder, ["seed=0"], "summary.json")
    (folder / "left over").touch()
    assert run.begin(folder, ["seed=0", "other"], "summary.json"), "what was cut off is begun again"
    assert [path.name for path in folder.iterdir()] == ["asked.json"]
    (folder / "summary.json").touch()
    assert not run.begin(folder, ["seed=0", "other"], "summary.json")
    with pytest.raises(SystemExit, match="was made with other arguments: other"):
        run.begin(folder, ["seed=0"], "summary.json")


def store(folder: Path, value: float, protocol: str, seeds: int, facts: dict[str, Any] | None = None) -> None:
    """Write results of a recipe: 40 queries of 8 species whose mean is `value`, a little noise in every seed."""
    for seed in range(seeds):
        values = value + 0.02 * np.random.default_rng(seed).standard_normal(40)
        table = {"path": [f"{number:02}.jpg" for number in range(40)], "label": [f"{n % 8}" for n in range(40)]}
        queries = pl.DataFrame(table | {metric: values - values.mean() + value for metric in metric_names()})
        stem = folder / f"seed{seed}" / "results" / "test_model"
        EvalResult(dict.fromkeys(metric_names(), value), {}, queries, {"protocol": protocol}).save(stem)
        if facts:
            (folder / f"seed{seed}" / "training.json").write_text(json.dumps(facts))


def test_contrasts_tell_how_far_ours_lies_above_every_recipe(recipes: Path, tmp_path: Path) -> None:
    contrasts = load("recipes/contrasts")
    store(tmp_path / "unseen" / "start", 0.4, "unseen", seeds=1)
    store(tmp_path / "unseen" / "ours", 0.5, "unseen", seeds=3)
    store(tmp_path / "unseen" / "pml_triplet_careful", 0.45, "unseen", 3, {"seconds": 301.0, "steps": 90})
    (tmp_path / "unseen" / "oml_arcface_careful" / "seed0").mkdir(parents=True)  # still in training
    rows = contrasts.measured(tmp_path / "unseen", "ours")
    assert [row["recipe"] for row in rows] == ["pml_triplet_careful", "start", "ours"]
    found = contrasts.difference(rows[0])
    assert found.over_species and found.interval.mean == pytest.approx(0.05) and found.interval.low > 0
    shown = ["unseen", "pml_triplet_careful", "3", "5.0", "90", "0.450", "0.450 ± 0.000", "+0.050"]
    assert contrasts.cells(rows[0])[:-1] == shown
    assert contrasts.cells(rows[0])[-1].startswith("+0.050 (")
    assert contrasts.cells(rows[2])[-1] == "" and not rows[2]["contrast"]
    assert "exceeds 1 of 1 recipes" in contrasts.verdict(rows)


def test_contrasts_claim_nothing_where_ours_is_not_above(recipes: Path, tmp_path: Path) -> None:
    contrasts = load("recipes/contrasts")
    for name in ("ours", "oml_triplet_documented"):
        store(tmp_path / "seen" / name, 0.5, "seen", seeds=2)
    rows = contrasts.measured(tmp_path / "seen", "ours")
    assert not contrasts.difference(rows[0]).over_species
    assert "exceeds 0 of 1 recipes" in contrasts.verdict(rows)


def test_encoding_is_measured_beside_what_decoding_and_network_allow(
    make_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    encode = load("encode")
    monkeypatch.setattr(encode, "HERE", tmp_path)
    monkeypatch.setattr(encode, "BACKENDS", {})  # converting a network takes seconds
    folder = make_folder({"robin": 4, "wren": 4}, size=(70, 64))
    monkeypatch.setattr(sys, "argv", ["encode.py", str(folder), "--quick", "--size", "64"])
    encode.main()
    found = json.loads((tmp_path / "encode.json").read_text())
    assert found["images"] == 8 and found["machine"]["cores"] >= 1
    rows = {row["way"]: row for row in found["rows"]}
    assert next(iter(rows)) == "decoding alone" and all(row["rate"] > 0 for row in rows.values())
    decoding, alone = (rows[name]["rate"] for name in ("decoding alone", "network alone: torch, float32"))
    assert rows["files to vectors: torch, float32"]["bound"] == pytest.approx(1 / (1 / decoding + 1 / alone))
    assert "files to vectors: plain DataLoader loop" in rows
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in printed[4:]] == list(rows)


def test_the_plain_loop_gives_what_ours_gives(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    encode = load("encode")
    images = encode.few(encode.from_images(str(make_folder({"robin": 3}, size=(64, 64)))), 3, 64)
    embedder = encode.build_embedder("tf_efficientnet_lite0", "bundled", pooling="avg", head="none").eval()
    paths = [images.manifest.path(int(index)) for index in images.ids]
    encode.plain_loop(paths, embedder, 64, tmp_path)
    plain = np.load(tmp_path / "plain.npy")
    embedder.image_size = 64
    ours = embedder.embed(paths, batch_size=3)
    np.testing.assert_allclose(plain / np.linalg.norm(plain, axis=1, keepdims=True), ours, atol=1e-5)


def test_training_is_measured_beside_a_bare_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = load("train")
    monkeypatch.setattr(train, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", "--quick", f"paths.cache={tmp_path}", "trainer.accelerator=cpu"])
    train.main()
    rows = [row for row in json.loads((tmp_path / "train.json").read_text())["rows"] if "left out" not in row]
    for case in train.CASES:
        of_case = {row["way"]: row for row in rows if row["case"] == case}
        peers = set() if "cached" in case else {"pytorch-metric-learning"}
        assert {"bare loop", "conspecific"} | peers <= set(of_case)
        assert all(row["rate"] > 0 and 0 <= row["waiting"] <= 1 for row in of_case.values())
        ours, bare = of_case["conspecific"], of_case["bare loop"]
        assert ours["over bare"] == pytest.approx(bare["rate"] / ours["rate"] - 1)
    assert capsys.readouterr().out.count("| conspecific |") == len(train.CASES)


def test_the_bare_loop_takes_the_steps_that_ours_takes(tmp_path: Path) -> None:
    train = load("train")
    weights = []
    for way in (train.bare_loop, train.ours):
        chosen = [*train.QUICK, f"paths.cache={tmp_path}", "trainer.accelerator=cpu", "trainer.max_epochs=1"]
        sizes = ["loader.train_size=64", "loader.image_size=64", "recipe.cached_augmentations=0", "recipe.ema=0"]
        config = train.typed(train.compose_config("train", [*chosen, *sizes]), train.TrainConfig)
        manifest = train.load_manifest(config.data, config.allow)
        splits = split(manifest, "seen")
        evaluator = Evaluator(manifest, splits, "", 64, 0, torch.device("cpu"), Console(quiet=True))
        parts = train.build_parts(config, evaluator)
        way(config, parts, evaluator, train.Timed(parts.images.train_dataloader(), 3))
        weights.append(torch.cat([weight.flatten() for weight in parts.module.parameters()]))
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_a_device_is_measured_on_synthetic_batches_and_on_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = load("gpu")
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    monkeypatch.setattr(gpu, "device_for", lambda name: torch.device("cpu"))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--quick"])
    gpu.main()
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    measured = {(row["network"], row["work"], row["way"].partition(",")[0], row["data"]) for row in rows}
    ways, data = ("conspecific", "timm"), ("synthetic", "files")
    assert measured == {(*parts,) for parts in product(gpu.QUICK, ("encode", "train"), ways, data)}
    assert all(row["rate"] > 0 and 0 <= row["waiting"] <= 1 and row["busy"] is None for row in rows)
    assert len(capsys.readouterr().out.splitlines()) == 4 + len(rows)


@pytest.mark.slow
def test_subsets_train_each_cell_once_and_count_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subsets = load("subsets")
    monkeypatch.setattr(subsets, "HERE", tmp_path)
    rng = np.random.default_rng(0)
    rows = []
    for label in ("robin", "tit", "wren"):
        (tmp_path / label).mkdir()
        for number in range(9 if label == "wren" else 8):
            path = f"{label}/{number}.png"
            Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / path)
            rows.append({"path": path, "label": label})
    pl.DataFrame(rows).write_csv(tmp_path / "manifest.csv")
    words = ["subsets.py", "--data", str(tmp_path / "manifest.csv"), "--name", "made", "--quick", "--seeds", "0"]
    words += ["--species", "3,50", "--images", "8", "--protocols", "seen", "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", words)
    subsets.main()
    [row] = subsets.read(tmp_path / "subsets_made.jsonl")
    assert (row["train"] + row["val"] + row["tested"], row["species"], row["images"]) == (24, 3, 8)
    assert row["kept"].startswith(("pooled", "head", "epoch")) and row["map@r"]["low"] <= row["map@r"]["high"]
    subsets.main()
    assert len(subsets.read(tmp_path / "subsets_made.jsonl")) == 1, "what is there is not repeated"
    assert "of 1 runs have an interval below zero" in capsys.readouterr().out
    worse = {**row, "seed": 1, "map@r": {"pooled": 0.5, "model": 0.4, "low": -0.2, "high": -0.05}}
    better = {**row, "map@r": {"pooled": 0.5, "model": 0.7, "low": 0.1, "high": 0.3}}
    table = subsets.pl.DataFrame({"label": ["robin"] * 6 + ["wren"] * 6, "path": list("abcdefghijkl")})
    few = [cell["protocol"] for cell in subsets.cells(table, [2], [4], [0], ["seen", "unseen"])]
    assert few == ["unseen"], "four images of a species cannot be in train, validation and test"
    assert "| +0.050 | -0.200 to +0.300 | 1 of 2 |" in subsets.markdown([worse, better])
    assert subsets.conclusion([worse, better]).startswith("1 of 2 runs have an interval below zero; the mean gain is")
    subsets.draw([worse, better], "made", tmp_path / "map.svg")
    assert "<svg" in (tmp_path / "map.svg").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_search_page_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve = load("serve")
    monkeypatch.setattr(serve, "HERE", tmp_path)
    monkeypatch.setattr(serve, "SIDES", {"small": (500, 375)})
    monkeypatch.setattr("sys.argv", ["serve.py", "--quick"])
    serve.main()
    [row] = json.loads((tmp_path / "serve.json").read_text())["rows"]
    assert 0 < row["decode"] + row["networks"] + row["search"] < 10 * row["median"]
    assert (
        "| query | first | median | least | 95 % | processor | decode | networks | search |" in capsys.readouterr().out
    )


def test_swapped_labels_are_counted_among_the_suspect_ones(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder({"owl": 8, "wren": 8, "jay": 8})
    rows = [f"{path.relative_to(folder)},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    (folder / "manifest.csv").write_text("\n".join(["path,label", *rows]))
    words = ["suspects.py", "--data", str(folder / "manifest.csv"), "--quick", "--seeds", "3", "--share", "0.1"]
    monkeypatch.setattr(sys, "argv", words)
    load("suspects").main()
    values = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|")]
    assert values[:2] == ["3", "2"] and 0 <= float(values[2]) <= 1 and len(values) == 7
