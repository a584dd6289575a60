"""index, and search in what it made."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import yaml
from PIL import Image, ImageOps

from conspecific.encoding.query_encoder import open_query_encoder
from conspecific.images import image_array
from conspecific.index import Index
from conspecific.runs.directory import RunDirectory
from conspecific.types import EvalResult

Command = Callable[..., CompletedProcess[str]]
HEAVY = ("torch", "timm", "pytorch_lightning", "matplotlib", "scipy", "wandb", "jinja2")
PROBE = f"""
import sys
from importlib.util import find_spec
if find_spec("openvino"):
    sys.modules.update(dict.fromkeys(["onnx", "onnxruntime"]))  # as README installs it
from conspecific.cli.main import main
status = main(sys.argv[1:])
print(status, [name for name in {HEAVY} if name in sys.modules])
"""


@pytest.fixture
def copied(run: RunDirectory, tmp_path: Path) -> RunDirectory:
    """The run under a difficult name, to write into."""
    return RunDirectory(Path(shutil.copytree(run.path, tmp_path / "it's run=1 (copy)")))


@pytest.fixture
def gallery(run: RunDirectory, tmp_path: Path) -> Path:
    """A copy of the images of the run, to change."""
    root = Path(json.loads(run.summary.read_text())["data_root"])
    return Path(shutil.copytree(root, tmp_path / "gallery"))


def searched(run: Path, image: Path, here: Path) -> list[str]:
    """What a search prints whose process may import neither torch nor another thing that takes long."""
    command = [sys.executable, "-c", PROBE, "search", str(run), str(image), "k=3", "output=a.json"]
    shown = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    *lines, last = shown.stdout.splitlines()
    assert (last, shown.stderr) == ("0 []", "")
    return lines


@pytest.mark.usefixtures("with_network")
def test_a_search_in_an_index_imports_nothing_heavy(
    conspecific: Command, copied: RunDirectory, gallery: Path, here: Path, cache: Path
) -> None:
    image = next(gallery.rglob("*.jpg"))
    done = conspecific("index", copied.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"48 images, 512 dimensions, exact, 2,048 bytes an image\nIndex: {copied.index}" in done.stdout
    assert f"Index: {copied.index}, 48 images, exact" in searched(copied.path, image, here)
    answers = json.loads(Path("a.json").read_text())["answers"]
    assert [answer["rank"] for answer in answers] == [1, 2, 3]
    assert (answers[0]["path"], round(answers[0]["score"], 4)) == (f"{image.parent.name}/{image.name}", 1)
    index = Index.open(copied.index, cache=cache)
    assert index.contents is not None
    encoded = open_query_encoder(index.contents.encoder)(image_array(image, 96)[None])
    row = index.images["path"].to_list().index(answers[0]["path"])
    np.testing.assert_allclose(encoded[0], index.vectors[row], atol=1e-4)
    shutil.copy(copied.start, copied.weights)
    done = conspecific("search", copied.path, image)
    assert done.stderr.startswith(f"error: {copied.index} belongs to another encoder: weights "), (
        "though it has its own"
    )


@pytest.mark.usefixtures("with_network")
def test_a_search_of_a_run_leaves_an_index_for_the_next_while_nothing_changes(
    conspecific: Command, copied: RunDirectory, gallery: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(copied.config.read_text())
    config["data"] = {"_target_": "conspecific.data.sources.from_folder", "root": str(gallery)}
    copied.config.write_text(yaml.safe_dump(config))
    image = next(gallery.rglob("*.jpg"))
    first = conspecific("search", copied.path, image, "k=3", "output=first.json")
    assert (first.returncode, first.stderr) == (0, "")
    told = f"Kept for the next search, which will take seconds less: {copied.kept_index}"
    assert told in first.stdout
    assert f"Index: {copied.kept_index}, 48 images, exact" in searched(copied.path, image, here)
    both = [json.loads(Path(name).read_text())["answers"] for name in ("first.json", "a.json")]
    assert [each["path"] for each in both[0]] == [each["path"] for each in both[1]]
    filtered = conspecific("search", copied.path, image, "k=3", "refine.wiener=true", "output=filtered.json")
    assert f"Index: {copied.kept_index}, 48 images, exact\nAnswers refined by wiener" in filtered.stdout
    Image.new("RGB", (96, 96), "teal").save(image.with_name("new.jpg"))
    monkeypatch.setattr("conspecific.runs.kept_index.can_write", lambda: False)  # that takes seconds
    again = conspecific("search", copied.path, image.with_name("new.jpg"), "k=1")
    assert "The data changed since the run: 1 new, 0 gone, 0 changed." in again.stdout
    assert f"{image.parent.name}/new.jpg" in again.stdout


def test_refresh_encodes_only_what_changed(
    conspecific: Command, copied: RunDirectory, gallery: Path, here: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = conspecific("index", copied.path, "data=folder", f"data.root={gallery}", "kind=hnsw", "output=birds.index")
    assert (made.returncode, made.stderr) == (0, "")
    assert "pip install 'conspecific[onnx]'" in made.stdout
    first, second, third, fourth = sorted(gallery.rglob("*.jpg"))[:4]
    before = Index.open("birds.index", cache=cache)
    first.unlink()
    Image.new("RGB", (96, 96), "teal").save(second)
    third.rename(gallery / fourth.parent.name / "moved.jpg")
    Image.new("RGB", (96, 96), "olive").save(fourth.with_name("new.jpg"))
    done = conspecific("index", "birds.index", "refresh=true")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 new, 1 changed, 2 gone, 0 of another species now: 2 images encoded, 46 not again." in done.stdout
    assert "hnsw cannot lose images and was built again from its vectors" in done.stdout
    after = Index.open("birds.index", cache=cache)
    vector = {path: after.vectors[row] for row, path in enumerate(after.images["path"])}
    moved = f"{fourth.parent.name}/moved.jpg"
    row = before.images["path"].to_list().index(third.relative_to(gallery).as_posix())
    assert np.array_equal(vector[moved], before.vectors[row]), "a file of another name was not encoded"
    shown = conspecific("search", "birds.index", second, "k=1", "output=answers.csv")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "1.000" in shown.stdout and second.name in shown.stdout
    assert "none of" not in shown.stdout


def test_images_are_added_removed_and_taken_anew(
    conspecific: Command, copied: RunDirectory, gallery: Path, here: Path, cache: Path
) -> None:
    assert (
        conspecific("index", copied.path, "data=folder", f"data.root={gallery}", "output=birds.index").returncode == 0
    )
    first, second, third = sorted(gallery.rglob("*.jpg"))[:3]
    before, new = Index.open("birds.index", cache=cache), gallery / "rare owl"
    kept = np.array(before.vectors)
    first.unlink()
    Image.new("RGB", (96, 96), "teal").save(second)
    new.mkdir()
    Image.new("RGB", (96, 96), "olive").save(new / "1.jpg")
    shutil.copy(third, new / "2.jpg")
    removed = f"remove=[{first.relative_to(gallery)},{before.images['id'][-1]}]"
    done = conspecific("index", "birds.index", new, second, third, removed)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 new, 1 changed, 2 gone, 0 of another species now: 2 images encoded, 46 not again. 3 images" in done.stdout
    after = Index.open("birds.index", cache=cache)
    rows = {path: row for row, path in enumerate(after.images["path"])}
    assert len(rows) == 48 and first.relative_to(gallery).as_posix() not in rows
    assert after.images["label"][rows["rare owl/1.jpg"]] == "rare owl"
    assert np.array_equal(after.vectors[rows["rare owl/2.jpg"]], kept[2]), "an equal image is not encoded again"
    assert not np.array_equal(after.vectors[rows[second.relative_to(gallery).as_posix()]], kept[1])
    shutil.rmtree(copied.path)  # nothing is encoded, so that the network is not needed
    done = conspecific("index", "birds.index", "remove=rare owl")
    assert "0 new, 0 changed, 2 gone" in done.stdout and "46 images" in done.stdout


def test_what_cannot_be_added_or_removed_is_told(
    conspecific: Command, copied: RunDirectory, gallery: Path, here: Path
) -> None:
    assert (
        conspecific("index", copied.path, "data=folder", f"data.root={gallery}", "output=birds.index").returncode == 0
    )
    inside = next(gallery.rglob("*.jpg"))
    shutil.copy(inside, "elsewhere.jpg")
    for words, told in (
        (["remove=[99,owl]"], f"the index has no image 99, owl: give ids, or paths below {gallery}, its folder"),
        (
            ["elsewhere.jpg"],
            f"elsewhere.jpg: not below {gallery}, the folder of the index: copy it there, or say where ",
        ),
        ([inside.with_name("lost.jpg")], "lost.jpg: not among the images that this index is made of"),
        ([inside, f"remove={inside}"], "to be added and removed: leave out one"),
        (
            ["remove=0", "refresh=true"],
            "refresh=true compares the whole folder with the index: leave out add and remove",
        ),
    ):
        done = conspecific("index", "birds.index", *words)
        assert done.returncode == 2 and told in done.stderr, done.stderr
    done = conspecific("index", copied.path, inside)
    assert done.stderr.startswith(f"error: {copied.index} is not an index")


def test_an_index_of_a_run_that_has_other_weights_now_is_refused(
    conspecific: Command, copied: RunDirectory, gallery: Path
) -> None:
    assert conspecific("index", copied.path, "kind=sq8").returncode == 0
    done = conspecific("search", copied.index, next(gallery.rglob("*.jpg")), "truncate=8")
    assert done.stderr.endswith("is an index, which has its own images and weights: leave out truncate\n")
    shutil.copy(copied.start, copied.weights)
    for command in (["search", copied.index, next(gallery.rglob("*.jpg"))], ["index", copied.path, "refresh=true"]):
        done = conspecific(*command)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {copied.index} belongs to another encoder: weights ")


def test_a_query_below_the_threshold_is_probably_none_of_these(
    conspecific: Command, copied: RunDirectory, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conspecific.runs.answers import Threshold

    monkeypatch.setattr("conspecific.runs.gallery.validated_threshold", lambda opened: Threshold(0.99, 0.95))
    assert conspecific("index", copied.path).returncode == 0
    Image.new("RGB", (96, 96), "teal").save("teal.png")
    for place in (copied.index, copied.path):
        done = conspecific("search", place, "teal.png", "output=answers.json")
        assert "Probably none of these: the best score, " in done.stdout
        assert ", is below 0.990, which 95% of the validation queries reach" in done.stdout
        written = json.loads(Path("answers.json").read_text())
        assert written["none_of_these"] == ["teal.png"] and written["threshold"] == {"score": 0.99, "kept": 0.95}


@pytest.mark.usefixtures("with_network")
def test_an_index_that_flips_its_images_flips_queries_too(
    conspecific: Command, copied: RunDirectory, gallery: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = "data=folder", f"data.root={gallery}"
    assert conspecific("index", copied.path, *data, "output=birds.index", "flip=true").returncode == 0
    image, new = next(gallery.rglob("*.jpg")), gallery / "owl" / "new.jpg"
    new.parent.mkdir()
    ImageOps.mirror(Image.open(image)).save(new, quality=95)
    assert ": 1 images encoded" in conspecific("index", "birds.index", new).stdout
    done = conspecific("search", "birds.index", new, "k=2", "refine.flip=true", "output=a.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "birds.index, 49 images, exact, flip" in done.stdout and "none of" not in done.stdout
    assert [answer["score"] for answer in json.loads(Path("a.json").read_text())["answers"]] == pytest.approx(
        [1, 1], abs=0.01
    )
    done = conspecific("index", "birds.index", "refresh=true", "flip=true")
    assert done.stderr == "error: flip=true says how an index is made, which then stays so: leave it out\n"
    monkeypatch.setattr("conspecific.runs.gallery.can_write", lambda: False)
    assert conspecific("index", copied.path, *data, "output=birds.index").returncode == 0
    done = conspecific("search", "birds.index", new, "refine.flip=true")
    assert done.stderr.startswith("error: birds.index was made without mirrored images: leave out refine.flip, or make")


def test_compare_prints_what_each_kind_costs_and_adds_it_to_the_report(
    conspecific: Command, copied: RunDirectory
) -> None:
    assert "Cost of an index" not in copied.report.read_text()
    done = conspecific("index", copied.path, "compare=true")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    exact = next(row for row in rows if row[:1] == ["exact"])
    test = EvalResult.load(copied.results / "test_model").metrics
    assert exact[1:6] == ["512", f"{test['recall@1']:.3f}", f"{test['map@r']:.3f}", "1.000", "2,048"]
    assert [row[0] for row in rows if len(row) == 8 and row[1].isdecimal()][-3:] == ["reciprocal", "flip", "wiener"]
    page = copied.report.read_text()
    assert "Cost of an index" in page and '<th scope="row">flip</th>' in page and '<th scope="row">hnsw</th>' in page
    assert not copied.index.exists()
