"""Things that stand in front of people and objects: boards, posts, balls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headsight.data.synth.bodies import smooth_normals
from headsight.data.synth.colours import CLOTHES, clothes_colour
from headsight.data.synth.shapes import Mesh, grid
from headsight.data.synth.surface import Material, Part
from headsight.data.synth.trace import Camera

__all__ = ["obstacles"]


def obstacles(
    rng: np.random.Generator,
    camera: Camera,
    outlines: list[NDArray[np.float64]],
    *,
    share: float,
    aside: tuple[float, float] = (0.35, 1.2),
    below: tuple[float, float] = (-0.2, 1.4),
) -> list[Part]:
    """In a `share` of pictures a few things in camera space, some before one of the `outlines`.

    `aside` and `below` tell how far from an outline's middle they stand, in sizes of it.
    """
    if rng.random() < 1 - share or not outlines:
        return []
    parts = []
    for _ in range(int(rng.integers(1, 3))):
        target = outlines[int(rng.integers(len(outlines)))]
        at = camera.project(target)
        (x1, y1), (x2, y2) = at.min(0), at.max(0)
        size = max(x2 - x1, y2 - y1)
        side = rng.choice((-1, 1))
        x = (x1 + x2) / 2 + side * size * rng.uniform(*aside)
        y = (y1 + y2) / 2 + size * rng.uniform(*below)
        depth = float(target[:, 2].min()) * rng.uniform(0.6, 0.93)
        parts.append(_thing(rng, camera, (x, y), size * rng.uniform(0.2, 0.9), depth))
    return parts


def _thing(
    rng: np.random.Generator, camera: Camera, at: tuple[float, float], size: float, depth: float
) -> Part:
    centre = (np.array(at) - np.array(camera.image_wh) / 2) / camera.focal_px * depth
    half = size / 2 / camera.focal_px * depth
    kind = rng.choice(("board", "post", "ball"))
    wide, high = (half, half * rng.uniform(0.5, 2.0)) if kind == "board" else (half * 0.3, 8 * half)

    def sheet(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        z = -0.25 * wide * np.sin(np.pi * u)
        return np.stack(((u - 0.5) * 2 * wide, (v - 0.5) * 2 * high, z), 1)

    def ball(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b = u * 2 * np.pi, v * np.pi
        return half * np.stack((np.sin(b) * np.cos(a), np.cos(b), np.sin(b) * np.sin(a)), 1)

    mesh: Mesh = grid(17, 11, ball) if kind == "ball" else grid(9, 3, sheet)
    points = (mesh[0] + np.array([centre[0], centre[1], depth])).astype(np.float32)
    material = Material(
        tint=clothes_colour(str(rng.choice(list(CLOTHES))), rng),
        grain=float(rng.uniform(0, 0.3)),
        specular=0.05,
    )
    return Part(
        points=points,
        normals=smooth_normals(points, mesh[1]),
        faces=mesh[1],
        corner_uv=mesh[2][mesh[1]],
        material=material,
        owner=-1,
        is_head=np.zeros(len(mesh[1]), bool),
        extra=np.zeros(len(points), np.float32),
    )
