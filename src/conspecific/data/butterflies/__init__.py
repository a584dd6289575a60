"""Butterflies: a synthetic data set of invented butterfly species, drawn on the user's machine."""

from .names import species_names
from .scene import DRAWING_VERSION, draw_image
from .write import write_butterflies

__all__ = ["DRAWING_VERSION", "draw_image", "species_names", "write_butterflies"]
