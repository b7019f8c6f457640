"""Fish, insects and spiders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headsight.data.synth.objects.kit import SIDES, Kit
from headsight.data.synth.objects.skins import (
    BLACK,
    Colour,
    any_colour,
    countershaded,
    dark,
    mottled,
    plain,
    skin_colour,
    spotted,
    striped,
    varied,
)
from headsight.data.synth.objects.solids import Vector, bent, blob, loft, vec
from headsight.data.synth.surface import Material

__all__ = ["ant", "beetle", "fish", "fly", "shark", "spider"]


def fish(kit: Kit) -> None:
    """A bony fish of any colour."""
    rng = kit.rng
    first, second = any_colour(rng), any_colour(rng)
    coat = [
        lambda: striped(rng, first, second, rng.uniform(2, 6)),
        lambda: countershaded(rng, first, (0.88, 0.88, 0.85), 0.45),
        lambda: mottled(rng, first),
        lambda: spotted(rng, first, second, 2.5),
    ][int(rng.integers(4))]()
    _swimmer(kit, rng.uniform(0.2, 0.36), rng.uniform(0.38, 0.6), coat, plain(dark(second, 0.9)))


def shark(kit: Kit) -> None:
    """A shark: slender, with a high pointed fin and an uneven tail."""
    grey = varied(kit.rng, (0.45, 0.49, 0.54))
    coat = countershaded(kit.rng, grey, (0.9, 0.9, 0.88), 0.42)
    _swimmer(kit, kit.rng.uniform(0.13, 0.17), 0.95, coat, plain(dark(grey, 0.9)), is_shark=True)


def _swimmer(
    kit: Kit, high: float, wide: float, coat: Material, fin: Material, *, is_shark: bool = False
) -> None:
    rng = kit.rng
    bow, w = rng.normal(0, 0.07), high * wide

    def spine(x: float) -> Vector:
        return np.array([x, bow * (np.cos(2.4 * (x - 0.5)) - 1), 0.0])

    kit.add(
        loft(
            [spine(x) for x in (0.5, 0.36, 0.12, -0.18, -0.42, -0.5)],
            [(w * 0.3, high * 0.22), (w * 0.78, high * 0.68), (w, high), (w * 0.75, high * 0.72),
             (w * 0.25, high * 0.22), (w * 0.16, high * 0.2)],
            sides=18, rings=20,
        ),
        coat,
    )  # fmt: skip
    kit.mark("mouth", spine(0.5) + vec(high * 0.1, 0, 0), high * 0.3)
    kit.mark("tail base", spine(-0.5), high * 0.3)
    rise = high * (1.1 if is_shark else rng.uniform(0.4, 0.8))
    base, tip = spine(0.12) + vec(0, 0, high * 0.96), spine(-0.1) + vec(0, 0, high + rise)
    rear = spine(-0.12 if is_shark else -0.3) + vec(0, 0, high * 0.62)
    _fin(kit, fin, (base - vec(0, 0, high * 0.2), tip, rear))
    kit.mark("dorsal fin base", base, high * 0.12)
    kit.mark("dorsal fin tip", tip * 0.94 + rear * 0.06, 0.02)
    low = spine(-0.3) + vec(-0.04, 0, -high * 0.9 - 0.03)
    _fin(
        kit, fin, (spine(-0.2) + vec(0, 0, -high * 0.5), low, spine(-0.4) + vec(0, 0, -high * 0.2))
    )
    kit.mark("anal fin tip", low * 0.94 + spine(-0.3) * 0.06, 0.02)
    sway = spine(-0.68 if is_shark else -0.75)
    for name, s in (("upper", 1.0), ("lower", -1.0)):
        length = high * (1.15 if not is_shark else 1.7 if s > 0 else 0.9)
        end = sway + vec(-0.02 if s < 0 else -0.08 * is_shark, 0, s * length)
        root = spine(-0.5)
        _fin(kit, fin, (root + vec(0.02, 0, s * high * 0.12), end, root + vec(-0.13, 0, -s * 0.01)))
        kit.mark(f"{name} tail tip", end * 0.94 + root * 0.06, 0.02)
    for name, s in SIDES:
        _side_of_fish(kit, spine, (w, high), fin, name, s, is_shark=is_shark)


def _side_of_fish(
    kit: Kit,
    spine: Callable[[float], Vector],
    size: tuple[float, float],
    fin: Material,
    name: str,
    s: float,
    *,
    is_shark: bool,
) -> None:
    w, high = size
    eye = high * (0.1 if is_shark else 0.17)
    spot = spine(0.39) + np.array([0, s * w * 0.66, high * 0.22])
    kit.add(blob(spot, (eye, eye * 0.5, eye)), plain((0.92, 0.88, 0.7)))
    kit.add(blob(spot + vec(0, s * eye * 0.3, 0), (eye * 0.6, eye * 0.4, eye * 0.6)), plain(BLACK))
    kit.mark(f"{name} eye", spot, eye * 1.5)
    gill = spine(0.2) + np.array([0, s * w * 0.93, 0])
    line = [
        gill + vec(0.0, -s * 0.05 * w, high * 0.5),
        gill,
        gill + vec(0.0, -s * 0.05 * w, -high * 0.45),
    ]
    kit.add(loft(line, 3 * (high * 0.035 + 0.003,), up=(1, 0, 0), sides=6), fin)
    kit.mark(f"{name} gill", gill, high * 0.2)
    out = high * (1.5 if is_shark else 0.75)
    root = spine(0.16) + np.array([0, s * w * 0.85, -high * 0.3])
    tip = root + np.array([-0.16, s * out * 0.8, -out * 0.45])
    _fin(kit, fin, (root + vec(0.03, 0, 0), tip, root + vec(-0.1, 0, -0.01)))
    kit.mark(f"{name} pectoral fin tip", tip * 0.94 + root * 0.06, 0.02)


def _fin(kit: Kit, material: Material, corners: tuple[Vector, Vector, Vector]) -> None:
    """A thin three-cornered sheet: front of the root, tip, rear of the root."""
    front, tip, rear = (np.asarray(c, np.float64) for c in corners)
    start, across = (front + rear) / 2, (front - rear) / 2
    wide = float(np.linalg.norm(across))
    aim = (tip - start) / np.linalg.norm(tip - start)
    thin = np.cross(aim, across / wide)
    lean = tip - start
    path = [start - aim * 0.01, start + lean * 0.35 + across * 0.1, start + lean * 0.75, tip]
    radii = [(wide, 0.012), (wide * 0.72, 0.01), (wide * 0.34, 0.008), (wide * 0.08 + 0.006, 0.006)]
    kit.add(loft(path, radii, up=thin, sides=12, caps=(0, 0.5)), material)


def beetle(kit: Kit) -> None:
    """A beetle with hard wing cases."""
    rng = kit.rng
    shell = plain(any_colour(rng), specular=0.6, gloss=35)
    if rng.random() < 0.5:
        shell = spotted(rng, any_colour(rng), BLACK, rng.uniform(2.5, 4))
    black = plain(varied(rng, (0.1, 0.09, 0.08)), specular=0.4)
    wide = rng.uniform(0.24, 0.34)
    kit.add(
        loft(
            [(0.22, 0, 0.1), (-0.1, 0, 0.12), (-0.42, 0, 0.1)],
            [(wide * 0.75, 0.14), (wide, 0.2), (wide * 0.45, 0.1)],
            sides=20,
        ),
        shell,
    )
    kit.add(
        loft([(0.2, 0, 0.245), (-0.1, 0, 0.316), (-0.4, 0, 0.21)], (0.012, 0.012, 0.012), sides=6),
        black,
    )
    kit.add(blob((0.32, 0, 0.1), (0.15, wide * 0.8, 0.13)), black)
    kit.mark("thorax", (0.34, 0, 0.22), 0.05)
    kit.mark("waist", (0.21, 0, 0.25), 0.08)
    kit.mark("abdomen tip", (-0.48, 0, 0.12), 0.12)
    _insect_head(kit, black, (0.5, 0.09), 0.11, rng.uniform(0.2, 0.4), plain((0.3, 0.25, 0.2)))
    _six_legs(kit, black, (0.34, 0.24, 0.08), wide * 0.6, 0.16, 0.024)


def ant(kit: Kit) -> None:
    """An ant: three round parts on thin legs."""
    rng = kit.rng
    skin = plain(
        varied(rng, ((0.12, 0.1, 0.1), (0.5, 0.2, 0.1))[int(rng.integers(2))]), specular=0.4
    )
    kit.add(loft([(0.28, 0, 0.2), (0.12, 0, 0.22), (-0.06, 0, 0.2)], (0.06, 0.1, 0.06)), skin)
    kit.add(blob((-0.1, 0, 0.2), (0.06, 0.05, 0.07)), skin)
    fat = rng.uniform(0.13, 0.19)
    kit.add(blob((-0.38, 0, 0.2), (0.26, fat, fat)), skin)
    kit.mark("thorax", (0.12, 0, 0.31), 0.04)
    kit.mark("waist", (-0.1, 0, 0.25), 0.05)
    kit.mark("abdomen tip", (-0.61, 0, 0.21), 0.1)
    _insect_head(kit, skin, (0.44, 0.22), 0.13, rng.uniform(0.3, 0.45), plain(BLACK, specular=0.5))
    _six_legs(kit, skin, (0.24, 0.13, 0.02), 0.06, 0.3, 0.017)


def fly(kit: Kit) -> None:
    """A fly with large eyes and two wings."""
    rng = kit.rng
    shine = plain(varied(rng, ((0.15, 0.16, 0.2), (0.1, 0.35, 0.25), (0.45, 0.38, 0.2))[
        int(rng.integers(3))]), specular=0.6)  # fmt: skip
    kit.add(blob((0.12, 0, 0.24), (0.2, 0.16, 0.17)), shine)
    belly = striped(rng, varied(rng, (0.3, 0.26, 0.2)), BLACK, 4)
    kit.add(loft([(-0.02, 0, 0.22), (-0.25, 0, 0.2), (-0.46, 0, 0.15)], (0.1, 0.16, 0.06)), belly)
    kit.mark("thorax", (0.12, 0, 0.4), 0.05)
    kit.mark("waist", (-0.05, 0, 0.33), 0.1)
    kit.mark("abdomen tip", (-0.49, 0, 0.15), 0.05)
    eye = plain(varied(rng, (0.55, 0.12, 0.1)), specular=0.5)
    _insect_head(kit, shine, (0.36, 0.23), 0.11, 0.13, eye, eye_size=0.75)
    _six_legs(kit, shine, (0.22, 0.12, 0.02), 0.09, 0.22, 0.015)
    wing = plain((0.75, 0.78, 0.82), specular=0.4)
    angle, rise = np.radians(rng.uniform(12, 55)), rng.uniform(0.0, 0.25)
    for name, s in SIDES:
        root = np.array([0.06, s * 0.1, 0.36])
        aim = np.array([-np.cos(angle), s * np.sin(angle), rise])
        tip = root + aim * 0.62
        kit.add(
            loft([root, root + aim * 0.3, root + aim * 0.52, tip],
                 [(0.03, 0.008), (0.12, 0.008), (0.12, 0.007), (0.04, 0.006)]), wing,
        )  # fmt: skip
        kit.mark(f"{name} wing tip", tip, 0.03)


def _insect_head(
    kit: Kit,
    skin: Material,
    at: tuple[float, float],
    size: float,
    feeler: float,
    eye: Material,
    *,
    eye_size: float = 0.33,
) -> None:
    rng, (x, z) = kit.rng, at
    kit.add(blob((x, 0, z), (size, size * 0.95, size * 0.85)), skin)
    for name, s in SIDES:
        spot = np.array([x + size * 0.35, s * size * 0.72, z + size * 0.35])
        kit.add(blob(spot, size * eye_size), eye)
        kit.mark(f"{name} eye", spot, size * (eye_size + 0.3))
        root = np.array([x + size * 0.8, s * size * 0.35, z + size * 0.3])
        bend = root + np.array([0.4, s * rng.uniform(0.3, 0.6), 0.4]) * feeler
        tip = bend + np.array([0.6, s * rng.uniform(0.2, 0.6), rng.uniform(-0.2, 0.2)]) * feeler
        thick = 0.012 + 0.03 * size
        kit.add(loft([root, bend, tip], (thick, thick * 0.9, thick * 0.9), sides=6), skin)
        kit.mark(f"{name} antenna tip", tip, thick * 1.5)


def _six_legs(
    kit: Kit,
    skin: Material,
    at: tuple[float, float, float],
    half: float,
    height: float,
    thick: float,
) -> None:
    names = ("front", "middle", "hind")
    for name, s in SIDES:
        for k, which in enumerate(names):
            aim = (0.3, -0.05, -0.4)[k] + kit.rng.normal(0, 0.05)
            out = (0.3, 0.4, 0.36)[k] * kit.rng.uniform(0.9, 1.15)
            _leg(kit, skin, (at[k], s * half, height * 0.8), (at[k] + aim, s * (half + out), 0.0),
                 f"{name} {which} foot", thick)  # fmt: skip


def _leg(
    kit: Kit, skin: Material, root: Vector | tuple[float, float, float],
    foot: tuple[float, float, float], name: str, thick: float,
) -> None:  # fmt: skip
    """A jointed leg whose knee stands up; `name` is its foot."""
    start, end = np.asarray(root, np.float64), np.asarray(foot, np.float64)
    length = float(np.linalg.norm(end - start))
    knee, _ = bent(start, end, (length * 0.55, length * 0.68), (0, 0, 1))
    aim = end - start
    side = np.cross(aim, (0, 0, 1))
    kit.add(loft([start, knee], (thick * 1.5, thick * 1.2), up=side, sides=7), skin)
    kit.add(loft([knee, end], (thick * 1.2, thick * 0.75), up=side, sides=7), skin)
    kit.mark(name, end, thick * 2)


def spider(kit: Kit) -> None:
    """A spider on eight legs."""
    rng = kit.rng
    colour: Colour = varied(rng, ((0.15, 0.13, 0.12), (0.45, 0.3, 0.18), (0.3, 0.28, 0.25))[
        int(rng.integers(3))])  # fmt: skip
    skin = plain(colour)
    back = (
        spotted(rng, colour, skin_colour(rng), 3.0) if rng.random() < 0.6 else mottled(rng, colour)
    )
    fat = rng.uniform(0.15, 0.24)
    kit.add(blob((0.12, 0, 0.2), (0.16, 0.13, 0.1)), skin)
    kit.add(blob((-0.05 - fat, 0, 0.24), (fat * 1.25, fat, fat * 0.9)), back)
    kit.mark("head", (0.12, 0, 0.29), 0.04)
    kit.mark("waist", (-0.03, 0, 0.26), 0.08)
    kit.mark("abdomen tip", (-0.03 - fat * 2.2, 0, 0.25), 0.12)
    eye = plain(BLACK, specular=0.8, gloss=60)
    for _, s in SIDES:
        kit.add(blob((0.25, s * 0.045, 0.24), 0.025), eye)
        kit.add(
            loft([(0.25, s * 0.04, 0.17), (0.32, s * 0.03, 0.12)], (0.035, 0.02), sides=8), skin
        )
    kit.mark("fangs", (0.3, 0, 0.15), 0.06)
    kit.add(blob((0.29, 0, 0.16), (0.03, 0.05, 0.04)), skin)
    long = rng.uniform(0.55, 0.8)
    for name, s in SIDES:
        for which, angle in (("front", 42), ("second", 76), ("third", 108), ("hind", 146)):
            a = np.radians(angle + rng.normal(0, 5))
            reach = long * (1.0 if which in ("front", "hind") else 0.85)
            root = (0.12 + 0.1 * np.cos(a), s * 0.1 * np.sin(a), 0.18)
            foot = (root[0] + reach * np.cos(a), root[1] + s * reach * np.sin(a), 0.0)
            _leg(kit, skin, root, foot, f"{name} {which} foot", 0.02)
