"""The run: complete, self-contained, and safe with any name in the data."""

import dataclasses
import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
from PIL import Image

from conspecific.leaks.record import Leaks
from conspecific.leaks.spelling import SpellingMatch
from conspecific.metrics import metric_names
from conspecific.reporting.page.section import Section
from conspecific.reporting.page.wording import explain
from conspecific.reporting.run.report import write_report
from conspecific.reporting.run.sections import SECTIONS
from conspecific.reporting.run.subject import Subject
from conspecific.runs.directory import RunDirectory
from conspecific.runs.record import SelectedWeights
from conspecific.types import EvalResult

from .subjects import ENVIRONMENT, MakeSubject, changed

SCRIPT = re.compile(r'<script>("use strict";.*?)</script>', re.DOTALL)  # of the page, not of the data


class Tags(HTMLParser):
    """Collects every start tag with its attributes, and all text outside of style and script elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._styled = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._styled = tag in ("style", "script")
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._styled = False

    def handle_data(self, data: str) -> None:
        if not self._styled:
            self.text += data


def four_to_find(result: EvalResult) -> EvalResult:
    return dataclasses.replace(result, per_query=result.per_query.with_columns(positives=4))


def page_of(run: Subject, folder: Path) -> str:
    return write_report(folder / "report.html", run).read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(make_run: MakeSubject, tmp_path: Path) -> None:
    page = page_of(make_run(), tmp_path)
    for tag, attributes in Tags(page).found:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        assert tag != "script" or not attributes, "a script is inline"
        for name in ("src", "href", "srcset", "poster", "action", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/webp;base64,")), f"{tag} {name}={value[:80]}"
        assert not any(name.startswith("on") for name in attributes)
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!#)", page)


def test_only_the_own_scripts_are_allowed(make_run: MakeSubject, tmp_path: Path) -> None:
    page = page_of(make_run(), tmp_path)
    digests = [b64encode(sha256(text.encode()).digest()).decode() for text in SCRIPT.findall(page)]
    [policy] = re.findall(r"script-src ([^\"]*)", page)
    assert digests and policy.split() == [f"'sha256-{digest}'" for digest in digests]


def test_every_image_has_a_description(make_run: MakeSubject, tmp_path: Path) -> None:
    tags = Tags(page_of(make_run(), tmp_path)).found
    images = [attributes for tag, attributes in tags if tag == "img"]
    selected, spaced, confusions, hubs = 3 * (1 + 3 * 10), 5 * (1 + 3 * 10), 9 * 2, 3 * 4
    assert len(images) == selected + spaced + confusions + hubs
    assert all(attributes.get("alt") for attributes in images)
    for tag, attributes in tags:
        assert tag != "svg" or attributes.get("aria-hidden") == "true"


def test_hostile_names_stay_text(make_run: MakeSubject, make_leaks: Callable[..., Leaks], tmp_path: Path) -> None:
    hostile = '<script>alert("1")</script>'
    names = [hostile, "\"onload='x'", "{{ 7 * 7 }}", "Ordinary_name"]
    pair = {"first_path": hostile, "first_label": hostile, "view": hostile}
    leaks = make_leaks(("x/0.jpg", "x/0.jpg", pair), species=(SpellingMatch(hostile, hostile, True),))
    directory = RunDirectory(tmp_path / "<img src=x onload=y>")
    directory.path.mkdir()
    directory.config.write_text(hostile)
    run = make_run(names)
    run = changed(
        run,
        directory=directory,
        environment=dataclasses.replace(ENVIRONMENT, command=hostile, packages={hostile: hostile}),
        config=dataclasses.replace(run.record.config, monitor=hostile),
        leaks=leaks,
    )
    page = page_of(run, tmp_path)
    assert "<script" not in SCRIPT.sub("", page).lower() and "<img src=x" not in page
    parsed = Tags(page)
    assert hostile in parsed.text and "{{ 7 * 7 }}" in parsed.text
    assert not any(name.startswith("on") for _, attributes in parsed.found for name in attributes)


def test_every_metric_is_explained(make_run: MakeSubject, tmp_path: Path) -> None:
    text = Tags(page_of(make_run(), tmp_path)).text
    for metric in metric_names():
        assert metric in text
        assert explain(metric) and explain(metric) in text


def test_the_headline_and_the_differences(make_run: MakeSubject, tmp_path: Path) -> None:
    run = make_run()
    text = Tags(page_of(run, tmp_path)).text
    hits = {name: 10 * result.metrics["precision@10"] for name, result in run.record.test.items()}
    assert hits["pooled"] > hits["flatten"]
    shown = f"{hits['model']:.1f} of the 10 nearest images show the right species"
    assert f"{shown}; the pooled reference finds {hits['pooled']:.1f}." in text
    assert "Fine-tuned minus baseline" in text and "Fine-tuned minus pooled reference" in text
    for difference in (*run.over_baseline, *run.over_pooled):
        assert f"{abs(difference.interval.mean):.3f}" in text
    assert "2 queries were excluded" in text
    assert "within one standard error of the best: epoch 4 (ringed)." in text


def test_interpolated_weights_are_named_with_their_alpha(make_run: MakeSubject, tmp_path: Path) -> None:
    between = changed(make_run(), selection=SelectedWeights(3, 0.7, True))
    text = Tags(page_of(between, tmp_path)).text
    assert "ringed" not in text and "· selected" not in text
    assert (
        "within one standard error of the best: WiSE-FT, alpha 0.7: the interpolation between the initial weights"
        in text
    )
    assert "of epoch 3 (alpha 1), with refitted whitening." in text


def test_a_difference_whose_interval_contains_zero_is_not_significant(make_run: MakeSubject, tmp_path: Path) -> None:
    run = make_run()
    change = run.over_baseline[0]
    noise = dataclasses.replace(change, by_species=dataclasses.replace(change.by_species, low=-0.1, high=0.1))
    assert "<small>not significant</small>" in page_of(changed(run, gains={"flatten": [noise]}), tmp_path)


def test_every_section_is_in_the_navigation(
    make_run: MakeSubject, make_leaks: Callable[..., Leaks], tmp_path: Path
) -> None:
    found = Tags(page_of(changed(make_run(), leaks=make_leaks()), tmp_path)).found
    sections = [attributes["id"] for tag, attributes in found if tag == "section"]
    links = [attributes["href"] for tag, attributes in found if tag == "a"]
    assert links == [f"#{place}" for place in sections]
    assert sections == [
        section.id for section in SECTIONS if section.id not in ("index", "known", "map", "taxonomy")
    ], "none was made"


def test_a_section_is_one_entry_and_one_template(make_run: MakeSubject, tmp_path: Path) -> None:
    template = tmp_path / "coverage.html.j2"
    template.write_text("<p>Images: {{ count }}, by {{ run.best.phrase }}</p>")
    sections = [
        *SECTIONS,
        Section(
            "coverage",
            "Coverage & more",
            str(template),
            lambda subject: {"count": subject.best.result.per_query.height},
        ),
        Section("empty", "Never shown", str(template), lambda subject: None),
    ]
    page = write_report(tmp_path / "report.html", make_run(), sections).read_text(encoding="utf-8")
    assert '<a href="#coverage">Coverage &amp; more</a></nav>' in page.replace("\n", "")
    assert '<section id="coverage">\n<h2>Coverage &amp; more</h2>\n<p>Images: 96, by the fine-tuned encoder</p>' in page
    assert "Never shown" not in page


def test_what_scrolls_can_be_reached_by_the_keyboard_and_ids_are_unique(make_run: MakeSubject, tmp_path: Path) -> None:
    found = Tags(page_of(make_run(), tmp_path)).found
    for _, attributes in found:
        if attributes.get("class") == "scroll":
            assert attributes.get("tabindex") == "0" and attributes.get("role") == "region"
            assert attributes.get("aria-label")
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_leaks_are_shown_with_both_images(
    make_run: MakeSubject, make_leaks: Callable[..., Leaks], tmp_path: Path
) -> None:
    leaks = make_leaks(("Species_A/0.jpg", "Species_B/13.jpg", {"view": "cropped"}), inside=2)
    page = Tags(page_of(changed(make_run(), leaks=leaks), tmp_path))
    images = [attributes["alt"] for tag, attributes in page.found if tag == "img"]
    assert "Image of the train split: Species A" in images
    assert "Image of the test split: Species B" in images
    for words in ("Near duplicate, cropped", "Cosine similarity 0.987", "different labels", "1 of 96 queries"):
        assert words in page.text
    assert "leaks=report" in page.text and "2 pairs of duplicates" in page.text


def test_collapsed_embeddings_are_reported(make_run: MakeSubject, tmp_path: Path) -> None:
    run = make_run()
    assert "collapsed embeddings" not in Tags(page_of(run, tmp_path)).text
    facts = {
        **run.record.test["model"].facts,
        "geometry": {**run.record.test["model"].facts["geometry"], "mean_similarity": 0.999},
    }
    fallen = changed(run, test={"model": dataclasses.replace(run.record.test["model"], facts=facts)})
    assert "Fine-tuned: collapsed embeddings." in Tags(page_of(fallen, tmp_path)).text


def test_the_gain_of_every_epoch_is_shown_with_its_interval(make_run: MakeSubject, tmp_path: Path) -> None:
    text = Tags(page_of(make_run(), tmp_path)).text
    assert "+0.400 (+0.350…+0.450)" in text.replace("\u00a0", " ")
    assert "gain_intervals" not in text


def test_one_species_makes_a_page_without_intervals(make_run: MakeSubject, tmp_path: Path) -> None:
    run = make_run()

    def alone(result: EvalResult) -> EvalResult:
        return dataclasses.replace(result, per_query=result.per_query.filter(pl.col("label") == "Species_A"))

    one = changed(run, test={name: alone(result) for name, result in run.record.test.items()}, gains={})
    text = Tags(page_of(one, tmp_path)).text
    assert "All species, fewest hits first" in text
    assert "bootstrap interval. The interval" not in text and "decides" not in text.partition("Glossary")[0]
    assert "Averaged over species" in text


def test_without_misses_there_are_no_confusions(make_run: MakeSubject, tmp_path: Path) -> None:
    run = make_run()
    right = run.record.test["model"].per_query.with_columns(neighbor_labels=pl.concat_list([pl.col("label")] * 10))
    perfect = changed(run, test={"model": dataclasses.replace(run.record.test["model"], per_query=right)})
    assert "no image of another species" in Tags(page_of(perfect, tmp_path)).text


def test_the_possible_number_of_hits_is_stated(make_run: MakeSubject, tmp_path: Path) -> None:
    run = make_run()
    few = changed(run, test={name: four_to_find(result) for name, result in run.record.test.items()})
    text = Tags(page_of(few, tmp_path)).text
    assert "At most 4.0 are possible" in text and "of 4.0 possible images of the right species are found" in text
    assert "at most 4 hits possible" in text


def test_a_run_without_a_model_compares_the_two_references(make_run: MakeSubject, tmp_path: Path) -> None:
    text = Tags(page_of(make_run(trained=False), tmp_path)).text
    assert "Without fine-tuning" in text
    assert "Fine-tuned" not in text and "Learning curves" not in text
    assert "Per query, the pooled reference retrieves more correct images than the baseline" in text


def test_missing_images_do_not_stop_the_report(make_run: MakeSubject, tmp_path: Path) -> None:
    def gone(path: str) -> Image.Image:
        raise FileNotFoundError(path)

    assert write_report(tmp_path / "report.html", changed(make_run(), open_image=gone)).exists()


def test_the_file_stays_small_with_images_that_compress_badly(make_run: MakeSubject, tmp_path: Path) -> None:
    def noisy(path: str) -> Image.Image:
        return Image.effect_noise((300, 300), 90).convert("RGB")

    path = write_report(tmp_path / "report.html", changed(make_run(), open_image=noisy))
    assert path.stat().st_size < 6_000_000


def test_the_example_queries_are_written_as_images(make_run: MakeSubject, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for earlier in ("query-3-median-gain.png", "my query.png"):
        (folder / earlier).touch()
    page_of(make_run(), tmp_path)
    names = sorted(path.name for path in folder.glob("query-*"))
    assert names == ["query-1-largest-gain.png", "query-2-median-gain.png", "query-3-fewest-hits.png"]
    assert (folder / "my query.png").exists(), "only images of the report are replaced"
    with Image.open(tmp_path / "images" / names[0]) as image:
        assert image.width > 2 * image.height
