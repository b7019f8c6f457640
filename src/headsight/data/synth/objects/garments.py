"""Shirts, trousers, skirts and dresses, lying flat or as worn; left and right are the wearer's."""

from __future__ import annotations

import numpy as np

from headsight.data.synth.objects.kit import SIDES, Kit
from headsight.data.synth.objects.skins import BLACK, any_colour, cloth, plain
from headsight.data.synth.objects.solids import Relief, Vector, blob, loft, vec
from headsight.data.synth.surface import Material

__all__ = ["dress", "shirt", "skirt", "trousers"]

_UP = (1.0, 0.0, 0.0)
"""Rings of hanging cloth: sideways to the wearer's left, then forward."""


def _fullness(kit: Kit) -> float:
    """Half the depth over half the width: lying flat, or as worn."""
    return float(
        kit.rng.uniform(0.06, 0.14) if kit.rng.random() < 0.4 else kit.rng.uniform(0.25, 0.5)
    )


def _folds(kit: Kit, count: int | float, depth: float) -> Relief:
    """Folds that deepen toward the hem."""
    phase = kit.rng.uniform(0, 2 * np.pi)

    def relief(u: Vector, v: Vector) -> Vector:
        return 1 + depth * v * np.sin(2 * np.pi * round(count) * u + phase)

    return relief


def shirt(kit: Kit) -> None:
    """A shirt with short or long sleeves."""
    rng, fabric = kit.rng, cloth(kit.rng)
    full = _fullness(kit)
    half, long = rng.uniform(0.24, 0.3), rng.uniform(0.62, 0.75)
    flare = half * rng.uniform(0.92, 1.12)
    top, neck = long, rng.uniform(0.085, 0.12)
    slope = rng.uniform(0.03, 0.06)
    shoulder, armpit = half * 0.97, top - rng.uniform(0.2, 0.24)
    kit.add(
        loft([(0, 0, top), (0, 0, top - slope), (0, 0, armpit), (0, 0, 0)],
             [(neck * 1.05, half * full * 0.5), (shoulder, half * full * 0.7),
              (half, half * full), (flare, flare * full)],
             up=_UP, sides=26, rings=16, caps=(0, 0), relief=_folds(kit, 5, 0.03)),
        fabric, (1, 1),
    )  # fmt: skip
    drop = rng.uniform(0.05, 0.13)
    _neckline(kit, fabric, (top, neck, half * full), drop)
    is_long = rng.random() < 0.5
    length = rng.uniform(0.5, 0.6) if is_long else rng.uniform(0.18, 0.28)
    down = np.radians(rng.uniform(15, 75))
    for name, s in SIDES:
        angle = down + rng.normal(0, 0.1)
        aim = np.array([rng.normal(0, 0.08), s * np.cos(angle), -np.sin(angle)])
        aim /= np.linalg.norm(aim)
        across = np.array([0, s * np.sin(angle), np.cos(angle)])
        upper = np.array([0, s * shoulder, top - slope - 0.015])
        lower = np.array([0, s * half * 0.97, armpit])
        wide = 0.5 * float(np.linalg.norm(upper - lower)) * 0.92
        root = (upper + lower) / 2
        end = root + aim * length
        cuff = wide * (0.5 if is_long else 0.8)
        spots = [root - aim * 0.05, root + aim * length * 0.3, end]
        deep = max(full, 0.1)
        kit.add(
            loft(
                spots,
                [(wide * deep * 0.9, wide), (wide * deep, wide * 0.9), (cuff * deep, cuff)],
                up=across,
                sides=16,
                caps=(0, 0),
            ),
            fabric,
            (0.5, 0.6),
        )
        kit.mark(f"{name} shoulder", upper + vec(0, -s * 0.015, -0.01), 0.05 + half * full * 0.8)
        kit.mark(f"{name} armpit", lower + vec(0, -s * 0.01, -0.01), 0.04 + half * full)
        kit.mark(f"{name} cuff outer", end + across * cuff * 0.94 - aim * 0.01, 0.04 + cuff * deep)
        kit.mark(f"{name} cuff inner", end - across * cuff * 0.94 - aim * 0.01, 0.04 + cuff * deep)
        kit.mark(f"{name} hem", (0, s * flare * 0.96, 0.012), 0.05 + half * full * 0.6)
        kit.mark(f"{name} neckline", (0, s * neck * 0.97, top - 0.008), 0.03 + half * full * 0.6)
    kit.mark("hem centre", (flare * full * 0.97, 0, 0.01), 0.04)
    if rng.random() < 0.5:
        button = plain(any_colour(rng))
        for z in np.linspace(top - drop - 0.06, 0.06, 5):
            kit.add(blob((half * full * 0.985, 0, z), (0.01, 0.011, 0.011)), button)


def _neckline(kit: Kit, fabric: Material, at: tuple[float, float, float], drop: float) -> None:
    """The opening's dark inside and its seam; the wearer's front is cut `drop` deep."""
    top, neck, deep = at
    skin = plain((0.12, 0.1, 0.1))
    x = deep * 0.72 + 0.012
    steps = np.linspace(-1, 1, 9)
    rim = [
        (deep * 0.35 + (x - deep * 0.3) * (1 - t * t), t * neck, top + 0.004 - drop * (1 - t * t))
        for t in steps
    ]
    kit.add(loft([(deep * 0.42, 0, top - drop * 0.45), (x + 0.002, 0, top - drop * 0.45)],
                 2 * [(neck * 0.8, drop * 0.5)], caps=(0, 0.1), sides=18), skin)  # fmt: skip
    kit.add(loft(rim, 9 * (0.011,), up=(1, 0, 0.3), sides=8), plain(any_colour(kit.rng)))
    kit.mark("neckline centre", (x + 0.008, 0, top - drop), 0.025)


def trousers(kit: Kit) -> None:
    """Trousers or jeans, legs a little apart."""
    rng, full = kit.rng, _fullness(kit)
    fabric = cloth(rng) if rng.random() < 0.5 else plain(
        ((0.2, 0.27, 0.42), (0.3, 0.29, 0.26), (0.1, 0.1, 0.12))[int(rng.integers(3))]
    )  # fmt: skip
    waist, hips = rng.uniform(0.17, 0.21), rng.uniform(0.21, 0.26)
    long, rise = rng.uniform(0.85, 1.0), rng.uniform(0.2, 0.26)
    top, fork = long, long - rise
    kit.add(
        loft([(0, 0, top), (0, 0, top - 0.1), (0, 0, fork - 0.01)],
             [(waist, waist * full), (hips * 0.97, hips * full), (hips, hips * full * 0.9)],
             up=_UP, sides=24, caps=(0, 0)), fabric,
    )  # fmt: skip
    kit.add(
        loft(
            [(0, 0, top + 0.005), (0, 0, top - 0.03)],
            2 * [(waist * 1.02, waist * full * 1.04)],
            up=_UP,
            sides=24,
            caps=(0, 0),
        ),
        plain(any_colour(rng)),
    )
    kit.add(
        blob((waist * full * 1.03, 0, top - 0.015), (0.012, 0.018, 0.018)), plain((0.8, 0.7, 0.4))
    )
    kit.mark("waist centre", (waist * full * 1.03, 0, top - 0.012), 0.04)
    hem = hips * rng.uniform(0.28, 0.55)
    spread = rng.uniform(0.02, 0.16)
    for name, s in SIDES:
        bend = rng.normal(0, 0.03)
        root = np.array([0, s * hips * 0.5, fork + 0.03])
        end = np.array([bend, s * (hips * 0.52 + spread), 0.0])
        knee = (root + end) / 2 + np.array([abs(bend) * 0.5, 0, 0])
        wide = hips * 0.5
        knee_wide = (wide * 0.72 + hem) / 2
        radii = [
            (wide, wide * full * 1.5),
            (knee_wide, knee_wide * full * 1.6),
            (hem, hem * full * 1.6),
        ]
        kit.add(loft([root, knee, end], radii, up=_UP, sides=18, caps=(0, 0),
                     relief=_folds(kit, 3, 0.03)), fabric, (1, 1.5))  # fmt: skip
        for end_name, at, r in (("knee", knee, knee_wide), ("hem", end + vec(0, 0, 0.012), hem)):
            depth = 0.03 + r * full * 1.5
            kit.mark(f"{name} {end_name} outer", at + vec(0, s * r * 0.94, 0), depth)
            kit.mark(f"{name} {end_name} inner", at - vec(0, s * r * 0.94, 0), depth)
        kit.mark(f"{name} waist", (0, s * waist * 0.97, top - 0.01), 0.02 + waist * full)
    kit.mark("crotch", (0, 0, fork + 0.01), 0.05 + hips * full)


def skirt(kit: Kit) -> None:
    """A skirt with a waistband, narrow or wide."""
    rng, fabric, full = kit.rng, cloth(kit.rng), _fullness(kit)
    waist, long = rng.uniform(0.17, 0.22), rng.uniform(0.35, 0.75)
    hem = waist * rng.uniform(1.2, 2.4)
    side = waist * 0.45 + hem * 0.55
    kit.add(
        loft([(0, 0, long), (0, 0, long / 2), (0, 0, 0)],
             [(waist, waist * full), (side, side * full), (hem, hem * full)], up=_UP, sides=40,
             rings=12, caps=(0, 0), relief=_folds(kit, rng.uniform(6, 11), rng.uniform(0, 0.07))),
        fabric, (2, 1),
    )  # fmt: skip
    kit.add(
        loft(
            [(0, 0, long + 0.005), (0, 0, long - 0.045)],
            2 * [(waist * 1.03, waist * full * 1.06)],
            up=_UP,
            sides=28,
            caps=(0, 0),
        ),
        plain(any_colour(rng)),
    )
    for name, s in SIDES:
        kit.mark(f"{name} waist end", (0, s * waist * 0.99, long - 0.015), 0.02 + waist * full)
        kit.mark(f"{name} side", (0, s * side * 0.93, long / 2), 0.03 + side * full)
        kit.mark(f"{name} hem corner", (0, s * hem * 0.9, 0.012), 0.03 + hem * full)
    kit.mark("waist centre", (waist * full * 1.04, 0, long - 0.018), 0.04)
    kit.mark("hem centre", (hem * full * 0.93, 0, 0.012), 0.03 + 0.12 * hem)


def dress(kit: Kit) -> None:
    """A sleeveless dress with a belt and a bow."""
    rng, fabric, full = kit.rng, cloth(kit.rng), _fullness(kit)
    half, waist, long = rng.uniform(0.19, 0.24), rng.uniform(0.15, 0.18), rng.uniform(0.85, 1.1)
    hem, top, neck = rng.uniform(0.28, 0.5), long, rng.uniform(0.08, 0.11)
    armpit, middle = top - 0.2, top - rng.uniform(0.36, 0.42)
    kit.add(
        loft([(0, 0, top), (0, 0, top - 0.04), (0, 0, armpit), (0, 0, middle)],
             [(neck * 1.05, half * full * 0.5), (half * 0.86, half * full * 0.7),
              (half, half * full), (waist, waist * full)], up=_UP, sides=26, caps=(0, 0)), fabric,
    )  # fmt: skip
    kit.add(
        loft([(0, 0, middle), (0, 0, middle * 0.6), (0, 0, 0)],
             [(waist, waist * full), ((waist + hem) * 0.55, (waist + hem) * 0.55 * full),
              (hem, hem * full)], up=_UP, sides=40, rings=12, caps=(0, 0),
             relief=_folds(kit, rng.uniform(6, 11), rng.uniform(0.02, 0.08))), fabric, (2, 1),
    )  # fmt: skip
    belt = plain(any_colour(rng))
    kit.add(
        loft(
            [(0, 0, middle + 0.02), (0, 0, middle - 0.02)],
            2 * [(waist * 1.04, waist * full * 1.08)],
            up=_UP,
            sides=28,
            caps=(0, 0),
        ),
        belt,
    )
    kit.mark("waist centre", (waist * full * 1.06, 0, middle), 0.04)
    angle = np.radians(48)
    knot = np.array([waist * full * 1.1 * np.cos(angle) + 0.01, waist * np.sin(angle), middle])
    for s in (-1.0, 1.0):
        kit.add(loft([knot, knot + vec(0.01, s * 0.045, 0.012 * s)], (0.008, 0.022), sides=8), belt)
    kit.add(blob(knot, (0.018, 0.014, 0.016)), plain(BLACK))
    kit.mark("belt knot", knot, 0.03)
    _neckline(kit, fabric, (top, neck, half * full), rng.uniform(0.06, 0.14))
    for name, s in SIDES:
        kit.mark(f"{name} neckline", (0, s * neck * 0.97, top - 0.008), 0.03 + half * full * 0.6)
        kit.mark(f"{name} shoulder", (0, s * half * 0.84, top - 0.045), 0.03 + half * full * 0.7)
        kit.mark(f"{name} armpit", (0, s * half * 0.95, armpit), 0.02 + half * full)
        kit.mark(f"{name} waist", (0, s * waist * 1.01, middle), 0.02 + waist * full)
        kit.mark(f"{name} hem", (0, s * hem * 0.9, 0.012), 0.03 + hem * full)
        hole = [(0, s * half * 0.86, top - 0.045), (0, s * half * 0.985, armpit + 0.05),
                (0, s * half * 1.0, armpit)]  # fmt: skip
        kit.add(loft(hole, (0.012, 0.02 + half * full * 0.3, 0.012), up=_UP, sides=8), plain(BLACK))
    kit.mark("hem centre", (hem * full * 0.93, 0, 0.012), 0.03 + 0.12 * hem)
