"""The page: whole, self-contained, safe with hostile names, and honest in what it says."""

import dataclasses
import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

from conspecific.reporting.record import Report
from conspecific.reporting.report import write_report
from conspecific.reporting.wording import ORDER, explain
from conspecific.types import EvalResult


class Tags(HTMLParser):
    """Collects every start tag with its attributes, and all text outside style elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._styled = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._styled = tag == "style"
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._styled = False

    def handle_data(self, data: str) -> None:
        if not self._styled:
            self.text += data


def four_to_find(result: EvalResult) -> EvalResult:
    return dataclasses.replace(result, per_query=result.per_query.with_columns(positives=4))


def page_of(report: Report, folder: Path) -> str:
    return write_report(folder / "report.html", report).read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere(make_report: Callable[..., Report], tmp_path: Path) -> None:
    page = page_of(make_report(), tmp_path)
    for tag, attributes in Tags(page).found:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        for name in ("src", "href", "srcset", "poster", "action", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/jpeg;base64,")), f"{tag} {name}={value[:80]}"
        assert not any(name.startswith("on") for name in attributes)
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!#)", page)


def test_every_picture_has_a_description(make_report: Callable[..., Report], tmp_path: Path) -> None:
    tags = Tags(page_of(make_report(), tmp_path)).found
    pictures = [attributes for tag, attributes in tags if tag == "img"]
    assert len(pictures) == 3 * 2 * 11 + 8 * (1 + 2 * 10)
    assert all(attributes.get("alt") for attributes in pictures)
    for tag, attributes in tags:
        assert tag != "svg" or attributes.get("aria-hidden") == "true"


def test_hostile_names_stay_text(make_report: Callable[..., Report], tmp_path: Path) -> None:
    hostile = '<script>alert("1")</script>'
    names = [hostile, "\"onload='x'", "{{ 7 * 7 }}", "Ordinary_name"]
    report = dataclasses.replace(
        make_report(names), title=hostile, facts={hostile: hostile}, config=hostile, command=hostile, chosen_by=hostile
    )
    page = page_of(report, tmp_path)
    assert "<script" not in page.lower()
    parsed = Tags(page)
    assert hostile in parsed.text and "{{ 7 * 7 }}" in parsed.text
    assert not any(name.startswith("on") for _, attributes in parsed.found for name in attributes)


def test_every_metric_is_explained(make_report: Callable[..., Report], tmp_path: Path) -> None:
    text = Tags(page_of(make_report(), tmp_path)).text
    for metric in ORDER:
        assert metric in text
        assert explain(metric) and explain(metric) in text


def test_the_headline_and_the_differences(make_report: Callable[..., Report], tmp_path: Path) -> None:
    report = make_report()
    text = Tags(page_of(report, tmp_path)).text
    assert report.model is not None
    model, baseline = (10 * result.metrics["precision@10"] for result in (report.model, report.flatten))
    assert f"Of ten answers, {model:.1f} show the right species. The baseline: {baseline:.1f}." in text
    for difference in (*report.over_flatten, *report.over_pooled):
        assert f"{abs(difference.interval.mean):.3f}" in text
    assert "2 pictures were left out" in text
    assert "ringed epoch, 3, was kept" in text


def test_a_difference_within_noise_is_said_to_be_so(make_report: Callable[..., Report], tmp_path: Path) -> None:
    report = make_report()
    change = report.over_flatten[0]
    noise = dataclasses.replace(change, interval=dataclasses.replace(change.interval, low=-0.1, high=0.1))
    assert "may be chance" in page_of(dataclasses.replace(report, over_flatten=[noise]), tmp_path)


def test_ten_right_answers_that_are_not_possible_are_not_promised(
    make_report: Callable[..., Report], tmp_path: Path
) -> None:
    report = make_report()
    assert report.model is not None
    few = dataclasses.replace(
        report,
        flatten=four_to_find(report.flatten),
        pooled=four_to_find(report.pooled),
        model=four_to_find(report.model),
    )
    text = Tags(page_of(few, tmp_path)).text
    assert "The most possible here is 4.0" in text
    assert "4 right answers are possible" in text


def test_a_run_without_a_model_compares_the_two_references(make_report: Callable[..., Report], tmp_path: Path) -> None:
    text = Tags(page_of(make_report(model=False), tmp_path)).text
    assert "before any fine-tuning" in text
    assert "Fine-tuned" not in text and "Learning" not in text
    assert "Query by query, the pooled reference finds more" in text


def test_pictures_that_are_gone_do_not_cost_the_report(make_report: Callable[..., Report], tmp_path: Path) -> None:
    def gone(path: str) -> Image.Image:
        raise FileNotFoundError(path)

    assert write_report(tmp_path / "report.html", dataclasses.replace(make_report(), open_picture=gone)).exists()


def test_the_file_stays_small_with_pictures_that_compress_badly(
    make_report: Callable[..., Report], tmp_path: Path
) -> None:
    def noisy(path: str) -> Image.Image:
        return Image.effect_noise((300, 300), 90).convert("RGB")

    path = write_report(tmp_path / "report.html", dataclasses.replace(make_report(), open_picture=noisy))
    assert path.stat().st_size < 6_000_000


def test_the_targets_are_also_written_as_pictures(make_report: Callable[..., Report], tmp_path: Path) -> None:
    page_of(make_report(), tmp_path)
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == ["target-1-largest-gain.png", "target-2-median-gain.png", "target-3-worst-answers.png"]
    with Image.open(tmp_path / "images" / names[0]) as picture:
        assert picture.width > 2 * picture.height


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast_in_both_themes(theme: int) -> None:
    style = files("conspecific.reporting").joinpath("report.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[theme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for ground in ("page", "card"):
        for text in ("ink", "quiet", "accent", "miss"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for line in ("baseline", "pooled"):
        assert contrast(colours[line], colours["card"]) >= 3, line
    for mark in ("accent", "miss"):
        assert contrast(colours[f"on-{mark}"], colours[mark]) >= 4.5, mark


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2."""
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
