"""The learning curves as SVG: self-contained, in the colors of the page, with a summary in words."""

import re

from conspecific.reporting.page.plots import learning_curves

EPOCHS = [{"epoch": epoch, "loss": 1.0 / (epoch + 1), "recall@1": 0.5 + 0.1 * epoch} for epoch in range(3)]


def test_a_panel_for_each_known_metric_and_the_loss() -> None:
    curves = learning_curves(EPOCHS, {"recall@1": 0.4}, {"recall@1": 0.45}, chosen_epoch=2)
    assert [curve.metric for curve in curves] == ["recall@1", "loss"]
    expected = "recall@1: 0.500 at epoch 0, 0.700 at epoch 2; baseline 0.400; pooled reference 0.450."
    assert curves[0].summary == expected


def test_the_svg_follows_the_theme_and_brings_nothing_from_elsewhere() -> None:
    for curve in learning_curves(EPOCHS, {"recall@1": 0.4}, {"recall@1": 0.45}):
        assert "var(--model)" in curve.svg
        assert "http" not in curve.svg and "<style" not in curve.svg and "font-family" not in curve.svg
        assert not re.search(r"#[0-9a-f]{6}", curve.svg)
        assert set(re.findall(r"(?:href=\"|url\()#([^\")]+)", curve.svg)) <= set(re.findall(r'id="([^"]+)"', curve.svg))


def test_ids_of_two_panels_do_not_meet() -> None:
    first, second = (set(re.findall(r'id="([^"]+)"', curve.svg)) for curve in learning_curves(EPOCHS, {}, {}))
    assert first and second and not first & second


def test_one_epoch_no_epoch_and_values_that_are_not_numbers() -> None:
    assert learning_curves([], {}, {}) == []
    assert len(learning_curves(EPOCHS[:1], {}, {})) == 2
    broken: list[dict[str, float | None]] = [
        {"epoch": 0, "loss": float("nan"), "recall@1": None},
        {"epoch": 1, "loss": float("inf")},
    ]
    assert learning_curves(broken, {}, {}) == []
