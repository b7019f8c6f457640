"""What objects are covered with: fur, feathers, cloth, paint, wood, metal, skin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from headsight.data.synth.bodies import FloatArray
from headsight.data.synth.colours import CLOTHES
from headsight.data.synth.surface import Material

__all__ = [
    "BLACK",
    "Colour",
    "any_colour",
    "cloth",
    "countershaded",
    "dark",
    "fur",
    "metal",
    "mottled",
    "paint",
    "patched",
    "plain",
    "skin_colour",
    "spotted",
    "striped",
    "varied",
    "wood",
]

Colour = tuple[float, float, float]
"""sRGB in [0, 1]."""

BLACK: Colour = (0.06, 0.06, 0.065)
SIDE = 64
"""Of a texture, px."""

_SKIN: tuple[Colour, ...] = (
    (0.93, 0.78, 0.69),
    (0.87, 0.68, 0.56),
    (0.75, 0.55, 0.42),
    (0.58, 0.40, 0.29),
    (0.40, 0.27, 0.20),
)
_WOOD: tuple[Colour, ...] = (
    (0.72, 0.53, 0.34),
    (0.55, 0.36, 0.21),
    (0.38, 0.23, 0.14),
    (0.84, 0.70, 0.50),
    (0.88, 0.86, 0.82),
    (0.16, 0.13, 0.12),
)


def varied(rng: np.random.Generator, colour: Colour, spread: float = 0.12) -> Colour:
    """A colour near `colour`."""
    values = np.array(colour) * np.exp(rng.normal(0, spread)) * np.exp(rng.normal(0, 0.04, 3))
    r, g, b = np.clip(values, 0.02, 0.97)
    return float(r), float(g), float(b)


def any_colour(rng: np.random.Generator) -> Colour:
    """A colour of clothes and paint."""
    return varied(rng, list(CLOTHES.values())[int(rng.integers(len(CLOTHES)))], 0.2)


def skin_colour(rng: np.random.Generator) -> Colour:
    """A colour of people's skin."""
    return varied(rng, _SKIN[int(rng.integers(len(_SKIN)))], 0.08)


def dark(colour: Colour, share: float) -> Colour:
    """`colour` times `share`."""
    return colour[0] * share, colour[1] * share, colour[2] * share


def plain(colour: Colour, *, specular: float = 0.04, gloss: int | float = 20.0) -> Material:
    """One colour."""
    r, g, b = (c * c for c in colour)
    return Material(tint=(r, g, b), specular=specular, gloss=float(gloss), grain=0.08)


def paint(colour: Colour) -> Material:
    """Glossy paint."""
    return plain(colour, specular=0.5, gloss=40.0)


def metal(rng: np.random.Generator, colour: Colour = (0.68, 0.69, 0.71)) -> Material:
    """Bare metal."""
    return plain(varied(rng, colour), specular=0.7, gloss=float(rng.uniform(15, 60)))


def mottled(rng: np.random.Generator, colour: Colour, depth: float = 0.18) -> Material:
    """One colour, lighter here and darker there."""
    noise = _noise(rng, (5, 5)) + 0.6 * _noise(rng, (1.2, 2.2))
    texture = np.array(colour) * (1 + depth * noise[..., None])
    return _textured(texture, rng.uniform(0, 0.06))


def patched(
    rng: np.random.Generator, first: Colour, second: Colour, share: int | float
) -> Material:
    """Patches of `second` over about `share` of `first`."""
    noise = _noise(rng, (7, 7)) + 0.3 * _noise(rng, (2, 2))
    return _mixed(rng, first, second, _step(noise - np.quantile(noise, 1 - share), 12))


def striped(
    rng: np.random.Generator,
    first: Colour,
    second: Colour,
    count: int | float,
    *,
    along: bool = True,
) -> Material:
    """`count` stripes across the length of a limb (`along`), or running down it."""
    v, u = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    wave = (v if along else u) * 2 * np.pi * round(count) + 1.2 * _noise(rng, (6, 6))
    return _mixed(rng, first, second, _step(np.sin(wave), 6))


def spotted(rng: np.random.Generator, first: Colour, second: Colour, size: int | float) -> Material:
    """Round spots of `second`, `size` px of 64 wide."""
    noise = _noise(rng, (size, size))
    return _mixed(rng, first, second, _step(noise - 0.7, 10))


def countershaded(
    rng: np.random.Generator, back: Colour, belly: Colour, share: float = 0.35
) -> Material:
    """`belly` on the lower side of a loft along x, `back` above."""
    u = np.linspace(0, 1, SIDE, endpoint=False)[None, :]
    below = np.abs(u - 0.75) - share / 2 + 0.02 * _noise(rng, (4, 4))
    return _mixed(rng, back, belly, _step(-below, 25))


def fur(rng: np.random.Generator, colours: Sequence[Colour], patterns: Sequence[str]) -> Material:
    """An animal's coat: one of `patterns` in one or two of `colours`."""
    order = rng.permutation(len(colours))
    first = varied(rng, colours[order[0]])
    second = varied(rng, colours[order[1 % len(colours)]])
    kind = patterns[int(rng.integers(len(patterns)))]
    if kind == "patches":
        return patched(rng, first, second, rng.uniform(0.2, 0.5))
    if kind == "stripes":
        return striped(rng, first, dark(second, 0.6), rng.uniform(5, 12))
    if kind == "spots":
        return spotted(rng, first, second, rng.uniform(1.5, 3.5))
    if kind == "belly":
        light = tuple(0.45 + 0.5 * c for c in first)
        return countershaded(rng, first, (light[0], light[1], light[2]))
    return mottled(rng, first)


def cloth(rng: np.random.Generator) -> Material:
    """A fabric: plain, striped, checked, dotted or with patches of colour."""
    first, second = any_colour(rng), any_colour(rng)
    kind = rng.choice(("plain", "stripes", "bars", "checks", "dots", "patches"))
    v, u = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    n = int(rng.integers(3, 11))
    if kind == "plain":
        return mottled(rng, first, 0.06)
    if kind == "patches":
        return patched(rng, first, second, 0.4)
    if kind == "dots":
        wave = np.sin(2 * np.pi * n * u) * np.sin(2 * np.pi * n * v) - 0.4
        return _mixed(rng, first, second, _step(wave, 8))
    share = _step(np.sin(2 * np.pi * n * (u if kind == "stripes" else v)), 8)
    if kind == "checks":
        share = 0.5 * share + 0.5 * _step(np.sin(2 * np.pi * n * u), 8)
    return _mixed(rng, first, second, share)


def wood(rng: np.random.Generator) -> Material:
    """Wood, its grain along v, or painted wood."""
    if rng.random() < 0.2:
        return plain(any_colour(rng), specular=0.15)
    colour = varied(rng, _WOOD[int(rng.integers(len(_WOOD)))])
    grain = 0.7 * _noise(rng, (14, 0.8)) + 0.3 * _noise(rng, (6, 2))
    return _textured(np.array(colour) * (1 + 0.14 * grain[..., None]), rng.uniform(0.02, 0.25))


def _noise(rng: np.random.Generator, sigma: tuple[int | float, int | float]) -> FloatArray:
    """(SIDE, SIDE) noise of unit spread, the same past its borders."""
    noise = ndimage.gaussian_filter(
        rng.normal(size=(SIDE, SIDE)).astype(np.float32), sigma, mode="wrap"
    )
    result: FloatArray = (noise / max(float(noise.std()), 1e-6)).astype(np.float32)
    return result


def _step(values: NDArray[np.floating], steepness: int | float) -> FloatArray:
    result: FloatArray = (1 / (1 + np.exp(-np.clip(steepness * values, -30, 30)))).astype(
        np.float32
    )
    return result


def _mixed(
    rng: np.random.Generator, first: Colour, second: Colour, share: NDArray[np.floating]
) -> Material:
    part = np.broadcast_to(share, (SIDE, SIDE))[..., None]
    return _textured(np.array(first) * (1 - part) + np.array(second) * part, rng.uniform(0, 0.08))


def _textured(colours: NDArray[np.floating], specular: float) -> Material:
    texture = np.ones((SIDE, SIDE, 4), np.float32)
    texture[..., :3] = np.clip(colours, 0.01, 1)
    return Material(texture=texture, specular=float(specular), grain=0.1)
