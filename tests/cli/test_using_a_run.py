"""evaluate, embed and search, on what a run left behind."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image, ImageOps

import conspecific as conspecific_api
from conspecific.cli import evaluate
from conspecific.config.overrides import override
from conspecific.data.sources import from_file
from conspecific.runs.directory import RunDirectory
from conspecific.runs.load import load
from conspecific.types import EvalResult

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def copied(run: RunDirectory, tmp_path: Path) -> RunDirectory:
    """The run under a difficult name, to write into."""
    return RunDirectory(Path(shutil.copytree(run.path, tmp_path / "it's run=1 (copy)")))


@pytest.fixture
def train_in_folder(tiny: list[str], cache: Path) -> Callable[..., RunDirectory]:
    """Return a function that trains on bursts of three equal pictures in folders, without answers of the own burst."""

    def train(folder: Path) -> RunDirectory:
        rng = np.random.default_rng(0)
        for species in ("owl", "wren", "robin", "jay"):
            for burst in range(8):
                (folder / "photos" / species / str(burst)).mkdir(parents=True)
                picture = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((64, 64))
                for place in range(3):
                    picture.save(folder / "photos" / species / str(burst) / f"{place}.png")
        own = [each for each in tiny if not each.startswith("data.")]
        run = conspecific_api.train(
            [
                *("data=folder", f"data.root={folder / 'photos'}", "data.group_level=1", "exclude_group=true"),
                *(*own, "trainer.max_epochs=1", "optimizer.backbone_lr=1e-6", "optimizer.head_lr=1e-6"),
                *(override("paths.cache", str(cache)), f"hydra.run.dir={folder / 'run'}"),
            ]
        )
        assert run is not None
        return run.directory

    return train


@pytest.fixture
def image(run: RunDirectory) -> Path:
    """An image of the run's test subset."""
    row = EvalResult.load(run.results / "test_model").per_query.row(0, named=True)
    return Path(json.loads(run.summary.read_text())["data_root"]) / str(row["path"])


# --- evaluate


def test_a_run_on_groups_scores_with_and_without_them(
    train_in_folder: Callable[..., RunDirectory], conspecific: Command, tmp_path: Path
) -> None:
    """Bursts of three; each image of a burst is the same picture, so that it is always found first."""
    run = train_in_folder(tmp_path)
    told = json.loads((run.results / "test_model.json").read_text())["facts"]["own_group"]
    assert told["with"] == 1.0 > told["without"] and told["queries"] > 0
    stored = EvalResult.load(run.results / "test_model")
    assert stored.metrics["recall@1"] == pytest.approx(told["without"]) and stored.facts["exclude_group"]
    report = run.report.read_text()
    assert "may be answered by images of its own group" in report
    found = conspecific("evaluate", str(run.path), "exclude_group=false")
    assert found.returncode == 0, found.stderr
    [folder] = (run.path / "evaluations").iterdir()
    assert EvalResult.load(folder / "model").metrics["recall@1"] == 1.0


def test_evaluate_gives_the_numbers_that_the_run_recorded(conspecific: Command, copied: RunDirectory) -> None:
    done = conspecific("evaluate", f"{copied.path}/")
    assert (done.returncode, done.stderr) == (0, "")
    [folder] = (copied.path / "evaluations").iterdir()
    assert f"Results: {folder}" in done.stdout
    assert "Caution" not in done.stdout
    for name in ("flatten", "pooled", "model"):
        again, recorded = EvalResult.load(folder / name), EvalResult.load(copied.results / f"test_{name}")
        assert again.metrics == recorded.metrics
        assert again.per_query.equals(recorded.per_query)


def test_evaluate_under_another_protocol(conspecific: Command, copied: RunDirectory) -> None:
    done = conspecific("evaluate", copied.path, "protocol=unseen", "output=~/scores")
    assert done.returncode == 0, done.stderr
    assert "test, protocol unseen: model against flatten" in done.stdout
    assert re.search(r"Caution: the run was trained on \d+ of these 24 queries: this is not a test of it", done.stdout)
    facts = EvalResult.load(Path("scores/model")).facts
    assert (facts["protocol"], facts["species"], facts["queries"]) == ("unseen", 3, 24)


def test_evaluate_weights_without_a_run(conspecific: Command, run: RunDirectory, tiny: list[str]) -> None:
    data = [text for text in tiny if text.startswith("data.")]
    arguments = [
        f"weights={run.weights}",
        "model=efficientnet_lite0",
        "model.dimensions=512",
        "data=butterflies",
        *data,
        "image_size=96",
    ]
    done = conspecific("evaluate", *arguments)
    assert done.returncode == 0, done.stderr
    [folder] = Path("evaluations").iterdir()
    assert EvalResult.load(folder / "model").metrics == EvalResult.load(run.results / "test_model").metrics


def test_evaluate_weights_of_another_model_says_so(conspecific: Command, run: RunDirectory) -> None:
    arguments = ["model=efficientnet_lite0", "model.backbone=tf_efficientnet_lite2", "data=butterflies"]
    done = conspecific("evaluate", f"weights={run.weights}", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {run.weights} does not hold the weights of this model")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("protocol=open", "protocol=open is unknown. Known here: query_gallery, seen, unseen."),
        ("subset=train", "subset=train is unknown. Known here: test, val."),
        ("device=abacus", "device=abacus "),
    ],
)
def test_evaluate_names_what_it_does_not_know(given: str, told: str, conspecific: Command, run: RunDirectory) -> None:
    done = conspecific("evaluate", run.path, given)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {told}")


def test_evaluate_with_the_first_dimensions_alone(conspecific: Command, copied: RunDirectory) -> None:
    done = conspecific("evaluate", copied.path, "truncate=16")
    assert (done.returncode, done.stderr) == (0, "")
    [folder] = (copied.path / "evaluations").iterdir()
    assert folder.name.endswith("_first16")
    assert [EvalResult.load(folder / name).facts["dimensions"] for name in ("model", "pooled")] == [16, 1280]
    assert "The model's first 16 dimensions" in done.stdout
    for asked in (0, 513):
        done = conspecific("evaluate", copied.path, f"truncate={asked}")
        assert done.returncode == 2
        assert done.stderr == f"error: truncate must be 1 to 512, the dimensions of these embeddings; found {asked}\n"


def test_evaluate_shows_what_reranking_gains_beside_the_plain_search(
    conspecific: Command, copied: RunDirectory
) -> None:
    done = conspecific("evaluate", copied.path, "refine.method=k_reciprocal", "refine.k1=3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "test, protocol seen: model refined by k_reciprocal against its plain search" in done.stdout
    [folder] = (copied.path / "evaluations").iterdir()
    plain, refined = EvalResult.load(folder / "model"), EvalResult.load(folder / "model_k_reciprocal")
    assert plain.metrics == EvalResult.load(copied.results / "test_model").metrics
    assert plain.per_query["neighbor_ids"].to_list() != refined.per_query["neighbor_ids"].to_list()
    assert refined.facts["refine"]["k1"] == 3
    done = conspecific("evaluate", copied.path, "refine.flip=true", "refine.whitening=true", "output=both")
    assert (done.returncode, done.stderr) == (0, "")
    assert "model refined by flip_whitening against its plain search" in done.stdout
    both = EvalResult.load(Path("both/model_flip_whitening"))
    assert both.facts["dimensions"] == 23, "one fewer than the images of the gallery"
    done = conspecific("evaluate", copied.path, "refine.method=k_reciprocol")
    assert done.returncode == 2
    assert done.stderr.startswith("error: refine.method=k_reciprocol is unknown")


def test_what_differs_between_species_is_kept_by_the_covariance_that_training_left(
    conspecific: Command, copied: RunDirectory, image: Path
) -> None:
    done = conspecific("evaluate", copied.path, "refine.flip=true", "refine.wiener=true", "output=both")
    assert (done.returncode, done.stderr) == (0, "")
    assert "model refined by flip_wiener against its plain search" in done.stdout
    facts = EvalResult.load(Path("both/model_flip_wiener")).facts
    assert 5 <= facts["dimensions"] <= 23, "24 images span 23 axes"
    assert facts["refine"]["wiener"]
    for words in ([], ["output=first.json", "k=48"]):
        done = conspecific("search", copied.path, image, "refine.wiener=true", *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Answers refined by wiener" in done.stdout and "1.000" in done.stdout and image.name in done.stdout
    assert conspecific("index", copied.path).returncode == 0
    done = conspecific("search", copied.path, image, "refine.wiener=true", "output=second.json", "k=48")
    assert f"Index: {copied.index}" in done.stdout
    first, second = (json.loads(Path(f"{name}.json").read_text())["answers"] for name in ("first", "second"))
    assert [each["path"] for each in first] == [each["path"] for each in second]
    assert [each["score"] for each in first] == pytest.approx([each["score"] for each in second], abs=1e-4)


def test_a_run_without_that_covariance_says_what_to_do(conspecific: Command, copied: RunDirectory, image: Path) -> None:
    for words in (["truncate=16"], []):
        if not words:
            copied.within_species.unlink()
        for command in (["evaluate", copied.path], ["search", copied.path, image]):
            done = conspecific(*command, "refine.wiener=true", *words)
            assert done.returncode == 2
            assert done.stderr.startswith("error: refine.wiener needs how embeddings vary within a species, and ")
            assert "Train again with this version, or leave refine.wiener out" in done.stderr
    assert conspecific("index", copied.path).returncode == 0
    done = conspecific("search", copied.path, image, "refine.wiener=true")
    assert done.stderr.startswith(f"error: {copied.index} does not say how embeddings vary within a species: leave out")


def test_evaluate_refuses_before_the_work(
    conspecific: Command, copied: RunDirectory, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "references", lambda *_: pytest.fail("the work has begun"))
    (here / "model.json").write_text('{"layers": 3}')
    done = conspecific("evaluate", copied.path, "output=.")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "model.json is no stored result, and would be overwritten" in done.stderr
    copied.splits.unlink()
    for words in ([], ["data=butterflies", "data.species=6", "data.images=8", "data.size=96"]):
        done = conspecific("evaluate", copied.path, *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "splits.parquet cannot be read: No such file" in done.stderr


# --- embed


def test_embed_any_folder_of_images(conspecific: Command, run: RunDirectory, image: Path) -> None:
    done = conspecific("embed", run.path, "data=images", f"data.root={image.parent}", "output=my vectors")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        f"Data: 8 images in {image.parent}, species not known: no folder of its own for each"
        in done.stdout.splitlines()
    )
    vectors, table = np.load("my vectors/vectors.npy"), pl.read_parquet("my vectors/images.parquet", glob=False)
    assert vectors.shape == (8, 512)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert table.columns == ["id", "path", "label"]
    assert table["path"].to_list() == sorted(path.name for path in image.parent.iterdir())
    assert "8 embeddings of 512 dimensions, compared by cosine: my vectors" in done.stdout
    assert table["label"].null_count() == 8, "one folder says nothing about species"
    done = conspecific("evaluate", run.path, "data=images", f"data.root={image.parent}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: the 8 images in {image.parent} have no species to train on or to score")


def test_embed_into_a_table(conspecific: Command, run: RunDirectory, image: Path) -> None:
    done = conspecific("embed", run.path, "data=images", f"data.root={image.parent}", "output=out", "store=parquet")
    assert done.returncode == 0, done.stderr
    assert "Table of id, label, path and vector: out/parquet/vectors.parquet" in done.stdout
    table = pl.read_parquet("out/parquet/vectors.parquet")
    np.testing.assert_array_equal(table["vector"].to_numpy(), np.load("out/vectors.npy"))
    again = ["encode.precision=bfloat16", "encode.backend=torch", "output=out"]
    done = conspecific("embed", run.path, "data=images", f"data.root={image.parent}", *again)
    assert done.returncode == 0, done.stderr
    assert not Path("out/parquet").exists(), "it held other vectors than vectors.npy now does"
    done = conspecific("embed", run.path, "store=sqlite")
    assert done.stderr.startswith("error: store=sqlite is unknown.")


def test_embeddings_in_another_precision_are_computed_again(
    conspecific: Command, run: RunDirectory, image: Path, here: Path
) -> None:
    vectors = []
    for precision in ("float32", "bfloat16", "float32"):
        done = conspecific(
            "embed", run.path, "data=images", f"data.root={image.parent}", "output=one", f"encode.precision={precision}"
        )
        assert (done.returncode, done.stderr) == (0, "")
        vectors.append(np.load("one/vectors.npy"))
    assert np.array_equal(vectors[0], vectors[2]) and not np.array_equal(vectors[0], vectors[1])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=0.05)


def test_shortened_embeddings_lie_beside_the_whole_ones(
    conspecific: Command, copied: RunDirectory, image: Path
) -> None:
    assert conspecific("search", copied.path, image, "truncate=64").returncode == 0
    done = conspecific("embed", copied.path, "truncate=64")
    assert done.returncode == 0, done.stderr
    assert "of 64 dimensions" in done.stdout
    assert [path.name for path in copied.embeddings.iterdir()] == ["all_first64"]
    vectors = np.load(copied.embeddings / "all_first64" / "vectors.npy")
    assert vectors.shape[1] == 64
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_embed_does_not_replace_what_is_not_embeddings(
    conspecific: Command, run: RunDirectory, image: Path, here: Path
) -> None:
    (here / "letters").mkdir()
    (here / "letters" / "dear.txt").write_text("Dear")
    done = conspecific("embed", run.path, "data=images", f"data.root={image.parent}", "output=letters")
    assert done.returncode == 2
    assert done.stderr.startswith("error: letters holds other files than embeddings, which would be deleted")
    assert (here / "letters" / "dear.txt").read_text() == "Dear"


# --- search


def test_search_prints_the_nearest_and_saves_their_image(
    conspecific: Command, copied: RunDirectory, image: Path, here: Path
) -> None:
    done = conspecific("search", copied.path, image, "k=3")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r" *\d+  ", line)]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert "1.000" in rows[0], "an image of the gallery finds itself first"
    sheet = here / f"search_{image.stem}.png"
    assert done.stdout.splitlines()[-1] == f"Image: {sheet.name}"
    with Image.open(sheet) as written:
        assert written.format == "PNG"
        assert written.width > written.height > 200, "three answers and the query take two rows"
    assert (copied.embeddings / "all" / "vectors.npy").is_file()


def test_search_writes_a_picture_of_why_answers_match(
    conspecific: Command, copied: RunDirectory, image: Path, here: Path
) -> None:
    index = here / "gallery.index"
    assert conspecific("index", str(copied.path), f"output={index}").returncode == 0
    for place in (copied.path, index):
        done = conspecific("search", str(place), image, "k=2", "why=true")
        assert done.returncode == 0, done.stderr
        file = Path(done.stdout.splitlines()[-1].removeprefix("Why: "))
        assert file.name.startswith(f"search_{image.stem}_why")
        with Image.open(file) as picture:
            width, height = picture.size
        assert width > 2 * 192 and height > 2 * 192, "two answers, each beside the query at twice 96 pixels"


def test_search_refines_its_answers_and_knows_no_threshold_for_them(
    conspecific: Command, copied: RunDirectory, image: Path
) -> None:
    plain = conspecific("search", copied.path, image, "output=plain.json")
    done = conspecific("search", copied.path, image, "refine.method=k_reciprocal", "output=refined.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Answers refined by k_reciprocal: their scores are not those of a plain search." in done.stdout
    assert "refined" not in plain.stdout
    answers = {name: json.loads(Path(f"{name}.json").read_text()) for name in ("plain", "refined")}
    assert answers["refined"]["threshold"] is None and answers["refined"]["none_of_these"] == []
    scores = [answer["score"] for answer in answers["refined"]["answers"]]
    assert scores == sorted(scores, reverse=True) and scores[0] <= 0, "minus a distance"
    assert answers["refined"]["answers"][0]["path"] == answers["plain"]["answers"][0]["path"], "the image itself"
    assert [row["path"] for row in answers["refined"]["answers"]] != [
        row["path"] for row in answers["plain"]["answers"]
    ]
    ImageOps.mirror(Image.open(image)).save("mirrored.png")
    done = conspecific("search", copied.path, "mirrored.png", "refine.flip=true", "k=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Answers refined by flip" in done.stdout and "1.000" in done.stdout and Path(image).name in done.stdout


def test_search_overwrites_no_picture_of_another_query(
    conspecific: Command, copied: RunDirectory, image: Path, here: Path
) -> None:
    other = here / "other" / image.name
    other.parent.mkdir()
    Image.new("RGB", (90, 90), "teal").save(other)
    lines = [conspecific("search", copied.path, query).stdout.splitlines()[-1] for query in (image, other, image)]
    first, second = f"search_{image.stem}.png", f"search_{image.stem}-2.png"
    assert lines == [f"Image: {first}", f"Image: {second}", f"Image: {first}"]


def test_search_overwrites_nothing_that_it_did_not_make(
    conspecific: Command, copied: RunDirectory, image: Path, here: Path
) -> None:
    query = here / "query.jpg"
    shutil.copy(image, query)
    (here / "link.jpg").symlink_to(query)
    (here / "mine.csv").write_text("species,count\n")
    shutil.copy(image, here / "mine.jpg")
    for name, told in {"query.jpg": "is the image to search with", "link.jpg": "is the image to search with"}.items():
        done = conspecific("search", copied.path, query, f"output={name}")
        assert (done.returncode, done.stderr.partition(", and")[0]) == (2, f"error: output={name} {told}")
    for name in ("mine.csv", "mine.jpg", "."):
        done = conspecific("search", copied.path, query, f"output={name}")
        assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert query.read_bytes() == (here / "mine.jpg").read_bytes() == image.read_bytes()
    for name in ("a.jpg", "a.csv", "a.jpg", "a.csv"):
        done = conspecific("search", copied.path, query, "k=1", f"output={name}")
        assert done.returncode == 0, "what search made is made again"


def test_search_with_a_folder_and_a_file_writes_all_answers(
    conspecific: Command, copied: RunDirectory, image: Path, here: Path
) -> None:
    (here / "it's, new").mkdir()
    for name in ("=SUM(1).png", "two.png"):
        Image.new("RGB", (90, 90), "teal").save(here / "it's, new" / name)
    done = conspecific("search", copied.path, image, "it's, new", "k=2", "output=out/answers.csv")
    assert (done.returncode, done.stderr) == (0, "")
    titles = [line.split(" of ")[0] for line in done.stdout.splitlines() if line.startswith("Nearest to")]
    assert titles == [f"Nearest to {name}" for name in (image.name, "=SUM(1).png", "two.png")]
    assert done.stdout.splitlines()[-1] == "Answers: out/answers.csv"
    assert not list(here.glob("*.png"))
    table = pl.read_csv("out/answers.csv")
    assert table.columns == ["query", "rank", "species", "score", "path"]
    assert table["rank"].to_list() == [1, 2] * 3
    assert table.row(0, named=True)["path"] == f"{image.parent.name}/{image.name}"
    done = conspecific("search", copied.path, "it's, new", "k=1", "output=answers.json")
    assert done.returncode == 0, done.stderr
    answers = json.loads(Path("answers.json").read_text())["answers"]
    assert [answer["query"] for answer in answers] == ["it's, new/=SUM(1).png", "it's, new/two.png"]


def test_search_with_a_image_from_outside_in_a_gallery_from_outside(
    conspecific: Command, copied: RunDirectory, image: Path, here: Path
) -> None:
    Image.new("L", (300, 50), 128).save(here / "grey image.gif")
    gallery = ["data=folder", f"data.root={image.parents[1]}"]
    done = conspecific("search", copied.path, "grey image.gif", "k=12", *gallery, "output=new/sheet.jpg")
    assert done.returncode == 0, done.stderr
    assert sum(bool(re.match(r" *\d+  ", line)) for line in done.stdout.splitlines()) == 12
    assert (here / "new" / "sheet.jpg").is_file()
    [folder] = copied.embeddings.iterdir()
    assert folder.name != "all", "embeddings of other images do not replace those of the run's own"


def test_search_with_something_that_is_no_image_says_so(conspecific: Command, run: RunDirectory, here: Path) -> None:
    (here / "notes.jpg").write_text("not an image")
    for name in ("notes.jpg", "gone.jpg"):
        done = conspecific("search", run.path, name)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {name} cannot be read as an image")
        assert done.stderr.count("\n") == 1


def test_a_run_without_weights_says_so(conspecific: Command, copied: RunDirectory, image: Path) -> None:
    copied.weights.unlink()
    shutil.rmtree(copied.checkpoints)
    for arguments in (["evaluate"], ["embed"], ["search", image]):
        command, *rest = arguments
        done = conspecific(command, copied.path, *rest)
        assert done.returncode == 2
        assert "weights.safetensors does not exist: the run trained nothing, or was interrupted" in done.stderr


def test_an_interrupted_run_is_opened_at_its_best_epoch(
    conspecific: Command, copied: RunDirectory, image: Path
) -> None:
    copied.weights.unlink()
    copied.summary.unlink()
    done = conspecific("search", copied.path, image, "k=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Caution: {copied.path} was interrupted before its weights were selected: these are of" in done.stdout
    assert "checkpoints/best.ckpt. To finish it: conspecific train resume=" in done.stdout
    with pytest.warns(UserWarning, match="was interrupted"):
        embedder = load(copied.path)
    stored = torch.load(copied.best, weights_only=True)["state_dict"]
    assert torch.equal(embedder.head.weight, stored["average.module.head.weight"])


def test_the_words_of_search_may_be_given_by_name(conspecific: Command, copied: RunDirectory, image: Path) -> None:
    done = conspecific("search", f"run={copied.path}", f"images=['{image}']", "k=1")
    assert done.returncode == 0, done.stderr


# --- suspects


def test_suspect_labels_are_written_as_a_table_and_a_page(conspecific: Command, copied: RunDirectory) -> None:
    done = conspecific("suspects", str(copied.path), "most=2")
    assert done.returncode == 0, done.stderr
    table, page = copied.path / "suspects.csv", copied.path / "suspects.html"
    rows = pl.read_csv(table)
    assert f"{rows.height} images of 48 look more like another species" in done.stdout
    assert f"Table: {table.resolve()}" in done.stdout and f"Page: {page.resolve()}" in done.stdout
    assert (rows["label"] != rows["suggested"]).all() and rows["evidence"].is_sorted(descending=True)
    assert page.read_text().count("<article") == min(2, rows.height)
    table.write_text("my notes")
    again = conspecific("suspects", str(copied.path))
    assert again.returncode == 2 and "was not made by suspects" in again.stderr
    assert table.read_text() == "my notes"


# --- cluster


def test_clusters_are_a_table_to_train_from_and_a_page(
    conspecific: Command, copied: RunDirectory, tmp_path: Path, cache: Path
) -> None:
    """Four pictures, each several times with a little noise, in one folder: no species is known."""
    (tmp_path / "new").mkdir()
    rng = np.random.default_rng(0)
    for picture in range(4):
        base = np.asarray(Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8)).resize((96, 96)))
        for copy in range(6):
            noise = rng.integers(-9, 10, base.shape)
            pixels = np.clip(base + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "new" / f"{picture}{copy}.png")
    words = ["data=images", f"data.root={tmp_path / 'new'}", f"output={tmp_path / 'new.csv'}"]
    done = conspecific("cluster", str(copied.path), *words)
    assert done.returncode == 0, done.stderr
    assert "4 clusters of 24 images; 0 of 24 are in none." in done.stdout
    rows = pl.read_csv(tmp_path / "new.csv")
    pictures = rows.group_by("label").agg(pl.col("path").str.head(1).n_unique(), pl.len())
    assert sorted(pictures["label"]) == [f"cluster {number:03}" for number in range(1, 5)]
    assert pictures["path"].to_list() == [1] * 4 and pictures["len"].to_list() == [6] * 4
    assert rows["nearest_species"].null_count() == 0 and rows["score"].is_between(-1, 1).all()
    page = (tmp_path / "new.html").read_text()
    assert page.count("<article") == 4 and "nearest known species" in page
    manifest = from_file(str(tmp_path / "new.csv"), root=str(tmp_path / "new"))
    assert len(manifest.species) == 4
