"""Pose and light of one image, and the variation of one individual."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .arrays import Floats

CAMERA = 4.5
"""Distance of the camera in forewing lengths: near enough for a little perspective."""


@dataclass(frozen=True, slots=True)
class Individual:
    """The variation of one individual: factors around 1 and shifts around 0."""

    spots: float
    eyes: float
    bands: float
    shift: float
    border: float
    tint: Floats
    fading: float
    vigour: float
    tile: tuple[float, float]
    bites: tuple[tuple[tuple[float, float, float], ...], ...] = field(default=())
    """Per wing (fore left, fore right, hind left, hind right) the notches torn out of its margin."""

    @classmethod
    def grow(cls, source: np.random.Generator) -> Individual:
        """An individual with its own measures, colour cast and wear."""
        worn = source.choice([0, 1, 3], p=[0.55, 0.3, 0.15])
        bites = tuple(
            tuple(
                (source.uniform(0.1, 0.9), source.uniform(0.02, 0.07), source.uniform(0.06, 0.22))
                for _ in range(source.poisson(worn * 0.5))
            )
            for _ in range(4)
        )
        # Plain floats throughout: one numpy double would turn a whole wing's arithmetic into double precision.
        spots, eyes, bands, border = (float(factor) for factor in np.exp(source.normal(0, (0.16, 0.12, 0.16, 0.15))))
        return cls(
            spots,
            eyes,
            bands,
            shift=source.normal(0, 0.018),
            border=border,
            tint=source.normal(0, 0.025, 3).astype(np.float32),
            fading=min(0.4, abs(source.normal(0, 0.16))),
            vigour=source.uniform(0.92, 1.12),
            tile=(source.uniform(0, 512), source.uniform(0, 512)),
            bites=bites,
        )


@dataclass(frozen=True, slots=True)
class Light:
    """Light: unit direction towards it (right, up, to the camera), colour [3], ambient share, shadow strength."""

    towards: Floats
    colour: Floats
    ambient: float
    shadow: float
    soft: float

    @classmethod
    def fall(cls, source: np.random.Generator) -> Light:
        """Morning, noon, overcast or evening light from any side."""
        round_, height = source.uniform(0, 2 * np.pi), np.radians(source.uniform(28, 75))
        towards = np.array([np.cos(round_) * np.cos(height), np.sin(round_) * np.cos(height), np.sin(height)])
        warmth, brightness = source.normal(0.02, 0.07), source.uniform(0.92, 1.22)
        hue = brightness * np.array([1 + warmth, 1 + 0.15 * warmth, 1 - 1.1 * warmth])
        ambient = source.uniform(0.35, 0.75)
        return cls(
            towards.astype(np.float32),
            hue.astype(np.float32),
            ambient,
            source.uniform(0.2, 0.6) * (1.3 - ambient),
            source.uniform(0.008, 0.04),
        )


@dataclass(frozen=True, slots=True)
class Pose:
    """The camera's turn [3, 3], the wings' opening, and place (pixels) and scale (pixels per wing length)."""

    turn: Floats
    openings: tuple[float, float]
    sweeps: tuple[float, float]
    scale: float
    centre: tuple[float, float]

    @classmethod
    def take(cls, source: np.random.Generator, side: int) -> Pose:
        """A pose in an image of `side` pixels."""
        roll = np.radians(np.clip(source.normal(0, 30), -75, 75))
        pitch, yaw = np.radians(source.uniform(-32, 32)), np.radians(source.uniform(-26, 26))
        opening = np.radians(source.uniform(2, 48))
        openings = opening + np.radians(source.normal(0, 6, 2))
        sweeps = np.radians(source.normal(0, 7) + source.normal(0, 2, 2))
        scale = side * source.uniform(0.35, 0.49)
        centre = side * (0.5 + source.uniform(-0.09, 0.09, 2))
        turn = _about(2, roll) @ _about(0, pitch) @ _about(1, yaw)
        return cls(
            turn.astype(np.float32),
            (float(openings[0]), float(openings[1])),
            (float(sweeps[0]), float(sweeps[1])),
            scale,
            (float(centre[0]), float(centre[1])),
        )

    def plane(self, side: int, root: tuple[float, float], sweep: float, opening: float) -> tuple[Floats, Floats]:
        """A wing's [3, 3] map from wing coordinates (outward, forward, 1) to homogeneous pixels, and its normal."""
        swing = np.array([[np.cos(sweep), -np.sin(sweep), root[0]], [np.sin(sweep), np.cos(sweep), root[1]], [0, 0, 1]])
        hinge = np.array([[side * np.cos(opening), 0, 0], [0, 1, 0], [np.sin(opening), 0, 0]])
        space = self.turn @ hinge @ swing
        depth = np.array([0, 0, CAMERA]) - space[2]
        right, up = self.scale * CAMERA * space[0], self.scale * CAMERA * space[1]
        to_pixels = np.stack([right + self.centre[0] * depth, self.centre[1] * depth - up, depth])
        normal = np.cross(space[:, 0], space[:, 1]) * side
        return to_pixels, np.asarray(normal / np.linalg.norm(normal), np.float32)


def _about(axis: int, angle: float) -> Floats:
    first, second = [index for index in range(3) if index != axis]
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    return np.asarray(turn, np.float32)
