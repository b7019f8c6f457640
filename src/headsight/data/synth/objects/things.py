"""Scissors, hammers, axes, mugs and teapots."""

from __future__ import annotations

import numpy as np

from headsight.data.synth.objects.kit import SIDES, Kit
from headsight.data.synth.objects.skins import any_colour, cloth, metal, mottled, paint, plain, wood
from headsight.data.synth.objects.solids import blob, block, lathe, loft, turned, vec
from headsight.data.synth.surface import Material

__all__ = ["axe", "hammer", "mug", "scissors", "teapot"]


def scissors(kit: Kit) -> None:
    """Scissors with one large and one small loop, flat on the ground, pointing along x."""
    rng = kit.rng
    steel, grip = metal(rng), plain(any_colour(rng), specular=0.2)
    opening = rng.uniform(6, 32)
    blade, shank = rng.uniform(0.5, 0.7), rng.uniform(0.2, 0.3)
    kit.add(
        lathe([(0, 0.03), (0.03, 0.03), (0.035, -0.03), (0, -0.03)], sides=12),
        plain((0.3, 0.3, 0.3)),
    )
    kit.mark("pivot", (0, 0, 0.02), 0.05)
    # the large loop's blade lies above, its loop on the right
    for name, s, r, z in (
        ("large", 1.0, rng.uniform(0.15, 0.19), 0.012),
        ("small", -1.0, 0.105, -0.012),
    ):
        half = kit.at((0, 0, z), turned(yaw=s * opening / 2))
        spots = [(-0.06, 0, 0), (blade * 0.4, -s * 0.01, 0), (blade, -s * 0.03, 0)]
        half.add(loft(spots, [(0.045, 0.012), (0.035, 0.01), (0.006, 0.006)], squareness=3), steel)
        half.mark(f"{name} loop blade tip", (blade - 0.01, -s * 0.03, 0), 0.02)
        root = np.array([-shank, -s * 0.03, 0])
        half.add(loft([(0, 0, 0), (-shank * 0.5, -s * 0.01, 0), root], (0.03, 0.028, 0.03)), grip)
        long = r * rng.uniform(1.2, 1.7) if name == "large" else r
        middle = root + np.array([-long, -s * r * 0.45, 0])
        angle = np.linspace(0, 2 * np.pi, 21)
        ring = [middle + vec(long * np.cos(a), r * np.sin(a), 0) for a in angle]
        half.add(loft(ring, 21 * (0.03,), rings=30, sides=9, caps=(0, 0)), grip)
        half.mark(f"{name} loop end", middle - vec(long, 0, 0), 0.05)
        half.mark(f"{name} loop root", root, 0.05)
        half.mark(f"{name} loop outside", middle - vec(0, s * r, 0), 0.05)


def hammer(kit: Kit) -> None:
    """A claw hammer: handle along z, face to the front, claw to the rear."""
    rng = kit.rng
    iron = metal(rng, (0.4, 0.4, 0.42))
    long = _handle(kit, rng.uniform(0.9, 1.2))
    size = rng.uniform(0.06, 0.085)
    top = long + size
    kit.add(block((0, 0, long), (size * 2, size * 1.7, size * 2)), iron)
    reach = rng.uniform(0.16, 0.22)
    kit.add(
        lathe(
            [
                (0, 0),
                (size * 0.75, 0),
                (size * 0.7, reach * 0.6),
                (size * 0.95, reach * 0.7),
                (size * 0.95, reach),
                (size * 0.95, reach),
                (0, reach),
            ],
            origin=(size * 0.6, 0, long),
            axis=(1, 0, 0),
        ),
        iron,
    )
    kit.mark("face", (size * 0.6 + reach - 0.004, 0, long), 0.02)
    kit.mark("head top", (0, 0, top - 0.01), 0.03)
    kit.mark("neck", (0, 0, long - size), 0.06)
    for name, s in SIDES:
        claw = [(-size * 0.5, s * size * 0.4, long), (-reach * 0.7, s * size * 0.55, long - 0.01),
                (-reach * 1.35, s * size * 0.8, long - rng.uniform(0.1, 0.14))]  # fmt: skip
        kit.add(
            loft(
                claw, [(size * 0.42, size * 0.8), (size * 0.36, size * 0.5), (size * 0.25, 0.012)]
            ),
            iron,
        )
        kit.mark(f"{name} claw tip", np.array(claw[2]), 0.04)


def axe(kit: Kit) -> None:
    """An axe: handle along z, edge to the front."""
    rng = kit.rng
    iron = metal(rng, (0.42, 0.42, 0.45))
    long = _handle(kit, rng.uniform(1.0, 1.3))
    half, reach = rng.uniform(0.1, 0.13), rng.uniform(0.26, 0.36)
    kit.add(block((-0.02, 0, long - 0.02), (0.17, 0.1, half * 1.5)), iron)
    edge = rng.uniform(0.17, 0.26)
    drop = rng.uniform(0.0, 0.06)
    kit.add(
        loft(
            [(0.03, 0, long), (reach * 0.6, 0, long - drop * 0.5), (reach, 0, long - drop)],
            [(0.05, half * 0.75), (0.03, edge * 0.62), (0.006, edge)],
            squareness=3,
            caps=(0, 0),
        ),
        paint(any_colour(rng)) if rng.random() < 0.4 else iron,
    )
    kit.mark("head top", (0, 0, long + half * 0.85), 0.06)
    kit.add(block((0, 0, long + 0.03), (0.06, 0.05, half * 1.8)), wood(rng))
    kit.mark("neck", (0, 0, long - half * 0.85), 0.06)
    for name, z in (("toe", 0.93), ("middle", 0.0), ("heel", -0.93)):
        kit.mark(f"blade {name}", (reach - 0.01 - 0.02 * abs(z), 0, long - drop + z * edge), 0.03)


def _handle(kit: Kit, long: float) -> float:
    rng = kit.rng
    r = rng.uniform(0.03, 0.042)
    bow = rng.normal(0, 0.02)
    kit.add(
        loft(
            [(0, 0, 0), (bow, 0, long * 0.5), (0, 0, long)],
            [(r, r * 1.2), (r * 0.8, r), (r * 0.9, r)],
            up=(1, 0, 0),
        ),
        wood(rng),
    )
    grip = long * rng.uniform(0.22, 0.38)
    kit.add(
        loft(
            [(0, 0, -0.012), (bow * 0.4, 0, grip)],
            [(r * 1.2, r * 1.4), (r * 1.05, r * 1.3)],
            up=(1, 0, 0),
            caps=(0.6, 0),
        ),
        plain(any_colour(rng)),
    )
    kit.mark("handle end", (0, 0, 0), r * 1.8)
    kit.mark("grip top", (bow * 0.4, 0, grip), r * 2)
    kit.mark("handle middle", (bow, 0, long * 0.5), r * 2)
    return long


def _glaze(kit: Kit) -> Material:
    rng = kit.rng
    kind = rng.random()
    if kind < 0.35:
        return cloth(rng)
    return paint(any_colour(rng)) if kind < 0.75 else mottled(rng, any_colour(rng), 0.1)


def mug(kit: Kit) -> None:
    """A mug whose handle is at the rear."""
    rng, glaze = kit.rng, _glaze(kit)
    r, high = rng.uniform(0.3, 0.42), rng.uniform(0.65, 1.0)
    foot = r * rng.uniform(0.75, 1.0)
    wall = 0.035
    kit.add(
        lathe(
            [
                (0, 0),
                (foot, 0),
                (foot, 0),
                (foot * 0.4 + r * 0.6, high * 0.3),
                (r, high),
                (r, high),
                (r - wall, high),
                (r - wall, high),
                (foot - wall, 0.06),
                (0, 0.06),
            ],
            sides=28,
        ),
        glaze,
    )
    if rng.random() < 0.6:
        drink = plain(
            ((0.25, 0.14, 0.08), (0.6, 0.3, 0.12), (0.9, 0.88, 0.84))[int(rng.integers(3))],
            specular=0.4,
        )
        kit.add(lathe([(r - wall * 0.8, high * 0.86), (0, high * 0.86)], sides=28), drink)
    _bow_handle(
        kit,
        glaze,
        (r * 0.96, foot * 0.5 + r * 0.45),
        (high * 0.84, high * 0.25),
        rng.uniform(0.2, 0.3),
    )
    for name, x, y in (("front", 1, 0), ("back", -1, 0), ("left", 0, 1), ("right", 0, -1)):
        edge = r - wall / 2
        kit.mark(f"rim {name}", (x * edge, y * edge, high - 0.012), 0.04)
        kit.mark(f"base {name}", (x * foot * 0.985, y * foot * 0.985, 0.012), 0.03)


def _bow_handle(
    kit: Kit,
    material: Material,
    roots: tuple[float, float],
    heights: tuple[float, float],
    reach: float,
) -> None:
    """A handle at the rear: radii and heights of its upper and lower joint."""
    (a, b), (high, low) = roots, heights
    spots = [
        (-a + 0.03, 0, high),
        (-a - reach * 0.75, 0, high - 0.01),
        (-max(a, b) - reach, 0, (high + low) / 2),
        (-b - reach * 0.6, 0, low + 0.03),
        (-b + 0.03, 0, low),
    ]
    kit.add(loft(spots, 5 * [(0.05, 0.04)], up=(0, 1, 0), rings=16, sides=10), material)
    kit.mark("handle top", (-a - 0.02, 0, high), 0.06)
    kit.mark("handle outside", spots[2], 0.06)
    kit.mark("handle bottom", (-b - 0.02, 0, low), 0.06)


def teapot(kit: Kit) -> None:
    """A teapot: spout to the front, handle at the rear."""
    rng, glaze = kit.rng, _glaze(kit)
    r, high = rng.uniform(0.42, 0.5), rng.uniform(0.55, 0.8)
    foot, mouth = r * rng.uniform(0.6, 0.75), r * rng.uniform(0.42, 0.6)
    kit.add(
        lathe(
            [
                (0, 0),
                (foot, 0),
                (foot, 0),
                (foot * 1.02, 0.03),
                (r * 0.97, high * 0.3),
                (r, high * 0.5),
                (r * 0.85, high * 0.8),
                (mouth, high),
                (0, high),
            ],
            sides=28,
        ),
        glaze,
    )
    lid = paint(any_colour(rng)) if rng.random() < 0.4 else glaze
    kit.add(
        lathe(
            [
                (mouth * 1.04, high - 0.01),
                (mouth * 0.95, high + 0.04),
                (mouth * 0.4, high + 0.1),
                (0, high + 0.11),
            ]
        ),
        lid,
    )
    knob = np.array([0, 0, high + 0.16])
    kit.add(blob(knob, 0.062), lid)
    kit.mark("lid knob", knob, 0.09)
    root, tip = (
        np.array([r * 0.93, 0, high * 0.38]),
        np.array([r + rng.uniform(0.3, 0.42), 0, high * rng.uniform(0.9, 1.1)]),
    )
    middle = np.array([r + 0.18, 0, high * 0.55])
    kit.add(
        loft(
            [root - vec(0.1, 0, 0.02), root + vec(0.03, 0, 0), middle, tip],
            (0.15, 0.12, 0.075, 0.05),
            up=(0, 1, 0),
        ),
        glaze,
    )
    kit.add(
        blob(tip + vec(0.02, 0, 0.035), (0.03, 0.03, 0.012), turned(pitch=-35)),
        plain((0.08, 0.07, 0.07)),
    )
    kit.mark("spout tip", tip, 0.08)
    kit.mark("spout root", root + vec(0.06, 0, 0.0), 0.16)
    _bow_handle(
        kit, glaze, (r * 0.82, r * 0.93), (high * 0.82, high * 0.3), rng.uniform(0.18, 0.28)
    )
    for name, x, y in (("front", 1, 0), ("back", -1, 0), ("left", 0, 1), ("right", 0, -1)):
        kit.mark(f"base {name}", (x * foot * 0.985, y * foot * 0.985, 0.015), 0.03)
