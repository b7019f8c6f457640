"""Where an object stands before the camera, so that it fills the wanted place of the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from headsight.data.synth.bodies import FloatArray
from headsight.data.synth.objects.category import View
from headsight.data.synth.objects.kit import Model
from headsight.data.synth.objects.solids import Number, Vector, turned
from headsight.data.synth.trace import Camera

__all__ = ["FACING", "Stand", "ground_shadow", "stand", "view_rotation"]

FACING = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
"""From an object's axes to the camera's, for an object that faces the camera."""
NEAREST = 0.75
"""Metres from the camera to the middle of an object of radius 0.5."""


@dataclass(frozen=True)
class Stand:
    """An object in camera space."""

    model: Model
    rotation: Vector
    """(3, 3)."""
    shift: Vector
    """(3,)."""
    view_deg: tuple[float, float, float]
    points: Vector
    """(V, 3) all vertices."""

    def to_camera(self, points: Vector) -> Vector:
        """Points of the object in camera space."""
        result: Vector = points @ self.rotation.T + self.shift
        return result


def view_rotation(azimuth_deg: Number, elevation_deg: Number, roll_deg: Number) -> Vector:
    """(3, 3) from an object's axes to the camera's.

    Example:
        >>> np.round(view_rotation(0, 0, 0) @ [0, 1, 0], 6).tolist()  # its left is at the right
        [1.0, 0.0, 0.0]
    """
    a, b = np.radians((elevation_deg, roll_deg))
    tilt = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    roll = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    result: Vector = roll @ tilt @ FACING @ turned(yaw=azimuth_deg)
    return result


def stand(
    rng: np.random.Generator,
    model: Model,
    view: View,
    camera: Camera,
    longer_px: float,
    *,
    cut: bool,
) -> Stand:
    """`model` seen as `view` allows, `longer_px` large, somewhere in the picture.

    `cut`: up to a third of it may lie outside.
    """
    angles = (
        float(rng.uniform(*view.azimuth)),
        float(rng.uniform(*view.elevation)),
        float(rng.uniform(-180, 180) if view.roll >= 180 else rng.normal(0, view.roll)),
    )
    rotation = view_rotation(*angles)
    turned_points = model.points @ rotation.T
    shift = np.array([0.0, 0.0, max(camera.focal_px / longer_px, NEAREST)])
    middle = np.array(camera.image_wh) / 2
    # Moving aside changes what a near object looks like, so size and place are found in turns.
    goal = middle
    for turn in range(6):
        low, high = _extent(camera, turned_points + shift)
        shift[2] = max(NEAREST, shift[2] * float((high - low).max()) / longer_px)
        low, high = _extent(camera, turned_points + shift)
        shift[:2] += (goal - (low + high) / 2) / camera.focal_px * shift[2]
        if turn == 2:
            goal = middle + _offset(rng, high - low, camera, cut=cut)
    return Stand(model, rotation, shift, angles, turned_points + shift)


def _offset(rng: np.random.Generator, size: Vector, camera: Camera, *, cut: bool) -> Vector:
    """From the picture's middle to that of an object of `size` px."""
    room = np.maximum(np.array(camera.image_wh) - size, 0)
    offset: Vector = rng.uniform(-0.5, 0.5, 2) * room
    if cut:
        side = int(rng.integers(2))
        beyond = rng.uniform(0.1, 0.33) * size[side] + room[side] / 2
        offset[side] = beyond * rng.choice((-1, 1))
    return offset


def _extent(camera: Camera, points: Vector) -> tuple[Vector, Vector]:
    at = camera.project(points)
    return at.min(0), at.max(0)


def ground_shadow(standing: Stand, camera: Camera, strength: float) -> FloatArray:
    """(H, W) factor of the background's light: a soft shadow on the floor below an object."""
    w, h = camera.image_wh
    flat = standing.model.points
    height = flat[:, 2] - standing.model.ground
    flat = flat[height < 0.5]
    flat = np.column_stack((flat[:, :2], np.full(len(flat), standing.model.ground)))
    at = np.round(camera.project(standing.to_camera(flat))).astype(int)
    inside = (at >= 0).all(1) & (at < (w, h)).all(1)
    dark = np.zeros((h, w), np.float32)
    dark[at[inside, 1], at[inside, 0]] = 1
    spread = max(2.0, 0.02 * camera.focal_px / standing.shift[2])
    dark = ndimage.gaussian_filter(dark, spread)
    peak = float(np.quantile(dark[at[inside, 1], at[inside, 0]], 0.7)) if inside.any() else 0.0
    result: FloatArray = 1 - np.float32(strength) * np.clip(dark / max(peak, 1e-6), 0, 1)
    return result
