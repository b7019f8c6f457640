"""Places to whole steps and back: the one home of the arithmetic between pixels and digits."""

from __future__ import annotations

__all__ = [
    "angles_to_bins",
    "bins_to_angles",
    "bins_to_boxes",
    "bins_to_points",
    "boxes_to_bins",
    "points_to_bins",
]

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.language.spec import ANGLE_BINS, CodecSpec

Array = NDArray[Any]


def boxes_to_bins(
    boxes: Float[Array, "n 4"], spec: CodecSpec, image_wh: tuple[int, int] | None
) -> Int[Array, "n 4"]:
    """Steps of box edges; a box narrower than one step is widened to one, so that it can be read.

    Raises:
        InputError: not finite, no area, or no part inside the picture.
    """
    width, height = image_wh or (1, 1)
    limits = np.array((width, height, width, height), dtype=np.float64)
    inside = np.clip(boxes, 0, limits)
    is_usable = np.isfinite(boxes).all(-1) & (inside[:, 2:] > inside[:, :2]).all(-1)
    if not is_usable.all():
        bad = boxes[~is_usable][0].tolist()
        raise InputError(
            f"Box {bad} has no area inside a picture of {width}x{height}; expected x0 < x1 and"
            " y0 < y1. Drop such boxes before they are written as text."
        )
    bins = _to_steps(inside / limits * spec.steps, spec)
    low, high = bins[:, :2], bins[:, 2:]
    high = np.where(high > low, high, np.minimum(low + 1, spec.steps - 1))
    low = np.where(high > low, low, high - 1)
    return np.concatenate((low, high), -1)


def bins_to_boxes(
    bins: Float[Array, "n 4"], spec: CodecSpec, image_wh: tuple[int, int] | None
) -> Float[Array, "n 4"]:
    """Box edges in pixels of `image_wh`, or in [0, 1] without it."""
    scaled: Array = (bins if spec.rounding == "round" else bins + 0.5) * _step(spec.steps, image_wh)
    return scaled


def points_to_bins(
    points: Float[Array, "n 2"], spec: CodecSpec, image_wh: tuple[int, int] | None
) -> Int[Array, "n 2"]:
    """Steps of points; one outside the frame is moved to its border.

    Raises:
        InputError: not finite.
    """
    if not np.isfinite(points).all():
        raise InputError(
            f"Point {points[~np.isfinite(points).all(-1)][0].tolist()} is not finite; expected"
            " x, y. Leave hidden points out, or write `none`."
        )
    return _to_steps(points / np.asarray(image_wh or (1, 1), dtype=np.float64) * spec.steps, spec)


def bins_to_points(
    bins: Float[Array, "n 2"], spec: CodecSpec, image_wh: tuple[int, int] | None
) -> Float[Array, "n 2"]:
    """Points in pixels of `image_wh`, or in [0, 1) of the frame without it."""
    scale = np.asarray(image_wh or (1, 1), dtype=np.float64)
    return (bins + _half(spec)) * scale / spec.steps


def angles_to_bins(ypr_deg: Float[Array, "*batch 3"]) -> Int[Array, "*batch 3"]:
    """Whole degrees in 0..359.

    Raises:
        InputError: not finite.
    """
    if not np.isfinite(ypr_deg).all():
        raise InputError(
            f"Angles {ypr_deg.tolist()} are not finite; expected yaw, pitch, roll in degrees."
            " Leave heads without a pose out."
        )
    return np.rint(ypr_deg).astype(np.int64) % ANGLE_BINS


def bins_to_angles(bins: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """Degrees in (-180, 180] of angles in [-360, 360]."""
    turned = np.where(bins > ANGLE_BINS / 2, bins - ANGLE_BINS, bins)
    return np.where(turned <= -ANGLE_BINS / 2, turned + ANGLE_BINS, turned)


def _to_steps(scaled: Array, spec: CodecSpec) -> Array:
    whole = np.rint(scaled) if spec.rounding == "round" else np.floor(scaled)
    return np.clip(whole, 0, spec.steps - 1).astype(np.int64)


@lru_cache(maxsize=256)
def _step(steps: int, image_wh: tuple[int, int] | None) -> Array:
    """Width and height of one step, for both corners."""
    width, height = image_wh or (1, 1)
    return np.array((width, height, width, height), dtype=np.float64) / steps


def _half(spec: CodecSpec) -> float:
    return 0.0 if spec.rounding == "round" else 0.5
