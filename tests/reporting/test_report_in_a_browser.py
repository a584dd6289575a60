"""The page in a real browser: it fits a phone and a desk without scrolling sideways."""

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conspecific.leaks.record import Leaks
from conspecific.reporting.run.report import write_report

from .subjects import MakeSubject, changed

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=4000",
]

# A frame has the width it is given; a browser's own window has a smallest width that no phone has.
FRAME = """<!DOCTYPE html><body><iframe style="width:{width}px;height:900px;border:0" srcdoc="{page}"></iframe>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const root = frame.contentDocument.documentElement;
  const broken = [...frame.contentDocument.images].filter(image => !image.naturalWidth).length;
  document.title = `inside=${{frame.contentWindow.innerWidth}} wide=${{root.scrollWidth}} `
    + `tall=${{root.scrollHeight}} broken=${{broken}}`;
}};
</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine to show the page in")
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_does_not_scroll_sideways(
    make_run: MakeSubject, make_leaks: Callable[..., Leaks], tmp_path: Path, width: int
) -> None:
    names = [f"Unpronounceably_long_species_name_number_{number}" for number in range(8)]
    leaks = make_leaks((f"{names[0]}/0.jpg", f"{names[1]}/12.jpg", {"view": "mirrored and cropped"}))
    run = changed(make_run(names), leaks=leaks)
    page = write_report(tmp_path / "report.html", run).read_text(encoding="utf-8")
    page = page.replace("<details>", "<details open>")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width, page=html.escape(page)), encoding="utf-8")
    command = [str(BROWSER), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000"]
    command += ["--dump-dom", (tmp_path / "frame.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    measured = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", shown.split("</title>")[0])}
    assert measured["inside"] == width
    assert measured["wide"] <= width
    assert measured["tall"] > 3000
    assert measured["broken"] == 0
