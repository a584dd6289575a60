"""The colors of the pages have enough contrast, light and dark."""

import re
from importlib.resources import files

import pytest


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_enough_contrast_in_both_themes(theme: int) -> None:
    style = files("conspecific.reporting").joinpath("page", "base.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[theme]
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for ground in ("page", "card"):
        for text in ("ink", "quiet", "accent", "miss", "caution", "open"):
            assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
    for line in ("baseline", "pooled"):
        assert contrast(colors[line], colors["card"]) >= 3, line
    for mark in ("accent", "miss", "caution", "open"):
        assert contrast(colors[f"on-{mark}"], colors[mark]) >= 4.5, mark


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2."""
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    subsets = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [subset / 12.92 if subset <= 0.04045 else ((subset + 0.055) / 1.055) ** 2.4 for subset in subsets]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
