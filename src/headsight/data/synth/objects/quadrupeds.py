"""Animals on four legs: one body plan whose measures make a dog, a giraffe or a lizard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headsight.data.synth.objects.builds import WHITE, Build
from headsight.data.synth.objects.kit import SIDES, Kit
from headsight.data.synth.objects.skins import BLACK, dark, fur, plain, varied
from headsight.data.synth.objects.solids import Relief, Vector, bent, blob, loft, turned, vec
from headsight.data.synth.surface import Material

__all__ = ["quadruped"]


def quadruped(kit: Kit, build: Build) -> None:
    """Put an animal of `build` into `kit`, with the 17 points of AP-10K."""
    rng = kit.rng
    build = _individual(rng, build)
    coat = fur(rng, build.colours, build.patterns)
    leg_coat = coat if rng.random() < 0.6 else plain(dark(varied(rng, build.colours[0]), 0.6))
    sits = rng.random() < build.sits
    pitch = rng.uniform(32, 55) if sits else rng.normal(0, 2)
    g = build.girth
    hip_height = build.leg * rng.uniform(0.95, 1.05)
    if sits:
        hip_height = g * 0.95
    body = kit.at((-0.5, 0, hip_height), turned(pitch=pitch))
    wool = _wool(rng) if build.crest == "wool" else None
    wide = g * build.width
    body.add(
        loft(
            [(-0.12, 0, 0), (0.1, 0, 0.01), (0.5, 0, -0.03), (0.88, 0, -0.01), (1.1, 0, 0.02)],
            [
                (wide * 0.72, g * 0.72), (wide * 0.95, g * 0.88), (wide, g * 0.92),
                (wide * 0.95, g), (wide * 0.62, g * 0.68),
            ],
            sides=18, relief=wool,
        ),
        coat,
        (1, 2),
    )  # fmt: skip
    _legs(kit, body, build, leg_coat, sits=sits)
    _tail(body, replace(build, tail_up=pitch + rng.uniform(-4, 25)) if sits else build, coat)
    _neck_and_head(kit, body, build, coat, pitch)


def _individual(rng: np.random.Generator, build: Build) -> Build:
    """The measures of one animal, a little off those of its kind."""

    def near(value: float, spread: float) -> float:
        return float(value * np.exp(rng.normal(0, spread)))

    shape = build.ear_shape
    return replace(
        build,
        leg=near(build.leg, 0.1),
        girth=near(build.girth, 0.1),
        neck=near(build.neck, 0.12),
        neck_up=build.neck_up + rng.normal(0, 9),
        head=near(build.head, 0.07),
        snout=near(build.snout, 0.06),
        limb=near(build.limb, 0.12),
        ear=near(build.ear, 0.12),
        ear_shape=str(rng.choice(("pointed", "floppy"))) if shape == "either" else shape,
        tail=near(build.tail, 0.2),
        tail_up=build.tail_up + rng.normal(0, 14),
    )


def _wool(rng: np.random.Generator) -> Relief:
    phase = rng.uniform(0, 6, 2)

    def relief(u: Vector, v: Vector) -> Vector:
        bumps = np.sin(14 * np.pi * u + phase[0]) * np.sin(11 * np.pi * v + phase[1])
        factor: Vector = 1 + 0.06 * bumps
        return factor

    return relief


def _legs(kit: Kit, body: Kit, build: Build, coat: Material, *, sits: bool) -> None:
    rng, g, r = kit.rng, build.girth, build.limb
    hoof = plain(dark(build.colours[0], 0.25))
    stride = 0.0 if sits else abs(rng.normal(0, 0.22)) * build.leg
    phase = rng.choice((-1, 1))
    reach = g * build.width * 0.72
    for (name, s), turn in zip(SIDES, (phase, -phase), strict=True):
        shoulder = body.place((0.95, s * reach, -g * 0.25)) - kit.origin
        hip = body.place((0.0, s * reach, -g * 0.1)) - kit.origin
        for is_front, top in ((True, shoulder), (False, hip)):
            step = stride * turn * (1 if is_front else -1) + rng.normal(0, 0.02)
            foot = np.array([top[0] + step + (0.02 if is_front else -0.06), top[1], r * 0.9])
            back = np.array([-1.0 if is_front else 1.0, 0, 0])
            share = 0.46 if is_front or not build.is_digitigrade else 0.36
            length = max(
                float(np.linalg.norm(top - foot)) * rng.uniform(1.03, 1.1), build.leg * 0.8
            )
            if sits and not is_front:
                foot = np.array([top[0] + build.leg * 0.42, top[1] + s * 0.06, r * 0.9])
                length = build.leg * 0.95
            if build.sprawls:
                out = build.leg * rng.uniform(1.2, 1.7)
                foot = np.array([top[0] + step + rng.normal(0, 0.08), top[1] + s * out, r * 0.7])
                back = np.array([-0.5 if is_front else 0.5, s * 0.4, 0.7])
                length = float(np.linalg.norm(top - foot)) * 1.15
            joint, end = bent(top, foot, (length * share, length * (1 - share)), back)
            thick = r * (1.9 if is_front else 2.3)
            start = top * 0.985 + np.array([0, 0, g * 0.1])
            upper = [start, (top + joint) / 2, joint]
            lower = [joint, (joint + end) / 2, end]
            bend = joint
            if not is_front:  # the hock stands out to the back
                lower[1] = lower[1] + np.array([-0.09 * length, 0, 0.02 * length])
                if build.is_digitigrade:
                    bend = lower[1]
            kit.add(loft(upper, (thick, thick * 0.9, r * 1.35), up=(1, 0.05, 0.02), sides=10), coat)
            kit.add(loft(lower, (r * 1.35, r, r * 0.9), up=(1, 0.05, 0.02), sides=10), coat)
            paw = end + np.array([r * 0.55, 0, -r * 0.15])
            kit.add(blob(paw, (r * 1.75, r * 1.25, r * 0.95)), hoof if r < 0.06 else coat)
            first, middle, last = (
                ("shoulder", "elbow", "front paw") if is_front else ("hip", "knee", "back paw")
            )
            kit.mark(f"{name} {first}", top + np.array([0, s * 0.6 * r, 0]), thick * 1.5)
            kit.mark(f"{name} {middle}", bend, r * 2.2)
            kit.mark(f"{name} {last}", paw, r * 1.8)


def _tail(body: Kit, build: Build, coat: Material) -> None:
    rng, g = body.rng, build.girth
    root = np.array([-0.12 - g * 0.55, 0, g * 0.32])
    angle = np.radians(build.tail_up)
    first = np.array([-np.cos(angle), 0, np.sin(angle)])
    sway = rng.normal(0, 0.25)
    curl = rng.normal(0.15, 0.25)
    middle = root + first * build.tail * 0.5
    end = middle + (first + np.array([0, sway, curl])) * build.tail * 0.5
    t = build.tail_thick
    body.add(
        loft(
            [root + vec(0.1, 0, -0.02), root, middle, end],
            (t, t, t * 0.9, t * 0.45),
            up=(0, 1, 0.1),
        ),
        coat,
    )
    body.mark("root of tail", root, t + g * 0.3)


def _neck_and_head(kit: Kit, body: Kit, build: Build, coat: Material, pitch: float) -> None:
    rng, g = kit.rng, build.girth
    angle = np.radians(build.neck_up)
    base = body.place((1.02, 0, g * 0.25)) - kit.origin
    side = rng.normal(0, 0.22)
    aim = np.array([np.cos(angle), np.sin(side) * np.cos(angle), np.sin(angle)])
    nape = base + aim * build.neck
    h = build.head
    skull = h * (0.44 - 0.26 * build.snout)
    inner = body.place((0.85, 0, g * 0.02)) - kit.origin
    thick = max(g * 0.52, skull * 0.95)
    kit.add(
        loft(
            [inner, base, (base + nape) / 2, nape],
            [(g * 0.55, g * 0.72), (thick * 0.82, thick), (skull * 0.72, (thick + skull) * 0.42),
             (skull * 0.68, skull * 0.8)],
        ),
        coat,
    )  # fmt: skip
    kit.mark("neck", base + aim * build.neck * 0.2, thick * 1.2)
    yaw = np.degrees(side) + rng.normal(0, 22)
    down = rng.normal(-14 if build.snout > 0.45 else -4, 11)
    if build.neck_up > 40 and build.snout > 0.55:
        down -= 16
    head = kit.at(nape, turned(yaw=yaw, pitch=down, roll=rng.normal(0, 6)))
    eye_x = h * (1 - build.snout) * 0.62
    wide, end = skull * 0.82, skull * build.muzzle
    head.add(
        loft(
            [(-skull * 0.25, 0, 0), (h * 0.2, 0, skull * 0.12), (eye_x, 0, skull * 0.02),
             (eye_x + h * build.snout * 0.35, 0, -skull * 0.22), (h * 0.93, 0, -skull * 0.36)],
            [(wide * 0.7, skull * 0.75), (wide, skull), (wide * 0.86, skull * 0.85),
             (end * 1.08, end * 1.25), (end * 0.92, end)],
            sides=16, caps=(0.8, 0.7),
        ),
        coat,
    )  # fmt: skip
    if build.crest == "trunk":
        tip = _trunk(head, build, coat, skull, end)
        head.mark("nose", tip, skull * 0.5)
    else:
        tip = np.array([h * 0.93 + end * 0.55, 0, -skull * 0.3])
        head.add(blob(tip, (end * 0.3, end * 0.5, end * 0.36)), plain(dark(build.colours[0], 0.3)))
        head.mark("nose", tip, end * 0.7)
    white, pupil = plain((0.9, 0.88, 0.8)), plain(BLACK, specular=0.5, gloss=60)
    size = skull * 0.17
    for name, s in SIDES:
        spot = np.array([eye_x, s * wide * 0.74, skull * 0.42])
        head.add(blob(spot, size), white)
        head.add(blob(spot + np.array([size * 0.35, s * size * 0.38, 0]), size * 0.8), pupil)
        head.mark(f"{name} eye", spot + np.array([size * 0.2, s * size * 0.3, 0]), size * 2.2)
        _ear(head, build, coat, s, skull, h)
    _crest(kit, head, build, base, nape, skull)


def _ear(head: Kit, build: Build, coat: Material, s: float, skull: float, h: float) -> None:
    if build.ear_shape == "none":
        return
    rng, length = head.rng, build.ear * h
    root = np.array([h * 0.04, s * skull * 0.55, skull * 0.72])
    fall = {
        "pointed": (0.05, 0.35, 0.95), "floppy": (-0.1, 1.0, -0.45), "round": (0, 0.5, 0.9),
        "tall": (-0.35, 0.2, 1.0), "fan": (-0.75, 0.7, -0.35),
    }[build.ear_shape]  # fmt: skip
    aim = np.array([fall[0], s * fall[1], fall[2]]) + rng.normal(0, 0.08, 3)
    aim = aim / np.linalg.norm(aim)
    wide = length * {"tall": 0.16, "round": 0.55, "fan": 0.55}.get(build.ear_shape, 0.3)
    end = wide * 0.25 if build.ear_shape in ("pointed", "tall") else wide * 0.7
    head.add(
        loft(
            [root - aim * length * 0.1, root + aim * length * 0.45, root + aim * length],
            [(length * 0.07, wide * 0.7), (length * 0.06, wide), (length * 0.03, end)],
            up=(1, 0, 0.3) if build.ear_shape == "fan" else (0.25, s * 1.0, 0.1)
            if build.ear_shape != "floppy" else (1, 0, 0),
            sides=10,
        ),
        coat,
    )  # fmt: skip


def _trunk(head: Kit, build: Build, coat: Material, skull: float, end: float) -> Vector:
    """The elephant's trunk and tusks; where the nostrils are."""
    rng, h = head.rng, build.head
    start = np.array([h * 0.88, 0, -skull * 0.3])
    length = build.leg * rng.uniform(0.7, 0.85)
    sway, lift = rng.normal(0, 0.12), rng.uniform(-0.05, 0.5)
    spots = [
        start,
        start + np.array([0.2, 0.2 * sway, -0.42]) * length,
        start + np.array([0.18 + 0.3 * lift, 0.7 * sway, -0.78 + 0.3 * lift]) * length,
        start + np.array([0.3 + 0.5 * lift, sway, -0.95 + 0.75 * lift]) * length,
    ]
    head.add(loft(spots, np.array([1.0, 0.7, 0.5, 0.34]) * end, up=(0, 1, 0), rings=14), coat)
    ivory = plain((0.93, 0.90, 0.80), specular=0.2)
    for _, s in SIDES:
        tusk = np.array([h * 0.8, s * end * 0.75, -skull * 0.5])
        tips = [tusk, tusk + vec(0.12, s * 0.02, -0.12), tusk + vec(0.26, s * 0.02, -0.1)]
        head.add(loft(tips, (0.035, 0.03, 0.01), up=(0, 1, 0), sides=8), ivory)
    tip: Vector = spots[-1]
    return tip


def _crest(kit: Kit, head: Kit, build: Build, base: Vector, nape: Vector, skull: float) -> None:
    """Manes, horns and antlers."""
    rng, h = kit.rng, build.head
    if build.crest == "mane":
        hair = plain(dark(varied(rng, build.colours[int(rng.integers(3))]), 0.5))
        lift = np.array([-0.06, 0, build.girth * 0.3])
        spots = [base + lift * 0.9, (base + nape) / 2 + lift * 0.95, nape + lift * 0.8]
        kit.add(loft(spots, [(0.03, 0.09), (0.03, 0.12), (0.03, 0.07)], sides=8), hair)
    if build.crest == "wool":
        kit.add(blob(nape + vec(0, 0, skull * 0.5), skull * 0.75), plain(varied(rng, WHITE)))
    horn = plain(varied(rng, (0.72, 0.66, 0.55)))
    for _, s in SIDES:
        root = np.array([h * 0.1, s * skull * 0.45, skull * 0.85])
        if build.crest == "knobs":
            tip = root + np.array([-0.03, s * 0.02, h * 0.24])
            head.add(loft([root, tip], (0.02, 0.03), up=(1, 0, 0), sides=8), horn)
        elif build.crest == "horns":
            spots = [root, root + vec(0, s * 0.16, 0.03), root + vec(0.04, s * 0.22, 0.16)]
            head.add(loft(spots, (0.035, 0.028, 0.01), up=(1, 0, 0), sides=8), horn)
        elif build.crest == "antlers":
            size = h * 0.9
            beam = [root, root + np.array([-0.25, s * 0.3, 0.5]) * size,
                    root + np.array([0.05, s * 0.5, 1.0]) * size]  # fmt: skip
            head.add(loft(beam, (0.024, 0.02, 0.009), up=(1, 0, 0.1), sides=8), horn)
            for share in (0.25, 0.55, 0.8):
                start = beam[0] * (1 - share) + beam[2] * share + vec(-0.12 * size, 0, 0)
                tine = start + np.array([0.28, s * 0.02, 0.3]) * size
                head.add(loft([start, tine], (0.016, 0.007), up=(0, 1, 0), sides=7), horn)
