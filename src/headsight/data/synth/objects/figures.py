"""Hands, faces, people and robots."""

from __future__ import annotations

import numpy as np

from headsight.data.synth.colours import HAIR
from headsight.data.synth.objects.kit import SIDES, Kit
from headsight.data.synth.objects.skins import (
    BLACK,
    any_colour,
    cloth,
    dark,
    metal,
    paint,
    plain,
    skin_colour,
    varied,
)
from headsight.data.synth.objects.solids import Vector, bent, blob, block, lathe, loft, turned, vec
from headsight.data.synth.surface import Material

__all__ = ["face", "hand", "person", "robot"]

_THUMB = ("base", "knuckle", "joint", "tip")
_FINGER = ("knuckle", "middle joint", "end joint", "tip")


def _hair(rng: np.random.Generator) -> Material:
    return plain(varied(rng, list(HAIR.values())[int(rng.integers(len(HAIR)))]), specular=0.1)


def hand(kit: Kit) -> None:
    """A left or right hand, fingers up, palm to the front."""
    rng = kit.rng
    s = float(rng.choice((-1.0, 1.0)))  # which side the thumb is on
    skin = plain(skin_colour(rng) if rng.random() < 0.85 else any_colour(rng))
    kit.add(
        loft(
            [(0, 0, -0.28), (0, 0, -0.03), (0, 0, 0.08)],
            [(0.075, 0.065), (0.07, 0.055), (0.09, 0.05)],
            up=(1, 0, 0),
            caps=(0, 1),
        ),
        skin,
    )
    if rng.random() < 0.5:
        kit.add(
            loft([(0, 0, -0.32), (0, 0, -0.14)], 2 * [(0.095, 0.085)], up=(1, 0, 0), caps=(0, 0)),
            cloth(rng),
        )
    kit.add(
        loft([(0, 0, -0.01), (0, 0, 0.13), (0, 0, 0.3), (0, 0, 0.36)],
             [(0.08, 0.05), (0.135, 0.06), (0.145, 0.05), (0.13, 0.035)], up=(1, 0, 0),
             squareness=3, sides=18), skin,
    )  # fmt: skip
    kit.mark("wrist", (0, 0, 0.0), 0.08)
    spread, curl_all = rng.uniform(1, 9), rng.choice((0.0, 0.35, 0.9)) * rng.uniform(0.5, 1.2)
    fingers = (
        ("forefinger", 0.108, 0.345, 0.33, 1.0), ("middle finger", 0.038, 0.36, 0.37, 0.25),
        ("ring finger", -0.034, 0.35, 0.34, -0.5), ("little finger", -0.1, 0.32, 0.26, -1.4),
    )  # fmt: skip
    nail = plain(dark(varied(rng, (0.95, 0.75, 0.72)), 1.0), specular=0.4)
    for name, y, z, long, lean in fingers:
        curl = (
            max(0.0, curl_all + rng.normal(0, 0.18)) if rng.random() < 0.85 else rng.uniform(0, 1.5)
        )
        aim = turned(roll=s * spread * lean)
        _finger(kit, (skin, nail), name, np.array([0, s * y, z]), aim, long, curl)
    thumb = [np.array([0.02, s * 0.07, 0.09])]
    out = rng.uniform(25, 65)
    for k, (size, more) in enumerate(((0.13, 0), (0.12, 14), (0.1, 30))):
        a = np.radians(out - more * rng.uniform(0.4, 1.0))
        step = np.array([0.25 + 0.12 * k * curl_all, s * np.sin(a), np.cos(a)])
        thumb.append(thumb[-1] + step / np.linalg.norm(step) * size)
    kit.add(loft(thumb, (0.065, 0.048, 0.042, 0.03), up=(1, 0.1, 0), rings=12), skin)
    for k, at in enumerate(thumb):
        kit.mark(f"thumb {_THUMB[k]}", at, (0.09, 0.065, 0.055, 0.045)[k])


def _finger(
    kit: Kit, skins: tuple[Material, Material], name: str, root: Vector, aim: Vector, long: float,
    curl: float,
) -> None:  # fmt: skip
    """Three bones that bend toward the palm (x)."""
    spots, angle = [root], 0.0
    for share, bend in ((0.44, 0.75), (0.31, 1.1), (0.25, 0.7)):
        angle += bend * curl
        step = aim @ np.array([np.sin(angle), 0, np.cos(angle)])
        spots.append(spots[-1] + step * share * long)
    side = aim @ np.array([0, 1.0, 0])
    kit.add(loft(spots, (0.037, 0.034, 0.031, 0.024), up=side, rings=13, sides=12), skins[0])
    tip = spots[-1] - aim @ np.array([np.cos(angle), 0, -np.sin(angle)]) * 0.018
    kit.add(blob(tip, 0.014), skins[1])
    for k, at in enumerate(spots):
        kit.mark(f"{name} {_FINGER[k]}", at, (0.065, 0.05, 0.045, 0.04)[k])


def face(kit: Kit) -> None:
    """A human head."""
    rng = kit.rng
    colour = skin_colour(rng)
    skin = plain(colour, specular=0.12)
    wide, long, jaw = rng.uniform(0.72, 0.84), rng.uniform(0.95, 1.1), rng.uniform(0.55, 0.8)
    # the axis runs from the crown to the chin; x is forward
    kit.add(
        loft(
            [
                (-0.05, 0, 0.8),
                (-0.1, 0, 0.5),
                (-0.02, 0, 0.05),
                (0.1, 0, -0.4),
                (0.24, 0, -0.8 * long),
            ],
            [
                (wide * 0.7, 0.62),
                (wide * 0.98, 0.92),
                (wide, 0.92),
                (wide * 0.84, 0.72),
                (wide * jaw * 0.5, 0.36),
            ],
            up=(1, 0, 0),
            sides=24,
            rings=18,
            caps=(0.8, 0.4),
            axis=(0, 0, -1),
        ),
        skin,
    )
    kit.add(
        loft([(-0.25, 0, -0.5), (-0.3, 0, -1.15)], (0.42, 0.46), up=(1, 0, 0), caps=(0, 0)), skin
    )
    kit.mark("chin", (0.55, 0, -0.84 * long), 0.12)
    shirt = cloth(rng)
    kit.add(
        loft(
            [(-0.3, 0, -1.05), (-0.32, 0, -1.2), (-0.35, 0, -1.5)],
            [(0.5, 0.5), (0.85, 0.56), (1.25, 0.6)],
            up=(1, 0, 0),
            caps=(0, 0),
        ),
        shirt,
    )
    nose = rng.uniform(0.9, 1.15)
    kit.add(loft([(0.82, 0, 0.16), (0.93, 0, -0.05), (0.93 + 0.14 * nose, 0, -0.22)],
                 [(0.06, 0.07), (0.08, 0.09), (0.11, 0.1)], up=(1, 0, 0.4)), skin)  # fmt: skip
    kit.mark("nose", (1.0 + 0.14 * nose, 0, -0.22), 0.1)
    mouth_z, lip = (
        -0.47 * long,
        plain(varied(rng, dark((colour[0], colour[1] * 0.62, colour[2] * 0.62), 0.95))),
    )
    half, smile, gap = rng.uniform(0.2, 0.28), rng.uniform(-0.03, 0.08), rng.uniform(0.0, 0.09)
    kit.add(
        loft(
            [
                (0.68, -half * 0.9, mouth_z + smile),
                (0.8, 0, mouth_z),
                (0.68, half * 0.9, mouth_z + smile),
            ],
            [(0.06, 0.02), (0.06, 0.02 + gap), (0.06, 0.02)],
        ),
        plain((0.25, 0.07, 0.07)),
    )
    for name, z, r in (("upper lip", gap + 0.035, 0.042), ("lower lip", -gap - 0.045, 0.052)):
        kit.add(
            loft(
                [
                    (0.68, -half, mouth_z + smile),
                    (0.8, 0, mouth_z + z),
                    (0.68, half, mouth_z + smile),
                ],
                (0.035, r, 0.035),
            ),
            lip,
        )
        kit.mark(name, (0.84, 0, mouth_z + z), 0.06)
    brow = _hair(rng)
    iris = plain((0.2, 0.14, 0.09) if rng.random() < 0.6 else (0.3, 0.45, 0.55))
    for name, s in SIDES:
        _side_of_face(kit, (skin, brow, iris), name, s, wide)
        kit.mark(f"{name} mouth corner", (0.7, s * half * 0.98, mouth_z + smile), 0.09)
        kit.add(blob((0.93, s * 0.12, -0.25), (0.09, 0.07, 0.065)), skin)
        kit.mark(f"{name} nostril", (0.95, s * 0.17, -0.26), 0.08)
    _head_hair(kit, brow, wide)


def _side_of_face(
    kit: Kit, skins: tuple[Material, Material, Material], name: str, s: float, wide: float
) -> None:
    rng, (skin, brow, iris) = kit.rng, skins
    eye = np.array([0.715, s * wide * 0.43, 0.1])
    kit.add(blob(eye, (0.09, 0.135, 0.07)), plain((0.93, 0.92, 0.9), specular=0.4))
    kit.add(blob(eye + vec(0.065, 0, 0), (0.035, 0.055, 0.056)), iris)
    kit.add(
        blob(eye + vec(0.085, 0, 0), (0.02, 0.028, 0.028)), plain(BLACK, specular=0.8, gloss=60)
    )
    kit.mark(f"{name} eye", eye + vec(0.08, 0, 0), 0.05)
    kit.mark(f"{name} eye outer", eye + vec(0.015, s * 0.125, 0), 0.07)
    kit.mark(f"{name} eye inner", eye + vec(0.035, -s * 0.125, 0), 0.07)
    lid = [
        eye + vec(0.0, s * 0.15, 0.01),
        eye + vec(0.07, 0, 0.075),
        eye + vec(0.04, -s * 0.145, 0.0),
    ]
    kit.add(loft(lid, (0.025, 0.03, 0.025), sides=8), skin)
    lift = rng.uniform(0, 0.05)
    arc = [
        (0.70, s * wide * 0.70, 0.25),
        (0.82, s * wide * 0.46, 0.31 + lift),
        (0.86, s * wide * 0.17, 0.25),
    ]
    kit.add(loft(arc, (0.025, 0.04, 0.035), sides=8), brow)
    kit.mark(f"{name} eyebrow outer", arc[0], 0.06)
    kit.mark(f"{name} eyebrow inner", arc[2], 0.06)
    ear = np.array([-0.08, s * wide * 1.02, 0.02])
    kit.add(blob(ear, (0.13, 0.06, 0.21), turned(yaw=s * 25.0)), skin)
    kit.mark(f"{name} ear", ear + vec(0, s * 0.03, 0), 0.1)


def _head_hair(kit: Kit, hair: Material, wide: float) -> None:
    rng = kit.rng
    if rng.random() < 0.12:
        return
    kit.add(blob((-0.14, 0, 0.52), (0.95, wide * 1.08, 0.8), turned(pitch=14)), hair)
    if rng.random() < 0.5:  # long
        kit.add(
            loft(
                [(-0.45, 0, 0.6), (-0.52, 0, 0.0), (-0.5, 0, -rng.uniform(0.5, 1.2))],
                [(wide * 0.95, 0.55), (wide * 1.1, 0.5), (wide * 1.0, 0.38)],
                up=(1, 0, 0),
            ),
            hair,
        )


def person(kit: Kit) -> None:
    """A clothed person."""
    rng = kit.rng
    skin, top, legs = plain(skin_colour(rng)), cloth(rng), cloth(rng)
    sleeve = top if rng.random() < 0.5 else skin
    _figure(kit, (skin, top, sleeve, legs, plain(dark(any_colour(rng), 0.6))), _hair(rng))


def robot(kit: Kit) -> None:
    """A robot with the joints of a person."""
    rng = kit.rng
    lack, steel = paint(any_colour(rng)), metal(rng)
    _figure(kit, (steel, lack, steel, lack, plain((0.15, 0.15, 0.17))), None)


def _figure(
    kit: Kit,
    skins: tuple[Material, Material, Material, Material, Material],
    hair: Material | None,
) -> None:
    """Skin, trunk, sleeves, legs and shoes; without hair a robot."""
    rng, (skin, top, sleeve, legs, shoe) = kit.rng, skins
    is_robot = hair is None
    broad, hips = rng.uniform(0.19, 0.23), rng.uniform(0.1, 0.125)
    height, thigh, shin = 0.92, 0.42, 0.40
    sits = rng.random() < 0.12
    if sits:
        height = 0.5
    body = kit.at(
        (0, 0, height), turned(pitch=rng.normal(-4, 6), roll=rng.normal(0, 5), yaw=rng.normal(0, 8))
    )
    squareness = 7.0 if is_robot else 2.6
    build = rng.uniform(0.9, 1.25)
    body.add(
        loft([(0, 0, -0.06), (0, 0, 0.08), (0, 0, 0.25), (0, 0, 0.45), (0, 0, 0.53)],
             np.array([(hips * 1.45, 0.1), (hips * 1.35, 0.1), (hips * 1.3, 0.095),
                       (broad * 0.92, 0.11), (broad * 0.55, 0.07)]) * (1, build),
             up=(1, 0, 0), squareness=squareness, sides=20, caps=(0.4, 0.2)), top,
    )  # fmt: skip
    _head(body, skin, hair)
    arm, fore = 0.29, 0.25
    for name, s in SIDES:
        shoulder = body.place((0, s * broad, 0.47)) - kit.origin
        hang = np.radians(
            rng.choice((10, 35, 80, 130), p=(0.45, 0.25, 0.2, 0.1)) + rng.normal(0, 10)
        )
        swing = rng.normal(0, 0.35)
        aim = np.array([np.sin(swing), s * np.sin(hang), -np.cos(hang)])
        wrist = shoulder + aim / np.linalg.norm(aim) * (arm + fore) * rng.uniform(0.6, 0.99)
        elbow, wrist = bent(shoulder, wrist, (arm, fore), (-1, s * 0.5, -0.3))
        _limb(kit, (top, sleeve), (shoulder, elbow, wrist), 0.052, is_robot)
        kit.add(blob(wrist + (wrist - elbow) / fore * 0.07, (0.035, 0.035, 0.055)), skin)
        hip = body.place((0, s * hips * 0.9, -0.04)) - kit.origin
        step = rng.normal(0, 0.16)
        if sits:
            foot = np.array([0.45 + step * 0.4, hip[1] + s * 0.05, 0.08])
        else:
            foot = np.array(
                [step, hip[1] + s * abs(rng.normal(0.02, 0.06)), 0.08 + max(0, rng.normal(0, 0.06))]
            )
        knee, ankle = bent(hip, foot, (thigh, shin), (1, s * 0.15, 0.1))
        _limb(kit, (legs, legs), (hip, knee, ankle), 0.075, is_robot)
        kit.add(loft([ankle + vec(-0.05, 0, -0.05), ankle + vec(0.14, s * 0.02, -0.055)],
                     [(0.04, 0.035), (0.045, 0.028)]), shoe)  # fmt: skip
        for point, at, depth in (
            ("shoulder", shoulder, 0.1), ("elbow", elbow, 0.075), ("wrist", wrist, 0.06),
            ("hip", hip, 0.14), ("knee", knee, 0.1), ("ankle", ankle, 0.075),
        ):  # fmt: skip
            kit.mark(f"{name} {point}", at, depth)


def _limb(
    kit: Kit, skins: tuple[Material, Material], joints: tuple[Vector, Vector, Vector], r: float,
    is_robot: bool,
) -> None:  # fmt: skip
    a, b, c = joints
    up = (0.3, 1.0, 0.05) if abs((b - a)[1]) < 0.2 else (1, 0, 0.05)
    low = (0.3, 1.0, 0.05) if abs((c - b)[1]) < 0.2 else (1, 0, 0.05)
    thin = 0.55 if is_robot else 1.0
    kit.add(loft([a, (a + b) / 2, b], (r, r * 0.95 * thin, r * 0.78), up=up), skins[0])
    kit.add(loft([b, (b + c) / 2, c], (r * 0.78, r * 0.74 * thin, r * 0.55), up=low), skins[1])
    if is_robot:
        for at in joints:
            kit.add(blob(at, r * 1.05), skins[1])


def _head(body: Kit, skin: Material, hair: Material | None) -> None:
    rng = body.rng
    body.add(loft([(0, 0, 0.5), (0.01, 0, 0.62)], (0.055, 0.052), up=(1, 0, 0)), skin)
    head = body.at((0.02, 0, 0.6), turned(yaw=rng.normal(0, 25), pitch=rng.normal(0, 9)))
    dark_eye = plain(BLACK, specular=0.5)
    if hair is None:
        head.add(block((0, 0, 0.13), (0.2, 0.21, 0.23)), skin)
        lamp = Material(tint=(1.2, 0.7, 0.2))
        head.add(
            lathe([(0, 0.04), (0.02, 0.03), (0.025, 0)], origin=(0.1, 0, 0.1), axis=(1, 0, 0)), lamp
        )
        head.add(loft([(0, 0, 0.24), (0, 0, 0.33)], (0.008, 0.008), up=(1, 0, 0)), dark_eye)
        head.add(block((0.1, 0, 0.05), (0.01, 0.12, 0.02)), dark_eye)
    else:
        head.add(blob((0, 0, 0.14), (0.105, 0.085, 0.13)), skin)
        head.add(blob((-0.02, 0, 0.175), (0.105, 0.092, 0.105), turned(pitch=20)), hair)
        head.add(blob((0.105, 0, 0.115), (0.025, 0.017, 0.03)), skin)
        head.add(block((0.09, 0, 0.065), (0.02, 0.045, 0.01)), plain((0.55, 0.2, 0.2)))
    head.mark("nose", (0.125, 0, 0.11), 0.03)
    for name, s in SIDES:
        eye = np.array([0.1 if hair is None else 0.088, s * 0.038, 0.15])
        size = 0.024 if hair is None else 0.015
        if hair is None:
            head.add(blob(eye, size), Material(tint=(1.2, 1.2, 0.9)))
        else:
            head.add(blob(eye, (0.012, 0.018, 0.012)), plain((0.93, 0.93, 0.9)))
        head.add(blob(eye + vec(size * 0.5, 0, 0), size * 0.6), dark_eye)
        head.mark(f"{name} eye", eye, 0.035)
        ear = np.array([-0.005, s * (0.11 if hair is None else 0.089), 0.13])
        head.add(blob(ear, (0.025, 0.014, 0.035)), skin)
        head.mark(f"{name} ear", ear, 0.04)
