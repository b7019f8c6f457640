"""Small parametric meshes: grids, tubes, domes and brims.

Each function returns points (V, 3), triangles (F, 3) and texture coordinates (V, 2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headsight.data.synth.bodies import FloatArray, IntArray

__all__ = ["Mesh", "brim", "dome", "grid", "merge", "tube"]

Mesh = tuple[FloatArray, IntArray, FloatArray]


def grid(
    columns: int,
    rows: int,
    place: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    *,
    is_closed: bool = False,
) -> Mesh:
    """A sheet: `place(u, v)` gives (N, 3) points for u, v in [0, 1]; closed: u = 1 is u = 0."""
    u, v = (a.ravel() for a in np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows)))
    at = np.arange(columns * rows).reshape(rows, columns)
    if is_closed:
        at[:, -1] = at[:, 0]
    a, b, c, d = (x.ravel() for x in (at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]))
    faces = np.concatenate((np.stack((a, b, c), 1), np.stack((a, c, d), 1))).astype(np.int32)
    return place(u, v).astype(np.float32), faces, np.stack((u, v), 1).astype(np.float32)


def tube(path: NDArray[np.float64], radius: float, *, sides: int = 6) -> Mesh:
    """A round tube along the (N, 3) points of `path`."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    reference = np.where(np.abs(along[:, 1:2]) < 0.9, [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    side = np.cross(along, reference)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    other = np.cross(along, side)
    n = len(path)

    def place(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        k = np.round(v * (n - 1)).astype(int)
        angle = (u * 2 * np.pi)[:, None]
        result: NDArray[np.float64] = path[k] + radius * (
            np.cos(angle) * side[k] + np.sin(angle) * other[k]
        )
        return result

    return grid(sides + 1, n, place, is_closed=True)


def dome(
    radii: tuple[float, float, float],
    *,
    squareness: float = 2.0,
    ridge: float = 0.0,
    ridge_width: float = 0.1,
    droop: float = 0.0,
) -> Mesh:
    """Upper half of a (super)ellipsoid on the plane y = 0, top toward -y.

    Args:
        radii: x, y (height), z in metres.
        squareness: 2 is an ellipsoid, more has steeper sides and a flatter top.
        ridge: height of three ridges from front to back, metres.
        ridge_width: width of a ridge as a share of the width.
        droop: how far the rim hangs below y = 0 at the back, metres.
    """

    def place(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        angle, height = u * 2 * np.pi, v * np.pi / 2
        out, up = np.cos(height) ** (2 / squareness), np.sin(height) ** (2 / squareness)
        x, z = out * np.sin(angle), -out * np.cos(angle)
        bump = sum(np.exp(-(((x - c) / ridge_width) ** 2)) for c in (-0.33, 0.0, 0.33))
        lift = ridge * bump * np.sin(height) ** 0.5
        back = droop * np.clip(z, 0, 1) * (1 - v)
        points = np.stack((x * radii[0], -up * radii[1] - lift + back, z * radii[2]), 1)
        result: NDArray[np.float64] = points
        return result

    return grid(41, 13, place, is_closed=True)


def brim(
    radii: tuple[float, float],
    *,
    front: float,
    side: float,
    back: float,
    fall: float,
    thickness: float = 0.003,
) -> Mesh:
    """A ring round the ellipse `radii` (x, z) on y = 0 of the given widths, falling outward."""

    def place(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        angle = u * 2 * np.pi
        ahead = np.cos(angle)
        width = (
            side
            + (front - side) * np.clip(ahead, 0, 1) ** 1.5
            + (back - side) * np.clip(-ahead, 0, 1)
        )
        out = np.minimum(v * 2, 1.0)  # top sheet out, then the edge
        x, z = np.sin(angle) * (radii[0] + width * out), -ahead * (radii[1] + width * out)
        y = fall * width * out**1.5 + np.where(v > 0.6, thickness, 0.0)
        x, z = (
            np.where(v > 0.9, np.sin(angle) * radii[0], x),
            np.where(v > 0.9, -ahead * radii[1], z),
        )
        return np.stack((x, y, z), 1)

    return grid(41, 9, place, is_closed=True)


def merge(meshes: list[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0] + [len(m[0]) for m in meshes])
    return (
        np.concatenate([m[0] for m in meshes]),
        np.concatenate([m[1] + s for m, s in zip(meshes, starts[:-1], strict=True)]).astype(
            np.int32
        ),
        np.concatenate([m[2] for m in meshes]),
    )
