"""Birds, standing or flying: one body plan and four sets of measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headsight.data.synth.objects.kit import SIDES, Kit
from headsight.data.synth.objects.skins import BLACK, Colour, dark, fur, plain, varied
from headsight.data.synth.objects.solids import blob, loft, turned
from headsight.data.synth.surface import Material

__all__ = ["BIRDS", "Bird", "bird"]

_ORANGE: Colour = (0.92, 0.55, 0.12)


@dataclass(frozen=True, kw_only=True)
class Bird:
    """Measures in lengths of the trunk."""

    girth: float
    """Half the height of the trunk."""
    pitch: float
    """Degrees by which the trunk is raised."""
    neck: float
    neck_up: float
    head: float
    """Radius."""
    beak: float
    beak_flat: float = 1.0
    """Width over height."""
    leg: float
    tail: float
    flies: bool = False
    colours: tuple[Colour, ...]
    patterns: tuple[str, ...] = ("plain", "belly", "spots")


BIRDS: dict[str, Bird] = {
    "songbird": Bird(
        girth=0.30,
        pitch=32.0,
        neck=0.12,
        neck_up=62.0,
        head=0.2,
        beak=0.2,
        leg=0.36,
        tail=0.6,
        colours=(
            (0.45, 0.33, 0.2),
            (0.75, 0.25, 0.16),
            (0.25, 0.42, 0.7),
            (0.85, 0.75, 0.25),
            (0.2, 0.2, 0.22),
        ),
    ),
    "gull": Bird(
        girth=0.21,
        pitch=4.0,
        neck=0.14,
        neck_up=12.0,
        head=0.14,
        beak=0.22,
        leg=0.2,
        tail=0.34,
        flies=True,
        colours=((0.9, 0.9, 0.9), (0.55, 0.57, 0.6), (0.2, 0.2, 0.2), (0.5, 0.38, 0.25)),
        patterns=("plain", "belly"),
    ),
    "duck": Bird(
        girth=0.27,
        pitch=12.0,
        neck=0.34,
        neck_up=72.0,
        head=0.145,
        beak=0.25,
        beak_flat=1.9,
        leg=0.26,
        tail=0.22,
        colours=((0.5, 0.38, 0.26), (0.9, 0.88, 0.82), (0.25, 0.25, 0.22), (0.15, 0.4, 0.25)),
        patterns=("patches", "plain", "belly"),
    ),
    "heron": Bird(
        girth=0.23,
        pitch=28.0,
        neck=0.85,
        neck_up=68.0,
        head=0.11,
        beak=0.42,
        leg=1.0,
        tail=0.22,
        colours=((0.55, 0.58, 0.62), (0.92, 0.92, 0.9), (0.9, 0.55, 0.55), (0.3, 0.3, 0.33)),
        patterns=("plain", "belly"),
    ),
}
"""By category."""


def bird(kit: Kit, kind: Bird) -> None:
    """Put a bird into `kit`, with the 15 points of CUB-200."""
    rng = kit.rng
    coat = fur(rng, kind.colours, kind.patterns)
    quill = plain(dark(varied(rng, kind.colours[int(rng.integers(len(kind.colours)))]), 0.7))
    bill = plain(varied(rng, _ORANGE if rng.random() < 0.6 else (0.2, 0.19, 0.17)), specular=0.2)
    g = kind.girth * float(np.exp(rng.normal(0, 0.08)))
    leg = kind.leg * float(np.exp(rng.normal(0, 0.12)))
    height = 0.0 if kind.flies else leg + g * 0.75
    body = kit.at((0, 0, height), turned(pitch=kind.pitch + rng.normal(0, 7)))
    body.add(
        loft(
            [(-0.5, 0, 0.05), (-0.25, 0, 0.02), (0.05, 0, -0.02), (0.3, 0, 0.0), (0.46, 0, 0.05)],
            [(g * 0.3, g * 0.28), (g * 0.75, g * 0.72), (g * 0.95, g), (g * 0.8, g * 0.85),
             (g * 0.5, g * 0.55)],
            sides=18,
        ),
        coat,
    )  # fmt: skip
    body.mark("back", (-0.05, 0, g * 0.86), g * 0.15)
    body.mark("belly", (-0.12, 0, -g * 0.82), g * 0.15)
    body.mark("breast", (0.36, 0, -g * 0.48), g * 0.3)
    _tail(body, kind, quill)
    _head(kit, body, kind, coat, bill, g)
    lift = rng.uniform(-0.25, 0.6)
    for name, s in SIDES:
        _leg(kit, body, kind, bill, name, s, leg)
        if kind.flies:
            _spread_wing(body, quill, name, s, (g, lift))
        else:
            _folded_wing(body, quill, name, s, g)


def _tail(body: Kit, kind: Bird, quill: Material) -> None:
    length = kind.tail * float(np.exp(body.rng.normal(0, 0.15)))
    drop = body.rng.normal(-0.03, 0.08) * length
    wide = 0.07 + length * 0.14
    end = (-0.48 - length, 0, 0.05 + drop)
    body.add(loft([(-0.4, 0, 0.05), end], [(0.06, 0.04), (wide, 0.02)], caps=(1, 0.2)), quill)
    body.mark("tail", (-0.47 - length, 0, 0.05 + drop), 0.035)


def _head(kit: Kit, body: Kit, kind: Bird, coat: Material, bill: Material, g: float) -> None:
    rng, r = kit.rng, kind.head * float(np.exp(kit.rng.normal(0, 0.06)))
    base = body.place((0.42, 0, g * 0.3)) - kit.origin
    angle = np.radians(kind.neck_up + rng.normal(0, 7))
    aim = np.array([np.cos(angle), rng.normal(0, 0.06), np.sin(angle)])
    middle = base + aim * (kind.neck + r * 0.55)
    bow = np.array([0.22 * kind.neck, 0, 0]) if kind.neck > 0.5 else np.zeros(3)
    inner = body.place((0.3, 0, 0.0)) - kit.origin
    half = (base + middle) / 2
    wide = min(g * 0.62, r * 1.3 + 0.1 * kind.neck)
    thin = max(r * 0.62, 0.055)
    kit.add(
        loft(
            [inner, base, half + bow * rng.uniform(0.3, 1.2), middle],
            (g * 0.7, wide, thin * 1.05, thin),
            up=(-0.3, 0, 1) if kind.neck_up < 45 else (1, 0, 0.05),
        ),
        coat,
    )
    yaw = rng.normal(0, 28)
    head = kit.at(middle, turned(yaw=yaw, pitch=rng.normal(-4, 9), roll=rng.normal(0, 5)))
    head.add(blob((0, 0, 0), (r * 1.1, r * 0.92, r)), coat)
    length = kind.beak
    tip = np.array([r * 0.9 + length, 0, -r * 0.22])
    root = np.array([r * 0.75, 0, -r * 0.08])
    flat = kind.beak_flat
    thick = r * 0.36
    head.add(
        loft(
            [root, root * 0.5 + tip * 0.5, tip],
            [(thick * flat**0.5, thick), (thick * 0.7 * flat, thick * 0.6 / flat),
             (thick * 0.12 + 0.03 * (flat - 1), thick * 0.12)],
            sides=10,
        ),
        bill,
    )  # fmt: skip
    head.mark("beak", tip, 0.03)
    head.mark("crown", (-r * 0.05, 0, r * 0.93), r * 0.25)
    head.mark("forehead", (r * 0.8, 0, r * 0.55), r * 0.3)
    head.mark("nape", (-r * 0.88, 0, r * 0.12), r * 0.35)
    throat = head.place((r * 0.5, 0, -r * 0.85)) - kit.origin
    kit.mark("throat", throat, r * 0.5)
    pupil = plain(BLACK, specular=0.6, gloss=60)
    rim = plain(varied(rng, (0.9, 0.8, 0.5)))
    size = r * 0.17
    for name, s in SIDES:
        spot = np.array([r * 0.5, s * r * 0.76, r * 0.28])
        head.add(blob(spot, (size * 1.25, size * 0.8, size * 1.25)), rim)
        head.add(blob(spot + np.array([0.2 * size, s * size * 0.45, 0]), size * 0.8), pupil)
        head.mark(f"{name} eye", spot + np.array([0, s * size * 0.4, 0]), size * 1.8)


def _leg(
    kit: Kit, body: Kit, kind: Bird, skin: Material, name: str, s: float, length: float
) -> None:
    rng = kit.rng
    thick = 0.024 + 0.012 * (kind.girth > 0.25)
    top = body.place((-0.08, s * kind.girth * 0.45, -kind.girth * 0.55)) - kit.origin
    if kind.flies:  # drawn up to the rear
        ankle = top + np.array([-0.1, 0, -0.03])
        foot = top + np.array([-0.32, 0, -0.06])
    else:
        step = rng.normal(0, 0.09) * length
        foot = np.array([top[0] + 0.05 + step, top[1], thick])
        ankle = (top + foot) / 2 + np.array([-0.07 * length - 0.02, 0, 0])
    kit.add(loft([top, ankle, foot], (thick * 1.9, thick, thick), up=(0, 1, 0.01), sides=8), skin)
    for turn in (-32, 0, 32, 180):
        a = np.radians(turn)
        size = 0.13 if turn != 180 else 0.07
        toe = foot + np.array([np.cos(a), np.sin(a), 0]) * size * (0.6 if kind.flies else 1)
        kit.add(loft([foot, toe], (thick * 0.8, thick * 0.45), sides=6), skin)
    out = min(0.7, 0.24 / max(length, 0.01))  # where it comes out of the feathers
    kit.mark(f"{name} leg", top + out * (ankle - top), thick * 3.5)


def _folded_wing(body: Kit, quill: Material, name: str, s: float, g: float) -> None:
    long = body.rng.uniform(0.85, 1.1)
    spots = [(0.3, s * g * 0.68, g * 0.2), (0.0, s * g * 0.93, 0.02),
             (-0.35 * long, s * g * 0.72, -0.02), (-0.66 * long, s * g * 0.22, 0.02)]  # fmt: skip
    body.add(
        loft(spots, [(0.03, g * 0.3), (0.035, g * 0.5), (0.03, g * 0.36), (0.015, 0.03)]), quill
    )
    body.mark(f"{name} wing", (-0.2 * long, s * (g * 0.84 + 0.025), 0.0), g * 0.2)


def _spread_wing(
    body: Kit, quill: Material, name: str, s: float, size: tuple[float, float]
) -> None:
    g, lift = size
    span = 1.05
    root = np.array([0.12, s * g * 0.5, g * 0.3])
    elbow = root + np.array([0.1, s * 0.42 * span, 0.42 * lift])
    tip = elbow + np.array([-0.22, s * 0.68 * span, 0.68 * (lift - 0.3)])
    body.add(
        loft(
            [root, elbow, (elbow + tip) / 2, tip],
            [(0.24, 0.03), (0.2, 0.025), (0.14, 0.018), (0.03, 0.008)], up=(0, 0, 1), sides=12,
        ),
        quill,
    )  # fmt: skip
    body.mark(f"{name} wing", elbow * 0.5 + tip * 0.5, 0.04)
