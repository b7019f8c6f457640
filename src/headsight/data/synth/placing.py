"""Where people stand and which way they look, for groups, crowds and portraits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headsight.data.synth.config import Kind, SceneConfig
from headsight.geometry.rotations import wrap_deg

__all__ = ["Placement", "place_people"]


HEAD_METRES = 0.235
"""Height of an ordinary head."""


@dataclass(frozen=True)
class Placement:
    """One person's place in the picture and pose."""

    centre_px: tuple[float, float]
    head_px: float
    """Height of the head from chin to crown, px."""
    body_yaw_deg: float
    body_roll_deg: float
    head_ypr_deg: tuple[float, float, float]
    """Wanted pose in camera axes; the neck goes as far as it can."""
    neck_limit_rad: float


def place_people(
    rng: np.random.Generator, kind: Kind, config: SceneConfig
) -> tuple[list[Placement], tuple[float, float, float], float]:
    """Placements, the camera's (0, pitch, roll) as it turns upright bodies, the focal length."""
    w, h = config.image_wh
    focal = float(rng.uniform(1.0, 2.6) * max(w, h))
    if kind == "portrait":
        return (
            [_portrait(rng, config)],
            (0.0, float(rng.normal(0, 10)), float(rng.normal(0, 6))),
            focal,
        )
    pitch = float(np.clip(rng.normal(-6, 12), -45, 30))
    roll = float(rng.normal(0, 3) if rng.random() < 0.85 else rng.normal(0, 15))
    if kind == "crowd":
        count, base = int(rng.integers(5, 13)), float(np.exp(rng.uniform(np.log(9), np.log(46))))
        base *= min(w, h) / 448
        base = max(base, config.head_px[0])
    else:
        count = int(rng.integers(config.people[0], config.people[1] + 1))
        low = max(config.head_px[0], 0.035 * min(w, h))
        high = max(min(config.head_px[1], (0.62 if count < 3 else 0.42) * min(w, h)), low)
        base = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    spread = 0.3 if kind == "crowd" else 0.22
    is_grounded = rng.random() < (0.7 if kind == "crowd" else 0.5)
    if is_grounded:
        spread *= 1.6
        # All stand on one floor: the camera's height above the heads fixes the row of each size.
        want = float(rng.uniform(0.15, 0.6) * h)
        horizon = h / 2 + focal * float(np.tan(np.deg2rad(pitch)))
        rise = float(np.clip((want - horizon) * HEAD_METRES / base, -0.4, 5.0))
        if kind == "group":
            rise = float(rng.normal(0.1, 0.3))
        horizon = want - base * rise / HEAD_METRES
    placed: list[Placement] = []
    for _ in range(count):
        size = float(np.clip(base * np.exp(rng.normal(0, spread)), *config.head_px))
        for _attempt in range(12):
            x = float(rng.uniform(-0.04, 1.04) * w)
            y = float(np.clip(rng.normal(0.38, 0.22), 0.0, 1.0) * h)
            if kind == "crowd":
                y = float(rng.uniform(0.03, 0.95) * h)
            if is_grounded:
                y = float(horizon + size * (rise + rng.normal(0, 0.06)) / HEAD_METRES)
                if not -0.3 * size < y < h:
                    size = float(np.clip(base * np.exp(rng.normal(0, spread)), *config.head_px))
                    continue
            if all(_apart((x, y), size, p) for p in placed):
                placed.append(_pose(rng, (x, y), size, pitch, roll))
                break
    return placed, (0.0, pitch, roll), focal


def _apart(centre: tuple[float, float], size: float, other: Placement) -> bool:
    """Heads may overlap, yet not cover one another wholly."""
    limit = 0.55 * (0.6 * (size + other.head_px))
    dx, dy = centre[0] - other.centre_px[0], centre[1] - other.centre_px[1]
    return bool(np.hypot(dx * 1.2, dy) > limit)


def _pose(
    rng: np.random.Generator,
    centre: tuple[float, float],
    size: float,
    camera_pitch: float,
    camera_roll: float,
) -> Placement:
    draw = rng.random()
    if draw < 0.40:
        yaw = rng.uniform(-62, 62)
    elif draw < 0.5:
        yaw = rng.normal(0, 20)
    else:
        yaw = rng.uniform(-180, 180)
    facing = float(np.cos(np.deg2rad(yaw)))
    pitch = camera_pitch * facing + rng.normal(-4, 13) * (1.6 if rng.random() < 0.2 else 1.0)
    roll = camera_roll * facing + rng.normal(0, 8) * (2.2 if rng.random() < 0.15 else 1.0)
    return Placement(
        centre_px=centre,
        head_px=size,
        body_yaw_deg=_wrapped(yaw + rng.normal(0, 22)),
        body_roll_deg=float(rng.normal(0, 3)),
        head_ypr_deg=(
            _wrapped(yaw),
            float(np.clip(pitch, -58, 58)),
            float(np.clip(roll, -48, 48)),
        ),
        neck_limit_rad=float(np.deg2rad(68)),
    )


def _portrait(rng: np.random.Generator, config: SceneConfig) -> Placement:
    """A close-up as in AFLW2000: a head of a fifth to two thirds of the picture's height."""
    w, h = config.image_wh
    size = float(rng.uniform(0.22, 0.68) * min(w, h))
    yaw = float(rng.normal(0, 30) if rng.random() < 0.5 else rng.uniform(-95, 95))
    if rng.random() < 0.06:
        yaw = float(rng.uniform(-180, 180))
    pitch = float(np.clip(rng.normal(-2, 17), -60, 55))
    roll = float(np.clip(rng.normal(0, 15), -50, 50))
    centre = (
        float(w * np.clip(rng.normal(0.5, 0.10), 0.1, 0.9)),
        float(h * np.clip(rng.normal(0.48, 0.09), 0.1, 0.9)),
    )
    return Placement(
        centre_px=centre,
        head_px=size,
        body_yaw_deg=_wrapped(yaw * rng.uniform(0.2, 1.0) + rng.normal(0, 8)),
        body_roll_deg=float(roll * rng.uniform(0, 0.7)),
        head_ypr_deg=(_wrapped(yaw), pitch, roll),
        neck_limit_rad=float(np.deg2rad(70)),
    )


def _wrapped(degrees: float) -> float:
    return float(wrap_deg(np.array(degrees)))
