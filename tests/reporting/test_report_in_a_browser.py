"""The page in a real browser: it fits a phone and a desk, and its images open by mouse and keyboard."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conspecific.leaks.record import Leaks
from conspecific.reporting.run.report import write_report

from ..serving.browser import CHROMIUM, Browser
from .subjects import MakeSubject, changed

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine to show the page in")
WIDE, FOCUSED = "document.documentElement.scrollWidth", "document.activeElement"
VIEWER = "document.querySelector('dialog.viewer')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@needs_browser
def test_the_page_fits_and_its_images_open(
    make_run: MakeSubject, make_leaks: Callable[..., Leaks], tmp_path: Path, browser: Browser
) -> None:
    names = [f"Unpronounceably_long_species_name_number_{number}" for number in range(8)]
    leaks = make_leaks((f"{names[0]}/0.jpg", f"{names[1]}/12.jpg", {"view": "mirrored and cropped"}))
    page = write_report(tmp_path / "report.html", changed(make_run(names), leaks=leaks)).as_uri()
    for width in (320, 390, 1280):
        browser.open(page, width)
        browser.run("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert browser.run(f"innerWidth == {width} && {WIDE} <= {width}"), width
        browser.run("document.querySelector('#threshold').scrollIntoView()")
        browser.wait_for("document.querySelector('nav a[aria-current]')?.hash == '#threshold'")
        assert browser.run("document.querySelector('nav').getBoundingClientRect().top") == 0, "it stays"
        assert browser.run("[...document.querySelectorAll('main img')].every(image => image.naturalWidth)")
    assert browser.run("document.querySelectorAll('img[tabindex=\"0\"]').length") < 60, "one stop of the Tab key a card"
    browser.run("document.querySelector('#examples img').focus()")
    browser.press("ArrowRight", "Enter")
    assert browser.run(f"{VIEWER}.open && {VIEWER}.querySelector('p').textContent").startswith("Rank 1")
    browser.press("ArrowLeft")
    assert browser.run(f"{VIEWER}.querySelector('p').textContent").startswith("Query")
    browser.press("Escape")
    browser.wait_for(f"!{VIEWER}.open && {FOCUSED}.alt.startsWith('Query')")


@needs_browser
def test_badges_leave_the_images_of_a_phone_free(make_run: MakeSubject, tmp_path: Path, browser: Browser) -> None:
    browser.open(write_report(tmp_path / "report.html", make_run()).as_uri(), 390)
    covered = """[...document.querySelectorAll('.answer .rank, .answer .mark')].filter(badge => {
      const image = badge.parentNode.querySelector('img');
      return image && badge.offsetParent && badge.getBoundingClientRect().top < image.getBoundingClientRect().bottom;
    }).length"""
    assert browser.run("document.querySelectorAll('.answer .mark').length") > 50
    assert browser.run(covered) == 0
