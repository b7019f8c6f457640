"""Named colours of clothes, hats, hair and eyes, as linear light."""

from __future__ import annotations

import numpy as np

__all__ = ["CLOTHES", "EYES", "HAIR", "HARD_HATS", "clothes_colour", "hair_colour"]

CLOTHES: dict[str, tuple[float, float, float]] = {
    "red": (0.78, 0.10, 0.12),
    "orange": (0.93, 0.48, 0.10),
    "yellow": (0.94, 0.84, 0.16),
    "green": (0.14, 0.55, 0.22),
    "blue": (0.12, 0.28, 0.72),
    "purple": (0.46, 0.16, 0.62),
    "pink": (0.95, 0.55, 0.68),
    "brown": (0.42, 0.26, 0.15),
    "black": (0.10, 0.10, 0.11),
    "white": (0.93, 0.93, 0.92),
    "grey": (0.52, 0.52, 0.53),
}
"""sRGB in [0, 1]."""

HARD_HATS = ("yellow", "white", "red", "blue", "orange", "green")

HAIR: dict[str, tuple[float, float, float]] = {
    "black": (0.10, 0.09, 0.085),
    "dark brown": (0.22, 0.15, 0.11),
    "brown": (0.38, 0.26, 0.17),
    "blonde": (0.76, 0.60, 0.38),
    "red": (0.55, 0.24, 0.12),
    "grey": (0.56, 0.55, 0.54),
    "white": (0.84, 0.83, 0.81),
}

EYES: dict[str, tuple[float, float, float]] = {
    "brown": (0.34, 0.20, 0.10),
    "dark brown": (0.20, 0.12, 0.07),
    "blue": (0.36, 0.52, 0.70),
    "green": (0.40, 0.50, 0.32),
    "grey": (0.50, 0.54, 0.56),
}


def clothes_colour(name: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """A linear colour that people call `name`."""
    return _varied(CLOTHES[name], rng, 0.05, 0.14)


def hair_colour(name: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """A linear colour of hair that people call `name`."""
    return _varied(HAIR[name], rng, 0.015, 0.18)


def _varied(
    srgb: tuple[float, float, float], rng: np.random.Generator, shift: float, spread: float
) -> tuple[float, float, float]:
    colour = np.array(srgb) * np.exp(rng.normal(0, spread)) + rng.normal(0, shift, 3) * np.array(
        srgb
    )
    linear = np.clip(colour, 0.02, 0.98) ** 2
    return float(linear[0]), float(linear[1]), float(linear[2])
