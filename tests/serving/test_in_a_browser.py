"""The search page in a real browser: upload, paste, a bad file, keyboard, downloads, phone."""

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conspecific.config.schema import LimitsConfig
from conspecific.files import content_hash
from conspecific.serving.app import PAGE, create_app
from conspecific.serving.gallery import ServedGallery

from .browser import CHROMIUM, Browser
from .conftest import HOSTILE, running

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine to show the page in")
REPORT = Path(__file__).resolve().parents[2] / "src" / "conspecific" / "reporting" / "page" / "base.css"
FOUND = "!document.body.classList.contains('searching') && document.querySelectorAll('.grid .answer').length == 10"
PASTE = """(() => {
  const bytes = Uint8Array.from(atob("%s"), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "pasted.png", {type: "image/png"}));
  const event = new %s("%s", {bubbles: true, cancelable: true, %s: data});
  document.body.dispatchEvent(event);
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def address(gallery: ServedGallery) -> Iterator[str]:
    with running(create_app(gallery, LimitsConfig(upload_mb=0.1))) as address:
        yield address


def opened(browser: Browser, address: str, width: int = 1280) -> None:
    """Show the page and collect what its Content-Security-Policy refuses."""
    browser.open(address, width)
    browser.wait_for("document.querySelectorAll('#example-list button').length == 2")
    browser.run("addEventListener('securitypolicyviolation', (event) => { window.refused = event.blockedURI; })")


def text_of(browser: Browser, selector: str) -> str:
    return str(browser.run(f"document.querySelector({selector!r}).innerText"))


@needs_browser
def test_an_uploaded_image_is_answered(browser: Browser, address: str, image: Path) -> None:
    opened(browser, address)
    browser.choose("#file", image)
    browser.wait_for(FOUND)
    browser.wait_for("[...document.images].filter((image) => image.src).every((image) => image.naturalWidth > 0)")
    assert re.search(r"\b1\n.+\n1\.000 · 10\s% right$", text_of(browser, ".grid .answer"))
    assert "nearest images show" in text_of(browser, ".verdict")
    assert browser.run("document.querySelectorAll('.strip .answer').length") == 12  # of the reference, and two examples
    assert "10 images found in" in text_of(browser, "#status")
    assert browser.run("window.refused ?? null") is None


@needs_browser
def test_names_are_text_and_never_markup(browser: Browser, address: str, image: Path) -> None:
    opened(browser, address)
    browser.run(f"document.getElementById('species').value = `{HOSTILE}`")
    browser.run("document.getElementById('species').dispatchEvent(new Event('change'))")
    browser.choose("#file", image)
    browser.wait_for("document.querySelectorAll('.grid .answer').length == 5")
    assert HOSTILE in text_of(browser, ".verdict .name")
    browser.run("document.querySelector('.grid .answer').click()")
    assert text_of(browser, "#large-name") == HOSTILE
    assert browser.run("document.title") == "Search · Conspecific"
    assert browser.run("document.querySelectorAll('img[src=x]').length") == 0


@needs_browser
@pytest.mark.parametrize(
    ("event", "kind", "key"), [("ClipboardEvent", "paste", "clipboardData"), ("DragEvent", "drop", "dataTransfer")]
)
def test_an_image_is_pasted_and_dropped(
    browser: Browser, address: str, image: Path, event: str, kind: str, key: str
) -> None:
    opened(browser, address)
    browser.run(PASTE % (base64.b64encode(image.read_bytes()).decode(), event, kind, key))
    browser.wait_for(FOUND)
    assert text_of(browser, "#query-name") == "pasted.png"


@needs_browser
def test_a_bad_file_is_told_and_the_next_one_is_answered(
    browser: Browser, address: str, image: Path, tmp_path: Path
) -> None:
    opened(browser, address)
    (tmp_path / "notes.txt").write_text("no image at all")
    browser.choose("#file", tmp_path / "notes.txt")
    browser.wait_for("document.querySelector('[role=alert]').innerText.includes('not an image of a known format')")
    (tmp_path / "large.png").write_bytes(bytes(200_000))
    browser.choose("#file", tmp_path / "large.png")
    browser.wait_for(
        "document.querySelector('[role=alert]').innerText.includes('large.png has 0.2 MB, more than 0.1 MB')"
    )
    browser.choose("#file", image)
    browser.wait_for(FOUND)
    assert text_of(browser, "#error") == ""


@needs_browser
def test_everything_is_reached_by_keyboard(browser: Browser, address: str) -> None:
    opened(browser, address)
    reached = []
    for _ in range(7):
        browser.press("Tab")
        reached.append(browser.run("document.activeElement.id || document.activeElement.className"))
    assert reached == ["skip", "file", "species", "refine", "answer", "answer", ""]  # the last is the link to the API
    browser.run("document.querySelector('#example-list button').focus()")
    browser.press("Enter")
    browser.wait_for(FOUND)
    browser.run("document.querySelector('.grid .answer').focus()")
    browser.press("Enter")
    browser.wait_for("document.getElementById('large').open")
    browser.press("Escape")
    assert browser.run("document.getElementById('large').open") is False
    assert browser.run("document.activeElement.className") == "answer"
    browser.press("Enter", "Tab", "Enter")  # search with what is open
    browser.wait_for(f"!document.getElementById('large').open && {FOUND}")


@needs_browser
def test_an_answer_says_why_it_matches(browser: Browser, address: str, image: Path) -> None:
    opened(browser, address)
    browser.choose("#file", image)
    browser.wait_for(FOUND)
    browser.run("document.querySelectorAll('.grid .answer')[1].click()")
    browser.run("document.getElementById('large-why').click()")
    browser.wait_for("document.getElementById('large-told').innerText.startsWith('Regions that add most')")
    browser.wait_for("document.getElementById('large-image').naturalWidth > 256")
    browser.press("Escape")
    browser.run("document.querySelectorAll('.grid .answer')[2].click()")
    assert text_of(browser, "#large-told") == "" and not browser.run("document.getElementById('large-why').hidden")


@needs_browser
def test_answers_are_downloaded(browser: Browser, address: str, image: Path, tmp_path: Path) -> None:
    opened(browser, address)
    browser.choose("#file", image)
    browser.wait_for(FOUND)
    begins = {
        "answers.png": b"\x89PNG",
        "answers.csv": b"by,rank,species,score,precision,path\nmodel,1,",
        "answers.json": b"{",
    }
    for number, (name, start) in enumerate(begins.items()):
        click = f"document.querySelectorAll('.downloads button')[{number}].click()"
        assert browser.downloaded(tmp_path, click, name).startswith(start)


@needs_browser
@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, address: str, image: Path, width: int) -> None:
    opened(browser, address, width)
    assert browser.run("getComputedStyle(document.querySelector('label[for=camera]')).display") != "none"
    assert browser.run("document.getElementById('camera').getAttribute('capture')") == "environment"
    browser.choose("#camera", image)
    browser.wait_for(FOUND)
    assert browser.run("document.documentElement.scrollWidth") <= width
    browser.open(f"{address}docs", width)
    browser.wait_for("document.body.innerText.includes('may_be_none')")
    assert browser.run("document.documentElement.scrollWidth") <= width


@needs_browser
def test_without_a_baseline_or_an_answer_the_page_says_so(
    browser: Browser, gallery: ServedGallery, image: Path
) -> None:
    precision = replace(gallery.model.precision, threshold=1.5, sure={"order": 0.9})  # type: ignore[type-var]
    manifest = replace(gallery.manifest, taxa={"order": dict.fromkeys(gallery.manifest.species, "Aves")})
    model = replace(gallery.model, precision=precision)
    served = replace(gallery, manifest=manifest, model=model, reference=None, no_reference="Lost.")
    with running(create_app(served, LimitsConfig())) as address:
        opened(browser, address)
        browser.choose("#file", image)
        browser.wait_for(FOUND)
        assert "Probably none of these\n\nThe best score, 1.000, is below 1.500" in text_of(browser, ".verdict")
        assert "Sure as order: Aves, as 95" in text_of(browser, ".verdict")
        assert "Lost." in text_of(browser, "#answers")


@needs_browser
def test_answers_are_refined_on_request(browser: Browser, address: str, image: Path) -> None:
    opened(browser, address)
    browser.choose("#file", image)
    browser.wait_for(FOUND)
    assert "% right" in text_of(browser, ".grid .answer").replace("\u00a0", " ").replace(" %", "%")
    browser.run("document.getElementById('refine').value = 'query_expansion'")
    browser.run("document.getElementById('refine').dispatchEvent(new Event('change'))")
    browser.wait_for(f"{FOUND} && !document.querySelector('.grid').innerText.includes('right')")
    assert "No validation of such scores was recorded" in text_of(browser, ".verdict")


@needs_browser
def test_a_file_of_the_gallery_is_recognized(browser: Browser, gallery: ServedGallery, image: Path) -> None:
    served = replace(gallery, contents=(content_hash(image),))
    with running(create_app(served, LimitsConfig())) as address:
        opened(browser, address)
        browser.choose("#file", image)
        browser.wait_for(FOUND)
        path = gallery.image_path(0)
        assert text_of(browser, ".known").startswith(f"This very file is in the gallery: {path} (")


def test_the_colours_are_those_of_the_report() -> None:
    ours, report = (
        re.findall(r"(--[\w-]+): (#\w+)", path.read_text(encoding="utf-8")) for path in (PAGE / "base.css", REPORT)
    )
    names = {name for name, _ in ours}
    assert len(ours) == 28
    assert ours == [(name, colour) for name, colour in report if name in names]
