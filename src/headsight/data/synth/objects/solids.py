"""Simple solids that objects are put together from, in the frame of an object.

The frame of an object: x forward, y to its own left, z up. Each function returns a `Mesh`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from headsight.data.synth.shapes import Mesh, grid

__all__ = [
    "Number",
    "Numbers",
    "Relief",
    "Vector",
    "bent",
    "blob",
    "block",
    "lathe",
    "loft",
    "turned",
    "vec",
]

Vector = NDArray[np.float64]
Number = int | float
Numbers = int | float | Sequence[Any] | NDArray[Any]
"""One number, a vector, or rows of them."""
Relief = Callable[[Vector, Vector], Vector]

CAP_RINGS = 4


def loft(
    path: Numbers,
    radii: Numbers,
    *,
    up: Numbers = (0.0, 0.0, 1.0),
    squareness: Number = 2.0,
    sides: int = 14,
    rings: int = 0,
    caps: tuple[Number, Number] = (1.0, 1.0),
    relief: Relief | None = None,
    axis: Numbers | None = None,
) -> Mesh:
    """A skin over rings along `path` (N, 3), smooth between them.

    Args:
        path: centres of the rings; never parallel to `up`.
        radii: (N,), or (N, 2): sideways and toward `up`.
        up: which way a ring's second axis points.
        squareness: 2 makes ellipses, more makes rounded boxes.
        sides: corners of a ring.
        rings: how many, 0 chooses.
        caps: how far the ends bulge, in radii; 0 closes them flat.
        relief: factor of the radius at (u around, v along), both in [0, 1].
        axis: rings stand across this direction; None is across the path.
    """
    spots = np.asarray(path, np.float64)
    sizes = np.asarray(radii, np.float64)
    if sizes.ndim == 1:
        sizes = np.stack((sizes, sizes), 1)
    centres, sizes = _resampled(spots, sizes, rings or 3 * (len(spots) - 1) + 1)
    along = np.gradient(centres, axis=0)
    if axis is not None:
        along = np.broadcast_to(np.asarray(axis, np.float64), along.shape).copy()
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    side = np.cross(np.asarray(up, np.float64), along)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-9)
    rows = _capped(centres, sizes, along, caps)
    upward = np.cross(along, side)
    n = len(rows)

    def place(u: Vector, v: Vector) -> Vector:
        row = np.round(v * (n - 1)).astype(int)
        at, centre, size = rows.ring[row], rows.centre[row], rows.size[row]
        angle = u * 2 * np.pi
        x, y = np.cos(angle), np.sin(angle)
        if squareness != 2:
            x, y = (np.sign(a) * np.abs(a) ** (2 / squareness) for a in (x, y))
        factor = 1.0 if relief is None else relief(u, at / max(len(centres) - 1, 1))[:, None]
        out = (x * size[:, 0])[:, None] * side[at] + (y * size[:, 1])[:, None] * upward[at]
        result: Vector = centre + factor * out
        return result

    return grid(sides + 1, n, place, is_closed=True)


def vec(x: Number, y: Number, z: Number) -> Vector:
    """(3,) forward, left, up."""
    return np.array([x, y, z], np.float64)


class _Rows:
    """Rings and the shrinking rings of the caps."""

    def __init__(self, ring: list[int], centre: list[Vector], size: list[Vector]) -> None:
        self.ring, self.centre, self.size = np.array(ring), np.array(centre), np.array(size)

    def __len__(self) -> int:
        return len(self.ring)


def _capped(centres: Vector, sizes: Vector, along: Vector, caps: tuple[Number, Number]) -> _Rows:
    ring, centre, size = (list(a) for a in (range(len(centres)), centres, sizes))
    for end, sign, cap in ((0, -1.0, caps[0]), (len(centres) - 1, 1.0, caps[1])):
        angles = np.linspace(0, np.pi / 2, CAP_RINGS + 1)[1:] if cap else [0.0, np.pi / 2]
        more = [
            (
                end,
                centres[end] + sign * cap * sizes[end].min() * np.sin(a) * along[end],
                sizes[end] * max(np.cos(a), 0.0),
            )
            for a in angles
        ]
        if sign < 0:
            more.reverse()
            ring = [m[0] for m in more] + ring
            centre = [m[1] for m in more] + centre
            size = [m[2] for m in more] + size
        else:
            ring += [m[0] for m in more]
            centre += [m[1] for m in more]
            size += [m[2] for m in more]
    return _Rows(ring, centre, size)


def _resampled(path: Vector, sizes: Vector, n: int) -> tuple[Vector, Vector]:
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    at = np.concatenate(([0.0], np.cumsum(np.maximum(steps, 1e-6))))
    both = np.concatenate((path, sizes), 1)
    wanted = np.linspace(0, at[-1], n)
    if len(path) > 2:
        values = PchipInterpolator(at, both)(wanted)
    else:
        share = (wanted / at[-1])[:, None]
        values = both[:1] * (1 - share) + both[1:] * share
    return values[:, :3], values[:, 3:]


def blob(centre: Numbers, radii: Numbers, turn: Vector | None = None) -> Mesh:
    """An ellipsoid; `turn` (3, 3) rotates it about its centre."""
    middle = np.asarray(centre, np.float64)
    size = np.broadcast_to(np.asarray(radii, np.float64), (3,))

    def place(u: Vector, v: Vector) -> Vector:
        a, b = u * 2 * np.pi, v * np.pi
        points = size * np.stack((np.sin(b) * np.cos(a), np.sin(b) * np.sin(a), np.cos(b)), 1)
        result: Vector = middle + (points if turn is None else points @ turn.T)
        return result

    return grid(15, 9, place, is_closed=True)


def block(
    centre: Numbers,
    size: Numbers,
    *,
    turn: Vector | None = None,
    top: tuple[Number, Number] = (1.0, 1.0),
) -> Mesh:
    """A box of full `size` (x, y, z) with sharp edges; its upper face is `top` times as large."""
    share = (_CUBE[:, 2:] + 1) / 2
    points = _CUBE.copy()
    points[:, :2] *= 1 - share + share * np.array(top)
    points *= np.asarray(size, np.float64) / 2
    if turn is not None:
        points = points @ turn.T
    moved = (points + np.asarray(centre, np.float64)).astype(np.float32)
    return moved, _CUBE_FACES.copy(), _CUBE_UV.copy()


def _cube() -> Mesh:
    """The cube from -1 to 1; every side has corners of its own, so that its edges are sharp."""
    points: list[Vector] = []
    faces: list[tuple[int, int, int]] = []
    uv: list[tuple[int, int]] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            start = len(points)
            for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
                corner = np.empty(3)
                corner[[axis, (axis + 1) % 3, (axis + 2) % 3]] = sign, 2 * u - 1, 2 * v - 1
                points.append(corner)
                uv.append((u, v))
            faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
    return np.array(points, np.float32), np.array(faces, np.int32), np.array(uv, np.float32)


_CUBE_POINTS, _CUBE_FACES, _CUBE_UV = _cube()
_CUBE = _CUBE_POINTS.astype(np.float64)


def lathe(
    profile: Numbers,
    *,
    origin: Numbers = (0.0, 0.0, 0.0),
    axis: Numbers = (0.0, 0.0, 1.0),
    sides: int = 22,
) -> Mesh:
    """`profile` (N, 2) of radius and height, turned round `axis`; a repeated point is an edge."""
    outline = np.asarray(profile, np.float64)
    pole = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    helper = np.array([1.0, 0, 0]) if abs(pole[0]) < 0.9 else np.array([0, 1.0, 0])
    side = np.cross(pole, helper)
    side /= np.linalg.norm(side)
    other = np.cross(pole, side)
    n = len(outline)

    def place(u: Vector, v: Vector) -> Vector:
        r, height = outline[np.round(v * (n - 1)).astype(int)].T
        a = u * 2 * np.pi
        result: Vector = (
            np.asarray(origin, np.float64)
            + (r * np.cos(a))[:, None] * side
            + (r * np.sin(a))[:, None] * other
            + height[:, None] * pole
        )
        return result

    return grid(sides + 1, n, place, is_closed=True)


def turned(*, yaw: Number = 0.0, pitch: Number = 0.0, roll: Number = 0.0) -> Vector:
    """(3, 3) rotation, degrees: yaw to the left, pitch upward, roll to the right, in this order."""
    a, b, c = np.radians((yaw, pitch, roll))
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(b), 0, -np.sin(b)], [0, 1, 0], [np.sin(b), 0, np.cos(b)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    result: Vector = about_z @ about_y @ about_x
    return result


def bent(
    start: Numbers, end: Numbers, lengths: tuple[float, float], toward: Numbers
) -> tuple[Vector, Vector]:
    """The joint between two bones from `start` toward `end`, and where the second bone ends.

    The joint leaves the straight line in the direction `toward`; `end` is reached where the bones
    are long enough.
    """
    a = np.asarray(start, np.float64)
    line = np.asarray(end, np.float64) - a
    reach = float(np.linalg.norm(line))
    line = line / max(reach, 1e-9)
    first, second = lengths
    reach = float(np.clip(reach, abs(first - second) + 1e-6, (first + second) * 0.999))
    along = (first**2 - second**2 + reach**2) / (2 * reach)
    out = np.asarray(toward, np.float64)
    out = out - (out @ line) * line
    out /= max(float(np.linalg.norm(out)), 1e-9)
    joint: Vector = a + along * line + max(first**2 - along**2, 0.0) ** 0.5 * out
    tip: Vector = a + reach * line
    return joint, tip
