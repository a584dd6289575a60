"""Local re-ranking where answers are used: in evaluate, search and on the page, by one calibration."""

import json
import re
import shutil
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from subprocess import CompletedProcess

import polars as pl
import pytest
from PIL import Image
from rich.console import Console
from starlette.testclient import TestClient

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import EvaluateConfig, LimitsConfig, SearchConfig, ServeConfig
from conspecific.runs.calibrated import read_calibration, scores_own_validation
from conspecific.runs.directory import RunDirectory
from conspecific.runs.open import open_run
from conspecific.serving.app import create_app
from conspecific.serving.open import open_gallery
from conspecific.types import EvalResult

Command = Callable[..., CompletedProcess[str]]
VERDICT = (
    r"On validation, re-ranking the first 5 answers by matching cells (pays|does not pay): recall@1 [\d.]+ -> [\d.]+ "
)


@pytest.fixture
def copied(run: RunDirectory, tmp_path: Path) -> RunDirectory:
    return RunDirectory(Path(shutil.copytree(run.path, tmp_path / "run")))


@pytest.fixture
def query(run: RunDirectory, tmp_path: Path) -> Path:
    """A test image of the run, in a file of its own."""
    row = EvalResult.load(run.results / "test_model").per_query.row(0, named=True)
    with Image.open(Path(json.loads(run.summary.read_text())["data_root"]) / row["path"]) as image:
        image.save(tmp_path / "query.png")
    return tmp_path / "query.png"


def test_evaluate_re_ranks_the_first_answers_and_keeps_what_validation_made_of_it(
    conspecific: Command, copied: RunDirectory
) -> None:
    done = conspecific("evaluate", copied.path, "local=5", "output=local", "encode.backend=torch")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "the first 5 answers re-ranked by matching cells against the plain search" in told
    assert re.search(r"Matching takes [\d.]+ ms a query, and 2,304 bytes an image", told), "9 cells of 128"
    assert re.search(VERDICT, told)
    plain, local = (EvalResult.load(Path("local") / name) for name in ("model", "model_local"))
    assert local.facts["local"] == 5 and local.facts["queries"] == plain.facts["queries"]
    assert local.metrics["recall@5"] == plain.metrics["recall@5"], "the first five are the same images"
    kept = EvalResult.load(copied.local / "cells_5" / "validation")
    assert kept.facts["subset"] == "val" and kept.facts["local"] == 5
    for words, own in (
        ([], True),
        (["split.seed=7"], False),
        (["protocol=unseen"], False),
        (["data=butterflies"], False),
    ):
        config = typed(compose_config("evaluate", [f"run={copied.path}", *words]), EvaluateConfig)
        opened = open_run(config)
        assert scores_own_validation(opened, exclude_group=False) == own and not scores_own_validation(opened, True)
    assert conspecific("evaluate", copied.path, "local=1").returncode == 2


def test_search_calibrates_once_and_finds_the_same_in_an_index(
    conspecific: Command, copied: RunDirectory, query: Path, tmp_path: Path
) -> None:
    def found(where: Path, *words: str) -> tuple[list[str], str]:
        done = conspecific("search", where, query, f"output={tmp_path / 'found.csv'}", "encode.backend=torch", *words)
        assert done.returncode == 0, done.stderr
        return pl.read_csv(tmp_path / "found.csv")["path"].to_list(), " ".join(done.stdout.split())

    plain, _ = found(copied.path)
    again, told = found(copied.path, "local=5")
    assert sorted(again[:5]) == sorted(plain[:5]) and again[5:] == plain[5:], "only the first answers are re-ranked"
    assert "Calibrating local re-ranking" in told and re.search(VERDICT, told)
    assert conspecific("index", copied.path, f"output={tmp_path / 'birds.index'}").returncode == 0
    kept, told = found(tmp_path / "birds.index", "local=5")
    assert kept == again and "Calibrating" not in told and "Index: " in told
    cells = copied.local / "cells_5" / "cells.safetensors"
    cells.write_bytes(cells.read_bytes()[:-4])
    config = typed(compose_config("search", [f"run={copied.path}", "local=5"]), SearchConfig)
    opened = open_run(config)
    console = Console(record=True, file=StringIO(), width=500)
    assert read_calibration(opened, config, console) is None and "cells_5 is not used: " in console.export_text()
    again, told = found(copied.path, "local=3", "local_descriptors=sift")
    assert sorted(again[:3]) == sorted(plain[:3]) and again[3:] == plain[3:]
    assert "by matching SIFT keypoints" in told and (copied.local / "sift_3" / "validation.json").is_file()
    for words, reason in (
        (["local=1"], "local must be 2 or more"),
        (["local=5", "truncate=16"], "without truncate and image_size"),
        (["local=5", "local_weights=[a.pth]"], "local_weights belong to local_descriptors=disk"),
        (["local=5", "local_descriptors=surf"], "local_descriptors=surf is unknown"),
        (["local=5", "refine.method=query_expansion"], "leave out local or query_expansion"),
    ):
        done = conspecific("search", copied.path, query, *words)
        assert done.returncode == 2 and reason in done.stderr


def test_the_page_re_ranks_and_says_what_it_is_worth(copied: RunDirectory, query: Path) -> None:
    words = [f"run={copied.path}", "device=cpu", "encode.backend=torch", "local=5"]
    gallery = open_gallery(typed(compose_config("serve", words), ServeConfig), Console(quiet=True))
    with TestClient(create_app(gallery, LimitsConfig()), base_url="http://localhost") as client:
        facts = client.get("/api/gallery").json()
        assert (facts["refinement"], facts["refinements"][-1]) == ("local", "local")

        def asked(**options: str) -> dict[str, object]:
            answer = client.post("/api/search", content=query.read_bytes(), params=options, headers=PNG)
            model: dict[str, object] = answer.json()["model"]
            return model

        local, plain = asked(), asked(refine="none")
        ids = [[each["id"] for each in found["answers"]] for found in (local, plain)]  # type: ignore[attr-defined]
        assert sorted(ids[0][:5]) == sorted(ids[1][:5]) and ids[0][5:] == ids[1][5:]
        assert re.search(VERDICT, str(local["told"])) and plain["told"] == ""
        assert local["network"] == "Model of the run, the first answers re-ranked by matching cells"
        assert local["threshold"] != plain["threshold"], "re-ranked scores have a threshold of their own"
        Image.new("RGB", (96, 96), "orange").save(other := BytesIO(), "PNG")
        client.post("/api/search", content=other.getvalue(), headers=PNG)
        assert asked() == local, "no query is taken for another"
        of_gallery = client.get("/api/search", params={"id": 3, "species": gallery.label(3)}).json()["model"]
        assert len(of_gallery["answers"]) == 7


PNG = {"content-type": "image/png"}
