"""The page over many runs: complete without a script, sorted and filtered with one, and names are data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conspecific.metrics import metric_names
from conspecific.montage import EMPTY
from conspecific.reporting.dashboard.curves import LEFT, RIGHT, TOP, curves
from conspecific.reporting.dashboard.examples import shown_examples
from conspecific.reporting.dashboard.page import headline, write_dashboard
from conspecific.reporting.dashboard.settings import Value, settings_of_task
from conspecific.reporting.page.answers import count_hits
from conspecific.runs.directory import RunDirectory
from conspecific.runs.overview import ListedRun, Overview
from conspecific.runs.record import SelectedWeights

from ..serving.browser import CHROMIUM, Browser
from .comparisons import Page
from .subjects import SPECIES, build_result, open_image

MakeListed = Callable[..., ListedRun]


@pytest.fixture
def listed(tmp_path: Path) -> MakeListed:
    """Return a function that makes a run with a report, whose validation metrics are all `score`."""

    def make(name: str, score: float, **changed: object) -> ListedRun:
        path = tmp_path / "runs" / name
        path.mkdir(parents=True)
        (path / "report.html").write_text("report")
        run = ListedRun(
            path=path,
            name=name,
            data="birds",
            protocol="seen",
            backbone="some_network",
            loss="ArcFace",
            seed=0,
            monitor="map@r",
            task=("one",),
            queries=96,
            species=8,
            validation=dict.fromkeys(metric_names(), score),
            test=dict.fromkeys(metric_names(), 1 - score),
            curve=[(1, score / 2), (2, score)],
            planned=2,
            selection=SelectedWeights(2),
            reference=None,
            gain=None,
            outcome=None,
            minutes=1.5,
            data_root=tmp_path / "images",
            settings={"loss.margin": "20", "seed": "0"},
        )
        return replace(run, **changed)  # type: ignore[arg-type]

    return make


def page_of(found: Overview) -> str:
    return write_dashboard(found.folder / "dashboard.html", found).read_text(encoding="utf-8")


def rows_of(page: str) -> list[str]:
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    return [" ".join(Page(row).text.split()) for row in body.split("<tr")[1:]]


def test_the_table_has_every_run_and_links_to_its_report(listed: MakeListed, tmp_path: Path) -> None:
    runs = [
        listed("a/0", 0.3),
        listed("a/1 #?", 0.6, settings={"loss.margin": "28", "loss._target_": "X", "seed": "0"}),
        listed("b", 0.4),
    ]
    (tmp_path / "runs/b/report.html").unlink()
    found = Overview(tmp_path / "runs", runs, [])
    assert headline(found) == "a/1 #? is the best of 3 runs on validation: map@r 0.600"
    page = page_of(found)
    rows = rows_of(page)
    assert [row.partition(" 0 2 of 2")[0].split(">")[-1].strip() for row in rows] == [
        "a/1 #? loss.margin=28",
        "b no report",
        "a/0",
    ]
    assert "0.600" in rows[0] and "0.400 0.400 0.400" in rows[0], "validation and test"
    links = [attributes["href"] for tag, attributes in Page(page).tags if tag == "a"]
    assert [link for link in links if link and link.startswith("./")] == [
        "./a/1%20%23%3F/report.html",
        "./a/0/report.html",
    ]


def test_runs_on_other_tests_are_not_ranked_together(listed: MakeListed, tmp_path: Path) -> None:
    found = Overview(tmp_path / "runs", [listed("0", 0.3), listed("1", 0.6, task=("other",))], [])
    assert headline(found) == "2 runs on 2 different tests"
    assert "cannot be compared" in Page(page_of(found)).text


def test_damaged_runs_are_named_and_markup_in_names_is_text(listed: MakeListed, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    run = listed("javascript:alert(1)", 0.3, data=evil, loss='" onclick="x', settings={evil: evil, "seed": "0"})
    other = listed("bytes \udcff", 0.2, settings={"seed": "0"}, backbone="\ud800")
    page = page_of(Overview(tmp_path / "runs", [run, other], [(f"gone {evil}", "has not ended")]))
    assert page.count("<script") == 2 and "alert(1)</script>" not in page
    text = Page(page).text
    assert "has not ended" in text and f"gone {evil}" in text
    for tag, attributes in Page(page).tags:
        assert not any(name.startswith("on") for name in attributes)
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        assert str(attributes.get("href", "#")).startswith(("#", "./"))
    assert "default-src 'none'" in page and "http:" not in page and "https:" not in page


def test_without_a_finished_run_the_page_says_so(tmp_path: Path) -> None:
    text = Page(page_of(Overview(tmp_path, [], [("0", "has not ended")]))).text
    assert "No finished runs" in text and "has not ended" in text


def test_curves_are_drawn_for_each_test_with_the_best_run_on_top(listed: MakeListed, tmp_path: Path) -> None:
    runs = [listed("0", 0.6), listed("1", 0.4), listed("2", 0.3, curve=[]), listed("3", 0.5, task=("other",))]
    first, other = Overview(tmp_path, runs, []).tasks
    drawn = curves(first)
    assert drawn is not None and curves(first[2:]) is None
    assert [(line.role, line.title) for line in drawn.lines] == [("whole", "1: 0.400"), ("best", "0: 0.600")]
    assert [text for _, text in drawn.levels] == ["0.20", "0.30", "0.40", "0.50", "0.60"]
    assert drawn.lines[-1].points == f"{LEFT}.0,145.0 {RIGHT}.0,{TOP}.0"
    page = Page(page_of(Overview(tmp_path, runs, [])))
    assert sum(tag == "polyline" for tag, _ in page.tags) == 3
    assert "fewer than two epochs were trained: 1 run." in page.text and len(other) == 1


def test_settings_that_divide_runs_alike_are_told_once(listed: MakeListed, tmp_path: Path) -> None:
    given = [{"loss": "a", "margin": "1", "lr": "1"}, {"loss": "a", "margin": "1", "lr": "2"}, {"loss": "b", "lr": "1"}]
    runs = [listed(str(place), 0.6 - 0.1 * place, settings=settings) for place, settings in enumerate(given)]
    found = settings_of_task(runs)
    assert found is not None and settings_of_task(runs[:1]) is None
    loss, rate = found.settings
    assert (loss.key, loss.alike, rate.key, rate.alike) == ("loss", ("margin",), "lr", ())
    assert loss.values == (Value("a", 2, "0.600", "0.550"), Value("b", 1, "0.400", "0.400"))
    many = [listed(f"m{place}", 0.5, settings={"lr": str(place)}) for place in range(9)]
    [setting] = settings_of_task(many).settings  # type: ignore[union-attr]
    assert (len(setting.values), setting.more) == (6, 3)


def test_examples_of_the_best_run_are_embedded(listed: MakeListed, tmp_path: Path) -> None:
    run, worse = listed("0", 0.6), listed("1", 0.5)
    results = {"flatten": build_result(0.2, 0, list(SPECIES)), "model": build_result(0.8, 1, list(SPECIES))}
    for name, result in results.items():
        result.save(RunDirectory(run.path).results / f"test_{name}")
    [shown], _ = shown_examples([[run, worse]])
    assert shown.problem == "its images are no longer at their place"
    for path in results["model"].per_query["path"]:
        (run.data_root / path).parent.mkdir(parents=True, exist_ok=True)
        open_image(path).save(run.data_root / path)
    [shown], images = shown_examples([[run, worse]])
    largest, median = shown.examples
    assert (shown.run, largest.rule, median.rule) == ("0", "Largest gain", "Median gain")
    assert count_hits(largest.after) > count_hits(median.after) or count_hits(median.before) > 0
    assert images.image(largest.path).getpixel((5, 5)) != EMPTY, "found below the root of the run"
    assert "data:image/webp;base64," in page_of(Overview(tmp_path, [run, worse], []))
    (run.path / "results/test_model.parquet").write_bytes(b"PAR1")
    assert "results cannot be shown" in page_of(Overview(tmp_path, [run, worse], []))


DRIVE = """(() => {
  const told = [], names = () => [...document.querySelectorAll("tbody tr:not([hidden]) a")].map(a => a.textContent);
  const button = [...document.querySelectorAll("th button")].find(each => each.textContent.includes("recall@1"));
  told.push(names().join(""));
  for (const _ of "12") { button.click(); told.push(names().join("") + button.parentNode.getAttribute("aria-sort")); }
  document.getElementById("words").value = "c";
  document.getElementById("words").dispatchEvent(new Event("input", { bubbles: true }));
  told.push(names().join(""), document.getElementById("count").textContent);
  return [...told, document.documentElement.scrollWidth <= 390].join("|");
})()"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine to show the page in")
def test_buttons_sort_and_the_search_filters(listed: MakeListed, tmp_path: Path) -> None:
    runs = [listed(name, score, loss="X") for name, score in (("b", 0.2), ("c", 0.3), ("d", 0.1))]
    page_of(Overview(tmp_path / "runs", [replace(run, backbone="", data="", protocol="") for run in runs], []))
    with Browser(tmp_path / "profile") as browser:
        browser.open((tmp_path / "runs" / "dashboard.html").as_uri(), 390)
        assert browser.run(DRIVE) == "cbd|dbcdescending|cbdascending|c|1 of 3 runs|true"
