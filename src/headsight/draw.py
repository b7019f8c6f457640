"""Drawing detections: boxes, labels and head axes, legible from a thumbnail to a poster.

Head axes: red points to the head's own left ear (the right of the image for a frontal face), green
down to the chin, blue out of the face, so that yaw > 0 draws blue to the left and pitch > 0 draws
it up. They are the columns of the head-to-camera rotation (blue: minus the third; see
`headsight.geometry.rotations`) projected straight onto the image. A network's six numbers live in
another frame and are never drawn themselves.
"""

from __future__ import annotations

__all__ = ["AXIS_COLORS", "COLORS", "draw", "fit_to_screen", "pose_axes_2d"]

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headsight.draw_labels import draw_caption, draw_chips
from headsight.draw_masks import draw_mask

if TYPE_CHECKING:
    from headsight.detections import Detections

COLORS = ("#38bdf8", "#f59e0b", "#34d399", "#f472b6", "#a78bfa", "#facc15", "#fb7185", "#2dd4bf")
"""Of boxes, masks and chips: by label, or by place where masks have one label."""
AXIS_COLORS = ("#ef4444", "#22c55e", "#3b82f6")
"""Left ear, chin, out of the face."""

_SCREEN_PX = (480, 1600)
"""A picture for the screen has its longer side in this range."""
_MAX_TILE_PIXELS = 3_000_000
_SMOOTH = 4
"""Slanted lines are drawn at so many times the size and shrunk."""
_EDGE_ON = 0.18
"""An axis seen shorter than this share of its length is drawn as a spot."""


def draw(
    image: Image.Image,
    detections: Detections,
    *,
    chips: bool = True,
    axes: bool = True,
    caption: str | None = None,
) -> Image.Image:
    """A copy of `image` with every mask, box, key point, head axes and label; same size.

    `image` may be another size of the picture that the detections speak of: they are scaled to it.

    Args:
        image: the upright picture.
        detections: what to draw.
        chips: write a label at each box, where there is room for readable text.
        axes: draw the head axes where a pose was read.
        caption: words for a strip along the bottom, such as what was asked.
    """
    canvas = image.convert("RGB")  # always a copy
    scale = np.array(image.size) / np.array(detections.image_wh)
    boxes = detections.boxes * np.tile(scale, 2)
    hues = detections.labels
    if detections.masks is not None and len(detections.label_names) == 1:
        hues = np.arange(len(detections))  # masks that touch must not look like one
    colors = [COLORS[int(hue) % len(COLORS)] for hue in hues]
    # large places first, so that small ones stay visible
    order = np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(1), kind="stable")
    for i in order:
        if detections.masks is not None:
            is_coarse = bool(detections.is_coarse[i])
            draw_mask(canvas, detections.masks[i], colors[i], is_coarse=is_coarse)
    for i in order:
        _box(canvas, boxes[i], colors[i])
    for i in order:
        if detections.keypoints is not None:
            seen = detections.keypoints[i][detections.keypoints[i, :, 2] > 0, :2] * scale
            _points(canvas, seen, boxes[i], colors[i])
        if axes and detections.rotations is not None and np.isfinite(detections.rotations[i]).all():
            _axes(canvas, boxes[i], detections.rotations[i])
    taken = draw_caption(canvas, caption) if caption else None
    if chips:
        draw_chips(canvas, detections, boxes, colors, taken=taken)
    return canvas


def pose_axes_2d(rotation: Float[NDArray[Any], "3 3"]) -> Float[NDArray[Any], "3 2"]:
    """Image directions (x right, y down) of left ear, chin and face, each at most 1 long.

    Example:
        >>> pose_axes_2d(np.eye(3)).tolist()  # a frontal face looks straight out of the image
        [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    return _axes_3d(rotation)[:, :2]


def fit_to_screen(image: Image.Image) -> Image.Image:
    """`image` enlarged or shrunk so that its longer side suits a screen; itself where it does."""
    longer = max(image.size)
    wanted = min(max(longer, _SCREEN_PX[0]), _SCREEN_PX[1])
    if wanted == longer:
        return image
    width, height = (max(1, round(side * wanted / longer)) for side in image.size)
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class _Axis:
    """One head axis in a tile: from the middle to `tip_xy`, px."""

    color: str
    tip_xy: Float[NDArray[Any], " 2"]
    is_near: bool
    is_spot: bool
    has_head: bool


def _axes_3d(rotation: Float[NDArray[Any], "3 3"]) -> Float[NDArray[Any], "3 3"]:
    """Left ear, chin and face as rows x, y, z; z > 0 points away from the viewer."""
    return np.stack([rotation[:, 0], rotation[:, 1], -rotation[:, 2]]) + 0.0  # no negative zeros


def _line_width(image_wh: tuple[int, int], box: Float[NDArray[Any], " 4"]) -> float:
    """Thick enough for the picture, thin enough for the box; px, at least 1."""
    for_picture = max(1.0, math.sqrt(image_wh[0] * image_wh[1]) / 270)
    shorter = min(box[2] - box[0], box[3] - box[1])
    return max(1.0, for_picture * 0.45, min(for_picture, float(shorter) / 22))


def _box(canvas: Image.Image, box: Float[NDArray[Any], " 4"], color: str) -> None:
    """Level lines on whole pixels are sharp as they are; a thin dark rim shows on any ground."""
    line = round(_line_width(canvas.size, box))
    x1, y1 = np.floor(box[:2]).astype(int).tolist()
    x2, y2 = (np.ceil(box[2:]).astype(int) - 1).tolist()
    x2, y2 = max(x1, x2), max(y1, y2)
    pen = ImageDraw.Draw(canvas, "RGBA")
    rim = line // 3
    if rim:
        pen.rectangle((x1 - rim, y1 - rim, x2 + rim, y2 + rim), outline=(0, 0, 0, 90), width=rim)
    pen.rectangle((x1, y1, x2, y2), outline=color, width=line)


def _points(
    canvas: Image.Image,
    points: Float[NDArray[Any], "k 2"],
    box: Float[NDArray[Any], " 4"],
    color: str,
) -> None:
    radius = 1.3 * _line_width(canvas.size, box)
    side = int(2 * radius) + 5
    for x, y in points:
        left, top = int(x) - side // 2, int(y) - side // 2

        def paint(
            pen: ImageDraw.ImageDraw, f: int, x: float = x - left, y: float = y - top
        ) -> None:
            _disc(pen, (x * f, y * f), radius * 1.35 * f, "white")
            _disc(pen, (x * f, y * f), radius * f, color)

        _stamp(canvas, (left, top, left + side, top + side), paint)


def _axes(
    canvas: Image.Image, box: Float[NDArray[Any], " 4"], rotation: Float[NDArray[Any], "3 3"]
) -> None:
    width = _line_width(canvas.size, box) * 1.5
    length = 0.55 * math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    axes = _axes_3d(rotation)
    middle = (box[:2] + box[2:]) / 2
    tips = middle + axes[:, :2] * length
    reached = np.concatenate([tips, middle[None]])
    margin = 4 * width + 2
    corner = np.floor(reached.min(0) - margin).astype(int)
    left, top = corner.tolist()
    right, bottom = np.ceil(reached.max(0) + margin).astype(int).tolist()
    shown = [
        _Axis(
            AXIS_COLORS[i],
            tips[i] - corner,
            is_near=bool(axes[i, 2] <= 0),
            is_spot=bool(np.hypot(*axes[i, :2]) < _EDGE_ON),
            has_head=bool(i == 2),
        )
        for i in np.argsort(-axes[:, 2], kind="stable")  # the farthest first
    ]

    def paint(pen: ImageDraw.ImageDraw, factor: int) -> None:
        for axis in shown:
            _axis(pen, axis, middle - corner, width, factor)

    _stamp(canvas, (left, top, right, bottom), paint)


def _axis(
    pen: ImageDraw.ImageDraw,
    axis: _Axis,
    middle: Float[NDArray[Any], " 2"],
    width: float,
    factor: int,
) -> None:
    """A line on a white rim; the face axis ends in an arrow head, or in a spot seen end on.

    The spot is full where the axis comes towards the viewer and hollow where it goes away.
    """
    start = middle * factor
    tip = axis.tip_xy * factor
    wide = width * factor
    rim = 0.3 * wide
    if axis.is_spot:
        radius = wide * (1.9 if axis.has_head else 0.9)
        _disc(pen, tip, radius + rim, "white")
        _disc(pen, tip, radius, axis.color)
        if axis.has_head:
            _disc(pen, tip, radius * (0.3 if axis.is_near else 0.62), "white")
        return
    along = (tip - start) / max(float(np.hypot(*(tip - start))), 1e-9)
    across = np.array([-along[1], along[0]])
    head = min(wide * 4.2, float(np.hypot(*(tip - start)))) if axis.has_head else 0.0
    end = tip - along * head * 0.8

    def bar(half: float, more: float) -> list[tuple[float, ...]]:
        a, b = start - along * more, end + along * more
        return [
            tuple(p)
            for p in (a + across * half, b + across * half, b - across * half, a - across * half)
        ]

    def arrow(more: float) -> list[tuple[float, ...]]:
        base, half = tip - along * (head + more), head * 0.42 + more * 1.4
        return [
            tuple(p) for p in (tip + along * more * 2, base + across * half, base - across * half)
        ]

    for color, more in (("white", rim), (axis.color, 0.0)):
        pen.polygon(bar(wide / 2 + more, more), fill=color)
        _disc(pen, start, wide / 2 + more, color)
        if axis.has_head:
            pen.polygon(arrow(more), fill=color)
        else:
            _disc(pen, end, wide / 2 + more, color)


def _disc(pen: ImageDraw.ImageDraw, middle: Any, radius: float, color: str) -> None:
    x, y = float(middle[0]), float(middle[1])
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)


def _stamp(
    canvas: Image.Image,
    region: tuple[int, int, int, int],
    paint: Callable[[ImageDraw.ImageDraw, int], None],
) -> None:
    """Let `paint` fill a clear tile at a multiple of the size, and lay it over `region` smoothly.

    Only the tile is resampled: the pixels of the photograph stay as they are.
    """
    width, height = region[2] - region[0], region[3] - region[1]
    factor = max(1, min(_SMOOTH, int((_MAX_TILE_PIXELS / (width * height)) ** 0.5)))
    tile = Image.new("RGBA", (width * factor, height * factor), (255, 255, 255, 0))
    paint(ImageDraw.Draw(tile), factor)
    if factor > 1:
        tile = tile.reduce(factor)
    canvas.paste(tile, region[:2], tile)
