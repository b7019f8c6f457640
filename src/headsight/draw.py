"""Drawing detections: boxes, labels and head axes, legible on any picture from a thumbnail to a poster.

Head axes: red points to the head's left ear (the image right of a frontal face), green down to the chin, blue out of the
face. They are the columns of the head-to-camera rotation (see `headsight.geometry.rotations`), projected straight
onto the image; the network's six numbers are never drawn themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from headsight.detections import Detections

__all__ = ["COLORS", "draw", "pose_axes_2d"]

COLORS = ("#38bdf8", "#f59e0b", "#34d399", "#f472b6", "#a78bfa", "#facc15", "#fb7185", "#2dd4bf")
AXIS_COLORS = ("#ef4444", "#22c55e", "#2563eb")
_SMOOTH = 2
"""Drawn at so many times the size and shrunk, so that slanted lines are smooth."""
_MAX_SMOOTH_PIXELS = 8_000_000


def pose_axes_2d(rotation: Float[NDArray[Any], "3 3"]) -> Float[NDArray[Any], "3 2"]:
    """Image directions (x right, y down) of the head's left, down and forward axes, each at most of length 1.

    Example:
        >>> pose_axes_2d(np.eye(3)).tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    axes = np.stack([rotation[:, 0], rotation[:, 1], -rotation[:, 2]])
    return axes[:, :2] + 0.0  # no negative zeros


def draw(image: Image.Image, detections: Detections, *, names: bool = True) -> Image.Image:
    """A copy of `image` with every box, its label and its head axes; same size."""
    factor = _SMOOTH if image.width * image.height <= _MAX_SMOOTH_PIXELS else 1
    canvas = image.convert("RGB").resize((image.width * factor, image.height * factor))
    pen = ImageDraw.Draw(canvas)
    shorter = min(image.size)
    base = max(1.0, shorter / 260) * factor
    taken: list[tuple[float, float, float, float]] = []
    # large boxes first, so that small ones stay visible
    areas = (detections.boxes[:, 2:] - detections.boxes[:, :2]).prod(1)
    order = np.argsort(-areas)
    for i in order:
        color = COLORS[int(detections.labels[i]) % len(COLORS)]
        x1, y1, x2, y2 = (float(v) * factor for v in detections.boxes[i])
        line = max(1.0, min(base * 1.6, min(x2 - x1, y2 - y1) / 12))
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color, width=round(line))
        if detections.rotations is not None and np.isfinite(detections.rotations[i]).all():
            _axes(pen, (x1, y1, x2, y2), detections.rotations[i], line * 1.3)
    if names:
        for i in order[::-1]:
            _chip(pen, canvas.size, detections, int(i), factor, taken)
    return canvas.resize(image.size, Image.Resampling.LANCZOS) if factor > 1 else canvas


def _axes(
    pen: ImageDraw.ImageDraw,
    box: tuple[float, float, float, float],
    rotation: NDArray[Any],
    width: float,
) -> None:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    length = 0.55 * max(box[2] - box[0], box[3] - box[1])
    directions = pose_axes_2d(rotation)
    depth = np.array([rotation[2, 0], rotation[2, 1], -rotation[2, 2]])
    for axis in np.argsort(-depth):  # the farthest first
        dx, dy = directions[axis] * length
        pen.line((x, y, x + dx, y + dy), fill="white", width=round(width * 1.9))
        pen.line((x, y, x + dx, y + dy), fill=AXIS_COLORS[axis], width=max(1, round(width)))
        radius = width * 1.1
        tip = (x + dx - radius, y + dy - radius, x + dx + radius, y + dy + radius)
        pen.ellipse(tip, fill=AXIS_COLORS[axis])


def _chip(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    detections: Detections,
    index: int,
    factor: int,
    taken: list[tuple[float, float, float, float]],
) -> None:
    """The label on a coloured plate, above the box or wherever there is room; left out where it cannot be read."""
    x1, y1, x2, y2 = (float(v) * factor for v in detections.boxes[index])
    shorter = min(size)
    points = max(9.0 * factor, min(shorter / 30, (x2 - x1) / 4.5))
    if shorter < 64 * factor:
        return
    font = ImageFont.load_default(points)
    text = _label(detections, index)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pad = points * 0.22
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(max(0.0, x1), max(0.0, size[0] - width))
    spots = [(x, y1 - height), (x, y2), (x, y1), (min(x2, size[0] - width), y1), (x, y2 - height)]
    inside = [(px, py) for px, py in spots if 0 <= py and py + height <= size[1] and px >= 0]
    free = [
        (px, py)
        for px, py in inside
        if not any(
            px < b[2] and px + width > b[0] and py < b[3] and py + height > b[1] for b in taken
        )
    ]
    if not free:
        return
    px, py = free[0]
    taken.append((px, py, px + width, py + height))
    color = COLORS[int(detections.labels[index]) % len(COLORS)]
    pen.rectangle((px, py, px + width, py + height), fill=color)
    pen.text((px + pad - left, py + pad - top), text, fill="#0b1220", font=font)


def _label(detections: Detections, index: int) -> str:
    pose = detections.poses[index]
    if np.isfinite(pose).all():
        yaw, pitch, roll = (round(float(v)) for v in pose)
        return f"{yaw:+d} {pitch:+d} {roll:+d}"
    return f"{detections.label_names[int(detections.labels[index])]} {detections.scores[index]:.2f}"
