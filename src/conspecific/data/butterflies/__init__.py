"""Butterflies: a synthetic data set of invented butterfly species, drawn on the user's machine."""

from .names import species_names
from .scene import DRAWING_VERSION, draw_picture
from .write import write_butterflies

__all__ = ["DRAWING_VERSION", "draw_picture", "species_names", "write_butterflies"]
