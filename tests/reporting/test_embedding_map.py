"""The embedding map: near images are near on it, it is read as data, and it works by keyboard."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conspecific.errors import RunError
from conspecific.evaluation.projection import principal_components, project, spread
from conspecific.reporting.run.embedding_map import embedding_map
from conspecific.reporting.run.report import write_report
from conspecific.reporting.run.subject import Subject

from ..serving.browser import CHROMIUM, Browser
from .subjects import MakeSubject


def with_map(run: Subject, label: str = "Species_A", **columns: object) -> Subject:
    """Write a map of ten images, the first five of another species and in another corner, under two encoders."""
    file = run.record.directory.embedding_map
    file.parent.mkdir(exist_ok=True)
    near = [0.01 * place + (0.8 if place < 5 else 0.0) for place in range(10)]
    labels = ["<b>Wren</b>"] * 5 + [label] * 5
    places = dict.fromkeys([f"{name}_{axis}" for name in ("flatten", run.record.best) for axis in "xy"], near)
    pl.DataFrame({"path": [f"{i}.jpg" for i in range(10)], "label": labels, **places, **columns}).write_parquet(file)
    return run


def test_clusters_stay_together_on_a_map() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    vectors = (5 * rng.normal(size=(3, 300))[labels] + rng.normal(size=(60, 300))).astype(np.float32)
    points = project(vectors)
    assert points.min() == 0 and points.max() == 1 and np.array_equal(points, project(vectors))
    apart = ((points[:, None] - points[None]) ** 2).sum(axis=2) + 9 * np.eye(60)
    assert (labels[apart.argmin(axis=1)] == labels).mean() > 0.95
    products = principal_components(vectors, 60)
    centered = vectors - vectors.mean(axis=0)
    assert np.allclose(products @ products.T, centered @ centered.T, atol=1e-1)


def test_a_sample_has_as_many_of_each_species_as_there_are() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 50)
    chosen = spread(labels, 23)
    assert np.bincount(labels[chosen]).tolist() == [10, 3, 10] and (np.diff(chosen) > 0).all()
    assert len(spread(labels, 500)) == 103


def test_a_map_is_read_as_data(make_run: MakeSubject) -> None:
    run = make_run()
    assert embedding_map(run) is None, "none was made"
    section = embedding_map(with_map(run))
    assert section is not None and [side.near.split()[0] for side in section["sides"]] == ["100", "100"]
    untrained = embedding_map(with_map(make_run(trained=False)))
    assert untrained is not None
    assert [side.encoder.name for side in untrained["sides"]] == ["Baseline", "Pooled reference"]
    with_map(run)
    for wrong in ({"model_x": [float("nan")] * 10}, {"model_x": ["x"] * 10}, {"path": [None] * 10}):
        with pytest.raises(RunError, match="test_map"):
            embedding_map(with_map(run, **wrong))
    run.record.directory.embedding_map.write_bytes(b"PAR1")
    with pytest.raises(RunError, match="cannot be read"):
        embedding_map(run)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine to show the page in")
def test_arrows_and_species_pick_out_points(make_run: MakeSubject, tmp_path: Path) -> None:
    page = write_report(tmp_path / "report.html", with_map(make_run()))
    assert "<b>Wren" not in page.read_text(encoding="utf-8")
    with Browser(tmp_path / "profile") as browser:
        browser.open(page.as_uri(), 390)
        assert browser.run("document.documentElement.scrollWidth <= 390")
        browser.run("document.getElementById('map-card').focus()")
        browser.press("ArrowRight", "ArrowLeft", "ArrowRight")
        assert browser.run("document.querySelectorAll('.map .marked').length") == 2, "the same image in both maps"
        assert browser.run("document.querySelector('.tip p').innerText").startswith("<b>Wren</b> · ")
        browser.press("Escape")
        assert browser.run("document.querySelector('.tip').hidden")
        browser.run(
            "(s => { s.value = '1'; s.dispatchEvent(new Event('input')); })(document.querySelector('.map select'))"
        )
        assert browser.run("document.querySelectorAll('.map .dim').length") == 10


ROOM = """(([map, place, below]) => {
  const svg = document.querySelectorAll('.map svg')[map], point = svg.querySelectorAll('circle')[place];
  scrollTo({top: 0, behavior: 'instant'});
  scrollTo({top: point.getBoundingClientRect().top - (below ? innerHeight - 5 : 50), behavior: 'instant'});
  const {left, top} = point.getBoundingClientRect();
  svg.dispatchEvent(new PointerEvent('pointermove', {clientX: left + 2, clientY: top + 2}));
  const tip = document.querySelector('.tip').getBoundingClientRect();
  const room = document.documentElement;
  return [tip.left, tip.top, room.clientWidth - tip.right, room.clientHeight - tip.bottom, tip.height];
})(%s)"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine to show the page in")
def test_the_image_of_a_point_is_seen_whole_wherever_the_point_is(make_run: MakeSubject, tmp_path: Path) -> None:
    corners = {"model_x": [0.0, 1.0] * 5, "model_y": [0.0, 0.0, 1.0, 1.0] + [0.5] * 6}
    page = write_report(tmp_path / "report.html", with_map(make_run(), **corners))
    with Browser(tmp_path / "profile") as browser:
        for width in (1280, 390):
            browser.open(page.as_uri(), width)
            for place in range(4):
                for below in ("false", "true"):
                    *room, height = browser.run(ROOM % f"[1, {place}, {below}]")
                    assert min(room) >= 0 and height > 100, (width, place, below, room)
