"""Chairs, tables, stools, sofas, beds and desk lamps."""

from __future__ import annotations

import numpy as np

from headsight.data.synth.objects.kit import SIDES, Kit
from headsight.data.synth.objects.skins import any_colour, cloth, metal, paint, plain, wood
from headsight.data.synth.objects.solids import Vector, block, lathe, loft, turned, vec
from headsight.data.synth.surface import Material

__all__ = ["bed", "chair", "lamp", "sofa", "stool", "table"]

_ENDS = (("front", 1.0), ("rear", -1.0))


def chair(kit: Kit) -> None:
    """A chair with four legs and a back."""
    rng = kit.rng
    frame = wood(rng) if rng.random() < 0.75 else metal(rng)
    soft = cloth(rng) if rng.random() < 0.5 else frame
    wide, deep = rng.uniform(0.4, 0.55) / 2, rng.uniform(0.4, 0.5) / 2
    high, back = rng.uniform(0.4, 0.5), rng.uniform(0.35, 0.65)
    thick, leg = rng.uniform(0.03, 0.07), rng.uniform(0.018, 0.03)
    kit.add(block((0, 0, high), (2 * deep, 2 * wide, thick)), soft, (1, 1))
    lean, splay = rng.uniform(0.0, 0.28), rng.uniform(0.0, 0.06)
    top = np.array([-deep - lean * back, 0, high + back])
    for name, s in SIDES:
        for end, e in _ENDS:
            foot = np.array([e * (deep - leg + splay), s * (wide - leg + splay), leg])
            _leg(kit, frame, (e * (deep - leg), s * (wide - leg), high), foot, leg)
            kit.mark(f"{name} {end} foot", foot, leg * 2)
            corner = (e * (deep - 0.01), s * (wide - 0.01), high + thick * 0.3)
            kit.mark(f"{name} {end} seat corner", corner, 0.05)
        post = np.array([-deep + leg, s * (wide - leg), high])
        end_at = top + np.array([leg, s * (wide - leg), 0])
        _leg(kit, frame, post, end_at, leg)
        kit.mark(f"{name} backrest top", end_at, leg * 2)
    middle = (np.array([-deep + leg, 0, high]) + top + vec(leg, 0, 0)) / 2
    angle = turned(pitch=float(np.degrees(np.arctan(lean))))
    kind = rng.integers(3)
    if kind == 0:  # a full back
        size = (0.03, 2 * wide - 2 * leg, back * 0.92)
        kit.add(block(middle + vec(0, 0, back * 0.04), size, turn=angle), soft)
    else:
        for share in (0.55, 0.95) if kind == 1 else (0.45, 0.7, 0.95):
            at = np.array([-deep + leg - lean * back * share, 0, high + back * share - 0.02])
            kit.add(block(at, (0.025, 2 * wide - 2 * leg, back * 0.13), turn=angle), frame)
    if rng.random() < 0.4:
        for _, s in SIDES:
            kit.add(block((0, s * (wide - leg), high * 0.4), (2 * deep - leg, leg, leg)), frame)


def table(kit: Kit) -> None:
    """A table whose front has a drawer."""
    rng = kit.rng
    body = wood(rng)
    wide, deep, high = rng.uniform(0.35, 0.9), rng.uniform(0.28, 0.45), rng.uniform(0.45, 0.8)
    _top_on_legs(kit, body, (deep, wide, high), rng.uniform(0.025, 0.05), rng.uniform(0.02, 0.045))
    drawer = plain(any_colour(rng)) if rng.random() < 0.6 else wood(rng)
    kit.add(block((0, 0, high - 0.09), (2 * deep - 0.08, 2 * wide - 0.1, 0.1)), body)
    kit.add(block((deep - 0.03, 0, high - 0.09), (0.03, wide * 0.9, 0.085)), drawer)
    kit.add(
        lathe(
            [(0, 0), (0.02, 0), (0.02, 0.03), (0, 0.03)],
            origin=(deep - 0.02, 0, high - 0.09),
            axis=(1, 0, 0),
            sides=10,
        ),
        metal(rng),
    )


def stool(kit: Kit) -> None:
    """A square stool with a footrest at its front."""
    rng = kit.rng
    frame = wood(rng) if rng.random() < 0.7 else paint(any_colour(rng))
    half, high = rng.uniform(0.15, 0.2), rng.uniform(0.4, 0.75)
    _top_on_legs(kit, frame, (half, half, high), rng.uniform(0.03, 0.08), 0.02, splay=0.05,
                 top=cloth(rng) if rng.random() < 0.5 else frame)  # fmt: skip
    kit.add(block((half, 0, high * 0.3), (0.03, 2 * half, 0.04)), metal(rng))


def _top_on_legs(
    kit: Kit,
    frame: Material,
    half: tuple[float, float, float],
    thick: float,
    leg: float,
    *,
    splay: float = 0.0,
    top: Material | None = None,
) -> None:
    deep, wide, high = half
    kit.add(block((0, 0, high), (2 * deep, 2 * wide, thick)), top or frame, (1, 2))
    for name, s in SIDES:
        for end, e in _ENDS:
            foot = np.array([e * (deep - leg - 0.01 + splay), s * (wide - leg - 0.01 + splay), leg])
            _leg(kit, frame, (e * (deep - leg - 0.01), s * (wide - leg - 0.01), high), foot, leg)
            kit.mark(f"{name} {end} foot", foot, leg * 2)
            corner = (e * (deep - 0.012), s * (wide - 0.012), high + thick * 0.3)
            kit.mark(f"{name} {end} top corner", corner, 0.04)


def _leg(
    kit: Kit, material: Material, top: Vector | tuple[float, float, float], foot: Vector, r: float
) -> None:
    kit.add(loft([top, foot], (r, r * 0.85), up=(1, 0, 0.01), squareness=4.0, sides=12,
                 caps=(0, 0)), material)  # fmt: skip


def sofa(kit: Kit) -> None:
    """A sofa with two armrests and cushions."""
    rng = kit.rng
    soft, other = cloth(rng), cloth(rng)
    cushion = soft if rng.random() < 0.6 else other
    wide, deep, seat = rng.uniform(0.55, 1.1), rng.uniform(0.38, 0.48), rng.uniform(0.36, 0.46)
    arm, arm_high = rng.uniform(0.1, 0.2), rng.uniform(0.55, 0.68)
    back, back_high = rng.uniform(0.16, 0.24), rng.uniform(0.75, 0.98)
    low = rng.uniform(0.03, 0.12)
    outer = wide + arm
    kit.add(block((0, 0, (low + seat - 0.1) / 2), (2 * deep, 2 * wide, seat - 0.1 - low)), soft)
    count = int(rng.integers(2, 4))
    for k in range(count):
        y = wide * (2 * (k + 0.5) / count - 1)
        spot = [(-deep + back, y, seat - 0.06), (deep + 0.01, y, seat - 0.06)]
        kit.add(loft(spot, 2 * [(wide / count * 0.98, 0.07)], squareness=6, sides=24,
                     caps=(0.2, 0.3)), cushion)  # fmt: skip
    height = (back_high + low) / 2
    kit.add(
        loft([(-deep + back / 2, -outer, height), (-deep + back / 2, outer, height)],
             2 * [(back / 2, (back_high - low) / 2)], squareness=7, sides=24, caps=(0, 0)), soft,
    )  # fmt: skip
    foot = plain((0.15, 0.12, 0.1))
    for name, s in SIDES:
        y = s * (wide + arm / 2)
        middle = (arm_high + low) / 2
        kit.add(
            loft([(-deep + 0.01, y, middle), (deep, y, middle)],
                 2 * [(arm / 2, (arm_high - low) / 2)], squareness=6, sides=24, caps=(0, 0)), soft,
        )  # fmt: skip
        for end, e in _ENDS:
            corner = np.array([e * (deep - 0.04), s * (outer - 0.05), low / 2])
            kit.add(block(corner, (0.05, 0.05, low)), foot)
            kit.mark(f"{name} {end} foot", corner + vec(e * 0.015, s * 0.01, 0), 0.05)
        kit.mark(f"{name} front seat corner", (deep + 0.01, s * (wide - 0.02), seat - 0.04), 0.06)
        kit.mark(f"{name} rear seat corner", (-deep + back + 0.02, s * (wide - 0.02), seat), 0.06)
        kit.mark(f"{name} armrest front end", (deep - 0.01, y, arm_high - 0.02), 0.06)
        kit.mark(f"{name} armrest rear end", (-deep + back + 0.01, y, arm_high - 0.01), 0.06)
        kit.mark(
            f"{name} backrest top",
            (-deep + back / 2, s * (outer - 0.02), back_high - 0.02),
            back * 0.6,
        )


def bed(kit: Kit) -> None:
    """A bed with headboard, mattress, blanket and pillows; its front is the foot end."""
    rng = kit.rng
    frame, white = wood(rng), plain((0.9, 0.89, 0.86))
    wide, long = rng.uniform(0.45, 0.9), rng.uniform(0.95, 1.05)
    high, board = rng.uniform(0.4, 0.6), rng.uniform(0.75, 1.15)
    kit.add(block((0, 0, high - 0.22), (2 * long, 2 * wide, 0.12)), frame)
    mattress = loft(
        [(-long + 0.03, 0, high - 0.08), (long - 0.03, 0, high - 0.08)],
        2 * [(wide * 0.98, 0.1)],
        squareness=9,
        sides=28,
        caps=(0.15, 0.15),
    )
    kit.add(mattress, white)
    blanket = loft(
        [(-long * rng.uniform(0.1, 0.45), 0, high - 0.07), (long - 0.03, 0, high - 0.07)],
        2 * [(wide * 1.0, 0.115)],
        squareness=9,
        sides=28,
        caps=(0, 0.15),
    )
    kit.add(blanket, cloth(rng), (2, 1))
    kit.add(block((-long - 0.03, 0, (board + 0.1) / 2), (0.06, 2 * wide, board - 0.1)), frame)
    pillow = white if rng.random() < 0.5 else cloth(rng)
    for y in (0.0,) if wide < 0.6 else (-wide / 2, wide / 2):
        kit.add(loft([(-long + 0.12, y, high + 0.06), (-long + 0.45, y, high + 0.06)],
                     2 * [(min(wide * 0.42, 0.34), 0.07)], squareness=3.5, sides=20,
                     caps=(0.6, 0.6)), pillow)  # fmt: skip
    for name, s in SIDES:
        for end, x in (("rear", -long - 0.02), ("front", long - 0.04)):
            foot = np.array([x, s * (wide - 0.04), 0.03])
            _leg(kit, frame, (x, s * (wide - 0.04), high - 0.2), foot, 0.035)
            kit.mark(f"{name} {end} foot", foot, 0.07)
        kit.mark(
            f"{name} rear mattress corner", (-long + 0.04, s * (wide * 0.96), high - 0.01), 0.06
        )
        kit.mark(f"{name} front mattress corner", (long - 0.03, s * wide * 0.97, high + 0.01), 0.06)
        kit.mark(f"{name} headboard top", (-long - 0.03, s * (wide - 0.02), board - 0.02), 0.06)


def lamp(kit: Kit) -> None:
    """A desk lamp on two arms; it shines to its front."""
    rng = kit.rng
    lack, steel = paint(any_colour(rng)), metal(rng)
    base, thick = rng.uniform(0.14, 0.2), 0.04
    kit.add(lathe([(0, 0), (base, 0), (base, 0), (base * 0.92, thick), (base * 0.92, thick),
                   (0, thick * 1.3)]), lack)  # fmt: skip
    kit.mark("base front", (base * 0.95, 0, thick * 0.5), 0.03)
    kit.mark("base back", (-base * 0.95, 0, thick * 0.5), 0.03)
    button = np.array([base * 0.5, 0, thick * 1.1])
    kit.add(lathe([(0, 0.03), (0.026, 0.03), (0.03, 0), (0.03, -0.03)], origin=button, sides=12),
            plain((0.85, 0.1, 0.1)))  # fmt: skip
    kit.mark("switch", button + vec(0, 0, 0.02), 0.03)
    joint = np.array([-base * 0.1, 0, thick * 1.4])
    a, b = np.radians(rng.uniform(95, 130)), np.radians(rng.uniform(15, 60))
    elbow = joint + rng.uniform(0.38, 0.5) * np.array([np.cos(a), 0, np.sin(a)])
    head = elbow + rng.uniform(0.35, 0.48) * np.array([np.cos(b), 0, np.sin(b)])
    for start, end in ((joint, elbow), (elbow, head)):
        for y in (-0.014, 0.014):
            kit.add(
                loft(
                    [start + vec(0, y, 0), end + vec(0, y, 0)],
                    (0.011, 0.011),
                    up=(0, 1, 0),
                    sides=8,
                ),
                steel,
            )
    for name, at in (("base joint", joint), ("elbow", elbow), ("head joint", head)):
        spot = at - np.array([0, 0.03, 0])
        kit.add(lathe([(0, 0), (0.03, 0), (0.03, 0), (0.03, 0.06), (0.03, 0.06), (0, 0.06)],
                      origin=spot, axis=(0, 1, 0), sides=14), lack)  # fmt: skip
        kit.mark(name, at, 0.05)
    shade = kit.at(head, turned(yaw=rng.normal(0, 12), pitch=rng.uniform(-75, -25)))
    long, wide = rng.uniform(0.2, 0.3), rng.uniform(0.11, 0.17)
    shade.add(
        lathe([(0, -0.03), (0.045, -0.03), (0.05, 0.05), (wide * 0.75, long * 0.6), (wide, long),
               (wide * 0.97, long), (wide * 0.7, long * 0.6), (0.03, 0.06)], axis=(1, 0, 0)), lack,
    )  # fmt: skip
    glass = Material(tint=(1.6, 1.5, 1.1))
    shade.add(lathe([(0.02, 0.03), (0.03, long * 0.5), (0.055, long * 0.75), (0.045, long * 0.92),
                     (0, long * 0.97)], axis=(1, 0, 0), sides=14), glass)  # fmt: skip
    shade.mark("bulb", (long * 0.9, 0, 0), 0.08)
    shade.mark("shade rim top", (long - 0.008, 0, wide * 0.97), 0.02)
    shade.mark("shade rim bottom", (long - 0.008, 0, -wide * 0.97), 0.02)
