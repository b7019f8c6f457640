"""The best score that an answer written in digits can reach: what the text format alone costs.

Small objects in large pictures are limited by the number of digits; a benchmark that shows no
ceiling beside its figure blames the model for the format.
"""

from __future__ import annotations

__all__ = ["COCO_SIGMAS", "text_ceiling"]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.geometry.rotations import geodesic_deg, wrap_deg, ypr_to_matrix
from headsight.language.quantize import (
    angles_to_bins,
    bins_to_angles,
    bins_to_boxes,
    bins_to_points,
    boxes_to_bins,
    points_to_bins,
)
from headsight.language.spec import CodecSpec

COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
"""Spread of the 17 key points of COCO, nose to ankles."""
PCK_SHARES = (0.05, 0.1)

Array = NDArray[Any]


def text_ceiling(
    spec: CodecSpec,
    image_wh: tuple[int, int] = (1, 1),
    object_side: int | float = 1.0,
    *,
    half_step: bool = True,
    samples: int = 50_000,
    seed: int = 0,
) -> dict[str, float]:
    """Scores of a perfect answer under `spec`, by drawing places and writing and reading them.

    Args:
        spec: the format; a crop frame makes `image_wh` and `object_side` the crop's own, 1 by 1.
        image_wh: size of the frame that the numbers divide.
        object_side: side of a square object in the same unit.
        half_step: False reads floored numbers without their half step, as much existing code does.
        samples: how many places are drawn.
        seed: of the draw.

    Returns:
        boxes: `iou`. points: `error_mean`, `error_max` (shares of the side), `pck@0.05`,
        `pck@0.1`, `oks` (17 COCO points, area = side squared). pose: `mae`, `geodesic_mean`,
        `geodesic_max`, degrees. count: `error_mean` 0.

    Raises:
        InputError: an object larger than the frame, or no samples.
    """
    if not 0 < object_side <= min(image_wh) or samples < 1:
        raise InputError(
            f"An object of side {object_side} in a frame of {image_wh[0]}x{image_wh[1]} with"
            f" {samples} samples cannot be drawn. Give 0 < side <= the frame, and samples > 0."
        )
    generator = np.random.default_rng(seed)
    frame = (1, 1) if spec.frame == "crop" else image_wh
    side = 1.0 if spec.frame == "crop" else float(object_side)
    lost = 0.0 if half_step or spec.rounding == "round" else 0.5 / spec.steps
    if spec.kind == "count":
        return {"error_mean": 0.0}
    if spec.kind == "pose":
        return _pose_ceiling(generator, samples)
    if spec.kind == "boxes":
        return _box_ceiling(spec, frame, side, lost, generator, samples)
    return _point_ceiling(spec, frame, side, lost, generator, samples)


def _box_ceiling(
    spec: CodecSpec,
    frame: tuple[int, int],
    side: float,
    lost: float,
    generator: np.random.Generator,
    samples: int,
) -> dict[str, float]:
    corner = generator.random((samples, 2)) * (np.array(frame) - side)
    boxes = np.concatenate((corner, corner + side), -1)
    read = bins_to_boxes(boxes_to_bins(boxes, spec, frame).astype(np.float64), spec, frame)
    read = read - lost * np.array(frame * 2)
    return {"iou": float(_paired_iou(boxes, read).mean())}


def _point_ceiling(
    spec: CodecSpec,
    frame: tuple[int, int],
    side: float,
    lost: float,
    generator: np.random.Generator,
    samples: int,
) -> dict[str, float]:
    # Rounding would move the last half step in from the border; it is left out of the draw.
    reach = 1.0 if spec.rounding == "floor" else 1.0 - 0.5 / spec.steps
    points = generator.random((samples, 2)) * reach * np.array(frame)
    read = bins_to_points(points_to_bins(points, spec, frame).astype(np.float64), spec, frame)
    distance = np.hypot(*(read - lost * np.array(frame) - points).T) / side
    scores = {"error_mean": float(distance.mean()), "error_max": float(distance.max())}
    scores |= {f"pck@{share}": float((distance <= share).mean()) for share in PCK_SHARES}
    spread = 2 * np.array(COCO_SIGMAS)
    likeness = np.exp(-(distance[:, None] ** 2) / (2 * spread**2))
    return scores | {"oks": float(likeness.mean())}


def _pose_ceiling(generator: np.random.Generator, samples: int) -> dict[str, float]:
    limits = np.array((180.0, 90.0, 90.0))
    ypr_deg = (2 * generator.random((samples, 3)) - 1) * limits
    read = bins_to_angles(angles_to_bins(ypr_deg).astype(np.float64))
    error = geodesic_deg(ypr_to_matrix(read), ypr_to_matrix(ypr_deg))
    return {
        "mae": float(np.abs(wrap_deg(read - ypr_deg)).mean()),
        "geodesic_mean": float(error.mean()),
        "geodesic_max": float(error.max()),
    }


def _paired_iou(a: Array, b: Array) -> Array:
    overlap = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    both = overlap.clip(0).prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - both
    return np.asarray(both / union)
