"""Cars, trucks, buses, bicycles and airplanes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headsight.data.synth.objects.kit import SIDES, Kit
from headsight.data.synth.objects.skins import BLACK, any_colour, metal, paint, plain
from headsight.data.synth.objects.solids import Vector, blob, block, lathe, loft, vec
from headsight.data.synth.surface import Material

__all__ = ["airplane", "bicycle", "bus", "car", "truck"]

_RUBBER = (0.09, 0.09, 0.09)
_GLASS = (0.13, 0.16, 0.2)


def car(kit: Kit) -> None:
    """A car: low body, cabin with windows all round."""
    rng = kit.rng
    lack, glass = paint(any_colour(rng)), plain(_GLASS, specular=0.8, gloss=60)
    long, wide = rng.uniform(1.9, 2.3), rng.uniform(0.8, 0.9)
    belt, roof = rng.uniform(0.82, 0.95), rng.uniform(1.35, 1.6)
    bonnet = belt - rng.uniform(0.05, 0.18)
    _hull(
        kit, lack,
        [(-long, 0.35, belt - 0.08), (-long * 0.85, 0.25, belt), (0.0, 0.22, belt),
         (long * 0.4, 0.22, belt - 0.02), (long * 0.9, 0.25, bonnet), (long, 0.35, bonnet - 0.12)],
        wide,
    )  # fmt: skip
    back = -long * rng.uniform(0.62, 0.9)
    front, rear_top = long * 0.38, back + rng.uniform(0.1, 0.5)
    front_top = front - rng.uniform(0.5, 0.75)
    spots = [(back, belt - 0.1, belt + 0.02), (rear_top, belt - 0.1, roof - 0.04),
             (front_top, belt - 0.1, roof - 0.04), (front, belt - 0.1, belt + 0.02)]  # fmt: skip
    _cabin(kit, glass, spots, wide * 0.88)
    kit.add(
        loft([(rear_top - 0.02, 0, roof - 0.03), (front_top + 0.02, 0, roof - 0.03)],
             2 * [(wide * 0.80, 0.045)], squareness=5, sides=20, caps=(0.3, 0.3)), lack,
    )  # fmt: skip
    for _, s in SIDES:  # pillars
        for a, b in ((spots[0], spots[1]), (spots[3], spots[2])):
            kit.add(loft([(a[0], s * wide * 0.87, a[2]), (b[0], s * wide * 0.80, b[2])],
                         (0.045, 0.045), up=(0, 1, 0), sides=8), lack)  # fmt: skip
        x = (rear_top + front_top) / 2
        kit.add(loft([(x, s * wide * 0.87, belt), (x, s * wide * 0.80, roof - 0.04)],
                     (0.04, 0.04), up=(0, 1, 0), sides=8), lack)  # fmt: skip
    for name, s in SIDES:
        kit.mark(f"{name} front roof corner", (front_top, s * wide * 0.78, roof - 0.03), 0.08)
        kit.mark(f"{name} rear roof corner", (rear_top, s * wide * 0.78, roof - 0.03), 0.08)
    _lights(kit, (-long, long), wide * 0.78, (belt - 0.22, bonnet - 0.2))
    radius = rng.uniform(0.3, 0.36)
    _wheels(kit, (long * 0.62, -long * 0.62), wide * 0.93, radius)
    _exhaust(kit, -long, wide)


def truck(kit: Kit) -> None:
    """A lorry: a driver's cab and a box behind it."""
    rng = kit.rng
    lack, box = paint(any_colour(rng)), paint(any_colour(rng))
    glass = plain(_GLASS, specular=0.8, gloss=60)
    long, wide = rng.uniform(2.4, 3.4), 0.95
    cab, roof = rng.uniform(1.1, 1.5), rng.uniform(1.9, 2.2)
    high = rng.uniform(2.0, 2.7)
    split = long - cab
    _hull(kit, lack, [(split, 0.5, roof - 0.05), (split + 0.1, 0.45, roof),
                      (long - 0.25, 0.4, roof), (long, 0.4, roof - 0.75)], wide * 0.98)  # fmt: skip
    kit.add(block((long - 0.11, 0, roof - 0.38), (0.1, wide * 1.6, 0.5), top=(1, 0.95)), glass)
    for _, s in SIDES:
        kit.add(block((long - 0.65, s * (wide * 0.975), roof - 0.4), (0.5, 0.03, 0.45)), glass)
    kit.add(block((split / 2 - long / 2 - 0.05, 0, (0.75 + high) / 2),
                  (split + long - 0.1, 2 * wide, high - 0.75)), box)  # fmt: skip
    kit.add(block((-0.2, 0, 0.6), (2 * long - 0.8, wide * 1.1, 0.25)), plain(_RUBBER))
    for name, s in SIDES:
        kit.mark(f"{name} front roof corner", (long - 0.27, s * wide * 0.92, roof - 0.03), 0.1)
        kit.mark(f"{name} rear roof corner", (-long + 0.03, s * (wide - 0.03), high - 0.03), 0.08)
    kit.add(block((-long + 0.06, 0, 0.62), (0.12, wide * 1.9, 0.16)), plain(_RUBBER))
    _lights(kit, (-long - 0.02, long), wide * 0.8, (0.63, 0.7))
    _wheels(kit, (long - 0.75, -long + 0.85), wide * 0.93, rng.uniform(0.42, 0.48))
    _exhaust(kit, -long - 0.05, wide, 0.53)


def bus(kit: Kit) -> None:
    """A bus: one long box with a row of windows, a door in front on its right."""
    rng = kit.rng
    lack, glass = paint(any_colour(rng)), plain(_GLASS, specular=0.8, gloss=60)
    long, wide, roof = rng.uniform(2.8, 4.2), 1.0, rng.uniform(2.2, 2.6)
    stripe = paint(any_colour(rng))
    kit.add(
        loft([(-long, 0, (roof + 0.35) / 2), (long, 0, (roof + 0.35) / 2)],
             2 * [(wide, (roof - 0.35) / 2)], squareness=12, sides=36, caps=(0.08, 0.1)), lack,
    )  # fmt: skip
    top, low = roof - 0.25, roof * 0.52
    count = int(rng.integers(5, 9))
    step = 2 * long / count
    for _, s in SIDES:
        for k in range(count):
            x = -long + step * (k + 0.5)
            kit.add(
                block((x, s * wide * 0.985, (top + low) / 2), (step * 0.82, 0.05, top - low)), glass
            )
        kit.add(block((0, s * wide * 0.985, low - 0.16), (2 * long * 0.98, 0.04, 0.1)), stripe)
    kit.add(
        block((-long - 0.02, 0, (top + low) / 2 + 0.1), (0.1, wide * 1.5, (top - low) * 0.7)), glass
    )
    # what tells the front from the side: a windscreen round the corners, mirrors, the door
    screen = (0.4, wide * 2, top - low + 0.2)
    kit.add(block((long - 0.07, 0, (top + low) / 2 - 0.1), screen), glass)
    dark = plain(_RUBBER)
    for _, s in SIDES:
        hung = vec(long + 0.16, s * (wide + 0.13), top - 0.08)
        kit.add(loft([(long - 0.1, s * wide, top - 0.02), hung], (0.03, 0.03), sides=8), dark)
        kit.add(block(hung - vec(0, 0, 0.22), (0.09, 0.2, 0.42)), dark)
    door, (_, right) = long - 0.68, SIDES[1]
    middle = (top + 0.42) / 2
    kit.add(block((door, right * wide * 0.985, middle), (0.62, 0.06, top - 0.42)), dark)
    for x in (door - 0.15, door + 0.15):
        kit.add(block((x, right * wide, middle), (0.24, 0.06, top - 0.58)), glass)
    for name, s in SIDES:
        kit.mark(f"{name} front roof corner", (long - 0.02, s * (wide - 0.06), roof - 0.07), 0.1)
        kit.mark(f"{name} rear roof corner", (-long + 0.02, s * (wide - 0.06), roof - 0.07), 0.1)
    _lights(kit, (-long - 0.05, long + 0.05), wide * 0.78, (0.75, 0.65))
    _wheels(kit, (long * 0.66, -long * 0.58), wide * 0.93, rng.uniform(0.4, 0.46))
    _exhaust(kit, -long - 0.05, wide, 0.34)


def _hull(
    kit: Kit, material: Material, stations: Sequence[tuple[float, float, float]], wide: float
) -> None:
    """A rounded box through stations of x, lower and upper z."""
    path = [(x, 0, (low + high) / 2) for x, low, high in stations]
    radii = [
        (wide * (0.93 if k in (0, len(stations) - 1) else 1), (high - low) / 2)
        for k, (_, low, high) in enumerate(stations)
    ]
    mesh = loft(
        path, radii, squareness=6, sides=28, rings=4 * len(path), caps=(0.12, 0.12), axis=(1, 0, 0)
    )
    kit.add(mesh, material)


def _cabin(
    kit: Kit, material: Material, stations: Sequence[tuple[float, float, float]], wide: float
) -> None:
    """Slanted glass walls from the belt line to the roof."""
    (back, low, _), (rear, _, top), (ahead, _, _), (front, _, _) = stations
    points, faces = [], []
    for x1, x2, z, half in ((back, front, low, wide), (rear, ahead, top, wide * 0.9)):
        points += [(x1, -half, z), (x1, half, z), (x2, half, z), (x2, -half, z)]
    quads = [(0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7)]
    corners: list[tuple[float, float, float]] = []
    uv: list[tuple[int, int]] = []
    for quad in quads:  # sharp edges: every wall has corners of its own
        start = len(corners)
        corners += [points[k] for k in quad]
        uv += [(0, 0), (1, 0), (1, 1), (0, 1)]
        faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
    kit.add(
        (np.array(corners, np.float32), np.array(faces, np.int32), np.array(uv, np.float32)),
        material,
    )


def _lights(kit: Kit, ends: tuple[float, float], y: float, heights: tuple[float, float]) -> None:
    (rear, front), (high, low) = ends, heights
    white, red = Material(tint=(1.1, 1.1, 0.95), specular=0.5), Material(tint=(0.7, 0.02, 0.03))
    for name, s in SIDES:
        kit.add(blob((front - 0.02, s * y, low), (0.09, 0.13, 0.09)), white)
        kit.mark(f"{name} headlight", (front + 0.02, s * y, low), 0.1)
        kit.add(block((rear + 0.0, s * y, high), (0.12, 0.16, 0.2)), red)
        kit.mark(f"{name} taillight", (rear - 0.03, s * y, high), 0.1)


def _wheels(kit: Kit, places: Sequence[float], y: float, radius: float) -> None:
    tyre, rim = plain(_RUBBER), metal(kit.rng)
    for name, s in SIDES:
        for end, x in zip(("front", "rear"), places, strict=True):
            _wheel(kit, (tyre, rim), (x, s * y, radius), radius, s * 0.09)
            kit.mark(f"{name} {end} wheel", (x, s * (y + 0.09), radius), 0.1)


def _wheel(
    kit: Kit,
    skins: tuple[Material, Material],
    at: tuple[float, float, float],
    r: float,
    half: float,
) -> None:
    outline = [(0, -half), (r * 0.9, -half), (r, -half * 0.7), (r, half * 0.7), (r * 0.9, half),
               (r * 0.62, half)]  # fmt: skip
    kit.add(lathe(outline, origin=at, axis=(0, 1, 0)), skins[0])
    kit.add(lathe([(r * 0.62, half), (r * 0.55, half * 0.85), (0, half * 1.02)], origin=at,
                  axis=(0, 1, 0)), skins[1])  # fmt: skip


def _exhaust(kit: Kit, rear: float, wide: float, height: float = 0.27) -> None:
    pipe = plain((0.35, 0.35, 0.36), specular=0.5)
    spots = [(rear + 0.3, -wide * 0.55, height), (rear - 0.06, -wide * 0.55, height - 0.02)]
    kit.add(loft(spots, (0.05, 0.05), caps=(0, 0.2), sides=10), pipe)
    kit.mark("exhaust", (rear - 0.05, -wide * 0.55, height - 0.02), 0.06)


def bicycle(kit: Kit) -> None:
    """A bicycle, its handlebar turned a little."""
    rng = kit.rng
    lack, steel, black = paint(any_colour(rng)), metal(rng), plain(_RUBBER)
    r, base, tube = rng.uniform(0.3, 0.36), rng.uniform(0.95, 1.1), rng.uniform(0.016, 0.026)
    rear, front = np.array([0, 0, r]), np.array([base, 0, r])
    crank = np.array([base * 0.43, 0, r * 0.85])
    seat = np.array([base * 0.3, 0, r + rng.uniform(0.42, 0.55)])
    head = np.array([base * 0.83, 0, r + rng.uniform(0.45, 0.56)])
    turn = np.radians(rng.normal(0, 10))
    tyre = plain(_RUBBER) if rng.random() < 0.7 else plain(any_colour(rng))
    for hub, yaw, name in ((rear, 0.0, "rear"), (front, turn, "front")):
        _spoked(kit, (tyre, steel), hub, r, yaw)
        kit.mark(f"{name} hub", hub, 0.05)
        kit.mark(f"{name} tyre bottom", hub - vec(0, 0, r * 0.985), 0.04)
    for a, b in ((rear, crank), (rear, seat), (crank, seat), (crank, head), (seat, head)):
        for y in (-0.05, 0.05) if a is rear else (0.0,):
            kit.add(loft([a + vec(0, y, 0), b], (tube, tube), up=(0, 1, 0.02), sides=8), lack)
    for y in (-0.05, 0.05):
        kit.add(loft([front + vec(0, y, 0), head + vec(0.05, y, -0.12), head], (tube * 0.8,) * 3,
                     up=(0, 1, 0), sides=8), steel)  # fmt: skip
    kit.mark("steering head", head, tube * 2)
    kit.mark("seat joint", seat, tube * 2)
    saddle = seat + (seat - crank) / np.linalg.norm(seat - crank) * rng.uniform(0.14, 0.24)
    kit.add(loft([seat, saddle], (tube * 0.9,) * 2, up=(0, 1, 0), sides=8), steel)
    kit.add(
        loft(
            [saddle + vec(-0.12, 0, 0.02), saddle + vec(0, 0, 0.02), saddle + vec(0.14, 0, 0.015)],
            [(0.07, 0.03), (0.055, 0.03), (0.02, 0.022)],
        ),
        black,
    )
    kit.mark("saddle", saddle + vec(0, 0, 0.045), 0.03)
    stem = head + np.array([-0.02, 0, rng.uniform(0.08, 0.16)])
    kit.add(loft([head, stem], (tube,) * 2, up=(0, 1, 0), sides=8), steel)
    span = rng.uniform(0.24, 0.34)
    for name, s in SIDES:
        out = np.array([-np.sin(turn) * s, np.cos(turn) * s, 0]) * span
        back = np.array([-np.cos(turn), -np.sin(turn), 0]) * rng.uniform(0.02, 0.08)
        end = stem + out + back
        kit.add(loft([stem, stem + out * 0.6, end], (tube * 0.8,) * 3, sides=8), steel)
        kit.add(loft([stem + out * 0.6 + back * 0.6, end], (tube * 1.15,) * 2, sides=8), black)
        kit.mark(f"{name} grip", end, tube * 2.2)
    _pedals(kit, crank, (steel, black))


def _spoked(kit: Kit, skins: tuple[Material, Material], hub: Vector, r: float, yaw: float) -> None:
    axis = np.array([-np.sin(yaw), np.cos(yaw), 0])
    angle = np.linspace(0, 2 * np.pi, 9)
    t = 0.022
    ring = [(r + t * np.cos(a), t * np.sin(a)) for a in angle]
    kit.add(lathe(ring, origin=hub, axis=axis, sides=30), skins[0])
    flat = np.array([np.cos(yaw), np.sin(yaw), 0])
    for a in np.arange(6) * np.pi / 6 + 0.2:
        arm = (flat * np.cos(a) + np.array([0, 0, 1]) * np.sin(a)) * r
        kit.add(
            loft([hub - arm, hub + arm], (0.005, 0.005), up=axis, sides=5, caps=(0, 0)), skins[1]
        )
    hub_shape = [(0, -0.05), (0.03, -0.05), (0.03, 0.05), (0, 0.05)]
    kit.add(lathe(hub_shape, origin=hub, axis=axis, sides=10), skins[1])


def _pedals(kit: Kit, crank: Vector, skins: tuple[Material, Material]) -> None:
    a = kit.rng.uniform(0, 2 * np.pi)
    disc = [(0, -0.045), (0.09, -0.045), (0.09, -0.035), (0, -0.035)]
    kit.add(lathe(disc, origin=crank, axis=(0, 1, 0)), skins[1])
    kit.add(lathe([(0, -0.09), (0.025, -0.09), (0.025, 0.09), (0, 0.09)], origin=crank,
                  axis=(0, 1, 0), sides=10), skins[0])  # fmt: skip
    kit.mark("crank", crank, 0.1)
    for name, s in SIDES:
        start = crank + vec(0, s * 0.08, 0)
        end = start + s * 0.17 * np.array([np.cos(a), 0, np.sin(a)])
        kit.add(loft([start, end], (0.014, 0.014), up=(0, 1, 0), sides=8), skins[0])
        pedal = end + vec(0, s * 0.06, 0)
        kit.add(block(pedal, (0.09, 0.1, 0.03)), skins[1])
        kit.mark(f"{name} pedal", pedal, 0.06)


def airplane(kit: Kit) -> None:
    """An airliner with two engines under its wings."""
    rng = kit.rng
    white = paint((0.9, 0.9, 0.9) if rng.random() < 0.6 else any_colour(rng))
    accent = paint(any_colour(rng))
    r = rng.uniform(0.085, 0.12)
    kit.add(
        loft([(1.0, 0, -r * 0.2), (0.9, 0, 0), (0.6, 0, 0), (-0.4, 0, 0), (-0.75, 0, r * 0.3),
              (-1.0, 0, r * 0.62)],
             np.array([0.25, 0.72, 1, 1, 0.68, 0.16]) * r, sides=18, rings=22), white,
    )  # fmt: skip
    kit.mark("nose", (1.01, 0, -r * 0.2), r * 0.4)
    kit.mark("tail end", (-1.0, 0, r * 0.62), r * 0.35)
    kit.add(loft([(0.86, 0, r * 0.32), (0.9, 0, r * 0.3)], 2 * [(r * 0.62, r * 0.36)], sides=16,
                 caps=(0.2, 0.3)), plain(_GLASS, specular=0.6))  # fmt: skip
    kit.mark("cockpit", (0.91, 0, r * 0.52), r * 0.5)
    for _, s in SIDES:
        for x in np.linspace(-0.55, 0.75, 14):
            kit.add(blob((x, s * r * 0.955, r * 0.22), (0.016, 0.008, 0.02)), plain(BLACK))
    sweep, span, rise = rng.uniform(0.25, 0.55), rng.uniform(0.8, 1.05), rng.uniform(0.03, 0.14)
    small = plain((0.75, 0.75, 0.76), specular=0.4)
    for name, s in SIDES:
        root, tip = np.array([0.08, s * r * 0.7, -r * 0.4]), np.array([-sweep, s * span, rise])
        kit.add(
            loft([root, root * 0.5 + tip * 0.5, tip], [(0.19, 0.03), (0.11, 0.018), (0.05, 0.01)]),
            white,
        )
        kit.mark(f"{name} wing tip", tip, 0.03)
        kit.mark(f"{name} wing root", root + vec(0.16, s * r * 0.25, 0), 0.05)
        engine = root * 0.62 + tip * 0.38 + np.array([0.1, 0, -0.075])
        kit.add(lathe([(0, -0.13), (0.03, -0.13), (0.055, -0.03), (0.06, 0.08), (0.05, 0.11),
                       (0.045, 0.11), (0.04, 0.06), (0, 0.05)], origin=engine, axis=(1, 0, 0)),
                accent)  # fmt: skip
        kit.mark(f"{name} engine", engine + vec(0.105, 0, 0), 0.07)
        kit.add(block(engine + vec(-0.02, 0, 0.06), (0.12, 0.015, 0.08)), white)
        rear, end = np.array([-0.86, s * 0.02, r * 0.6]), np.array([-1.02, s * 0.36, r * 0.7])
        kit.add(loft([rear, end], [(0.1, 0.015), (0.045, 0.008)]), small)
        kit.mark(f"{name} tailplane tip", end, 0.02)
    top = np.array([-1.04, 0, r + rng.uniform(0.24, 0.34)])
    kit.add(
        loft([(-0.82, 0, r * 0.6), top], [(0.016, 0.15), (0.01, 0.065)], up=(1, 0, 0.2)), accent
    )
    kit.mark("fin top", top, 0.03)
