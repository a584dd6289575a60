"""conspecific serve: from the command to an answer, and back to the shell."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from subprocess import CompletedProcess
from urllib.request import Request, urlopen

import pytest
from PIL import Image, ImageOps
from rich.console import Console
from starlette.testclient import TestClient

from conspecific.config.compose import compose_config, typed
from conspecific.config.schema import LimitsConfig, ServeConfig
from conspecific.index import Index
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import trained_images
from conspecific.serving.app import create_app
from conspecific.serving.open import open_gallery
from conspecific.types import EvalResult

from .conftest import COMMAND

Command = Callable[..., CompletedProcess[str]]


def test_a_run_is_served_until_ctrl_c(run: RunDirectory, cache: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run.path, tmp_path / "run")
    environment = {**os.environ, "CONSPECIFIC_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", COMMAND, "serve", str(copied), "port=0", "device=cpu", "encode.backend=torch"]
    query = EvalResult.load(run.results / "test_model").per_query.row(0, named=True)
    file = Path(json.loads(run.summary.read_text())["data_root"]) / query["path"]
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            shown: list[str] = []
            for line in iter(server.stdout.readline, ""):
                shown.append(line)
                if line.startswith("Search page"):
                    break
            address = shown[-1].split(": ")[1].split(" ")[0]
            upload = Request(f"{address}api/search", file.read_bytes(), {"content-type": "image/png"})
            with urlopen(upload, timeout=30) as response:
                found = json.load(response)
        finally:
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=30)
    assert (server.returncode, errors) == (0, "")
    assert shown[0].startswith("Data: 48 images of 6 species")
    assert shown[-1].startswith("Search page of 48 images: http://127.0.0.1:")
    assert [image["path"] for image in found["recognized"]] == [query["path"]]
    for by in ("model", "reference"):
        answers = found[by]["answers"]
        assert len(answers) == 10 and query["path"] not in {answer["path"] for answer in answers}
        assert 0 <= answers[0]["precision"] <= 1
    assert sorted(path.name for path in (copied / "embeddings").iterdir()) == ["all", "all_pooled_reference"]


def test_what_keeps_it_from_serving_is_told_first(
    conspecific: Command, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = conspecific("serve", run.path, f"port={port}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: host=127.0.0.1 port={port} cannot be listened at: Address already in use.")
    assert conspecific("serve", run.path, "limits.seconds=0").stderr.startswith("error: limits.seconds must be above 0")
    monkeypatch.setattr("conspecific.cli.serve.find_spec", lambda name: None)
    done = conspecific("serve", run.path)
    assert (
        done.stderr == "error: serve needs the extra `serve` (fastapi and uvicorn): pip install 'conspecific[serve]'\n"
    )


@pytest.fixture
def birds(
    conspecific: Command, run: RunDirectory, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An index of a copy of the run's images, the first of which was removed since; the run was copied too."""
    root = shutil.copytree(json.loads(run.summary.read_text())["data_root"], tmp_path / "images")
    copied = shutil.copytree(run.path, tmp_path / "run")
    index = tmp_path / "birds.index"
    assert (
        conspecific("index", copied, "data=folder", f"data.root={root}", "kind=hnsw", f"output={index}").returncode == 0
    )
    opened = Index.open(index, cache=cache)
    (root / opened.images["path"][0]).unlink()
    opened.remove([0])
    opened.save(index, cache=cache)
    return index


def test_the_gallery_of_an_index_is_served(birds: Path, cache: Path) -> None:
    config = typed(compose_config("serve", [f"run={birds}", "device=cpu", "encode.backend=torch"]), ServeConfig)
    gallery, images = open_gallery(config, Console(quiet=True)), Index.open(birds, cache=cache).images
    row = images.row(5, named=True)
    with TestClient(create_app(gallery, LimitsConfig()), base_url="http://localhost") as client:
        facts = client.get("/api/gallery").json()
        with Image.open(birds.parent / "images" / row["path"]) as image:
            image.save(upload := BytesIO(), "PNG")  # another file of the same image
        found = client.post("/api/search", content=upload.getvalue(), headers={"content-type": "image/png"}).json()
        again = (birds.parent / "images" / row["path"]).read_bytes()
        same = client.post("/api/search", content=again, headers={"content-type": "image/jpeg"}).json()
        listed = client.get("/api/search", params={"id": row["id"], "k": 100}).json()["model"]["answers"]
        sheet = client.get("/api/sheet.png", params={"id": row["id"]})
        assert client.get("/api/images/0").status_code == 404, "the image that was removed"
    assert (facts["run"], facts["images"]) == (f"{birds.parent.name}/birds.index", 47)
    assert {(found[by]["answers"][0]["id"], found[by]["answers"][0]["path"]) for by in ("model", "reference")} == {
        (row["id"], row["path"])
    }
    assert found["recognized"] == []
    assert same["recognized"] == [{"id": row["id"], "species": row["label"], "path": row["path"]}]
    assert same["model"]["answers"] == listed[:10]
    assert found["model"]["answers"][0]["species"] == row["label"]
    assert {answer["id"] for answer in listed} | {row["id"]} == set(images["id"]), "it leaves itself out"
    assert sheet.status_code == 200
    examples = images.filter(images["id"].is_in(facts["examples"]))["path"]
    trained = trained_images(RunDirectory(birds.parent / "run"))["path"]
    assert len(examples) == 8 and not examples.is_in(trained.to_list()).any()


@pytest.mark.parametrize("axes", ["whitening", "wiener"])
def test_the_gallery_is_averaged_with_its_mirror_images_and_whitened(
    axes: str, run: RunDirectory, tmp_path: Path
) -> None:
    copied = shutil.copytree(run.path, tmp_path / "run")
    refine = ["refine.flip=true", f"refine.{axes}=true"]
    words = [f"run={copied}", "device=cpu", "encode.backend=torch", *refine]
    gallery = open_gallery(typed(compose_config("serve", words), ServeConfig), Console(quiet=True))
    with TestClient(create_app(gallery, LimitsConfig()), base_url="http://localhost") as client:
        ImageOps.mirror(gallery.manifest.open_rgb(3)).save(upload := BytesIO(), "PNG")
        found = client.post("/api/search", content=upload.getvalue(), headers={"content-type": "image/png"}).json()
    nearest = found["model"]["answers"][0]
    assert (nearest["id"], nearest["precision"]) == (3, None)
    assert nearest["score"] == pytest.approx(1, abs=1e-3), "an image and its mirror image have one embedding"
    assert found["model"]["network"] == f"Model of the run, refined by flip_{axes}"
    assert (copied / "embeddings" / "all_mirrored").is_dir()


def test_an_index_of_flipped_images_is_served_as_such(conspecific: Command, run: RunDirectory, tmp_path: Path) -> None:
    index = tmp_path / "birds.index"
    copied = shutil.copytree(run.path, tmp_path / "run")
    assert conspecific("index", copied, "flip=true", f"output={index}").returncode == 0
    config = typed(compose_config("serve", [f"run={index}", "device=cpu", "encode.backend=torch"]), ServeConfig)
    gallery = open_gallery(config, Console(quiet=True))
    found, _ = gallery.search(ImageOps.mirror(gallery.manifest.open_rgb(3)), 1, None)
    assert found.neighbors.ids.tolist() == [[3]] and found.neighbors.scores[0, 0] == pytest.approx(1, abs=1e-3)
    assert (found.encoded.title, found.encoded.worth) == ("Model of the run, refined by flip", None)


def test_an_index_that_cannot_be_served_is_told(conspecific: Command, birds: Path, tmp_path: Path) -> None:
    done = conspecific("serve", birds, "port=0", "truncate=8")
    assert done.stderr == f"error: {birds} is an index, which has its own images and weights: leave out truncate\n"
    done = conspecific("serve", birds, "port=0", "refine.flip=true")
    assert (
        done.stderr
        == f"error: {birds} was made without mirrored images: leave out refine.flip, or make it again with flip=true\n"
    )
    (birds / "seal").unlink()
    done = conspecific("serve", birds, "port=0")
    assert done.stderr == f"error: {birds} was written on another machine: say where its images are, data.root=FOLDER\n"
    done = conspecific("serve", birds, "port=0", f"data.root={tmp_path}")
    assert done.stderr.startswith(f"error: 47 of the 47 images of {birds} are not in {tmp_path}, first ")
    shutil.copy(tmp_path / "run" / "checkpoints" / "start.safetensors", tmp_path / "run" / "weights.safetensors")
    done = conspecific("serve", birds, "port=0")
    assert done.stderr.startswith(f"error: {birds} belongs to another encoder: weights ")
    (birds / "vectors.npy").write_bytes(b"")
    done = conspecific("serve", birds, "port=0")
    assert done.stderr.startswith(f"error: {birds} is damaged: vectors.npy has 0 bytes and should have ")
