"""Words on pictures: a chip at every box, set where it hides least, and a caption strip."""

from __future__ import annotations

__all__ = ["draw_caption", "draw_chips"]

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headsight.font import font_of

if TYPE_CHECKING:
    from headsight.detections import Detections

Rect = tuple[float, float, float, float]

_SMALLEST_POINTS = 9.0
"""Smaller text cannot be read."""
_LONGEST_NAME = 40
_INK = "#0b1220"


def draw_chips(
    canvas: Image.Image,
    detections: Detections,
    boxes: Float[NDArray[Any], "n 4"],
    colors: Sequence[str],
    *,
    taken: Rect | None = None,
) -> None:
    """Write a label on a coloured chip at each box, inside the picture; best scores choose first.

    A chip covers no other chip: where every spot is taken a shorter text is tried, and then the
    place goes without. `boxes` are in px of `canvas`; `taken` is left free.
    """
    used = [] if taken is None else [taken]
    for i in np.argsort(-detections.scores, kind="stable"):
        others = np.delete(boxes, i, axis=0)
        for text in _texts(detections, int(i)):
            if _try_chip(canvas, text, boxes[i], others, colors[i], used):
                break


def draw_caption(canvas: Image.Image, words: str) -> Rect | None:
    """Write `words` on a dark strip along the bottom; the strip, or None without room for it."""
    width, height = canvas.size
    points = _picture_points(canvas.size) * 1.15
    font = font_of(points)
    pad = points * 0.5
    text = _fitted(_one_line(words), font, width - 2 * pad)
    strip_height = points * 1.9
    if not text or strip_height > height / 3:
        return None
    strip = (0.0, height - strip_height, float(width), float(height))
    pen = ImageDraw.Draw(canvas, "RGBA")
    pen.rectangle(strip, fill=(11, 18, 32, 190))
    pen.text((pad, height - strip_height / 2), text, fill="white", font=font, anchor="lm")
    return strip


def _picture_points(image_wh: tuple[int, int]) -> float:
    """The size of text that suits the picture."""
    return max(_SMALLEST_POINTS, math.sqrt(image_wh[0] * image_wh[1]) / 36)


def _texts(detections: Detections, index: int) -> list[str]:
    """What the chip may say, the fullest first."""
    score = f"{detections.scores[index]:.2f}"
    name = _one_line(detections.names[index])
    if len(name) > _LONGEST_NAME:
        name = name[: _LONGEST_NAME - 1] + "…"
    number = f"#{index + 1}"  # of the row in the table
    said = f"{number}  " if len(detections) > 1 else ""
    pose = detections.poses[index]
    if not np.isfinite(pose).all():
        told = f"{said}{name}"
        if detections.is_coarse[index]:
            return [f"{told}  {score}  coarse mask", f"{told}  coarse mask", f"{number} coarse"]
        return [f"{told}  {score}", told, number]
    yaw, pitch, roll = (f"{round(float(v)) + 0}°" for v in pose)
    said += "" if detections.label_names == ("head",) else f"{name}  "
    return [
        f"{said}yaw {yaw}  pitch {pitch}  roll {roll}  ({score})",
        f"{said}{yaw} {pitch} {roll}  ({score})",
        f"{said}{yaw} {pitch} {roll}",
        number,
    ]


def _try_chip(
    canvas: Image.Image,
    text: str,
    box: Float[NDArray[Any], " 4"],
    others: Float[NDArray[Any], "m 4"],
    color: str,
    used: list[Rect],
) -> bool:
    """Whether the chip found a spot; it is then drawn and its spot used."""
    wide = float(box[2] - box[0])
    most = _picture_points(canvas.size)
    least = max(_SMALLEST_POINTS, most * 0.55)
    font = font_of(most)
    # as large as the picture wants, smaller where it would be much wider than its box
    fitting = most * 1.5 * wide / max(font.getlength(text), 1.0)
    points = round(max(least, min(most, fitting)), 1)
    font = font_of(points)
    pad = points * 0.3
    width, height = font.getlength(text) + 2 * pad, points * 1.3
    is_much_wider = width > max(2.0 * wide, 4 * points)
    if width > canvas.width or height > canvas.height / 3 or is_much_wider:
        return False
    spot = _best_spot(canvas.size, (width, height), box, others, used)
    if spot is None:
        return False
    x, y = spot
    used.append((x, y, x + width, y + height))
    pen = ImageDraw.Draw(canvas)
    corners = (round(x), round(y), round(x + width) - 1, round(y + height) - 1)
    pen.rounded_rectangle(corners, radius=points * 0.25, fill=color)
    middle = ((corners[0] + corners[2] + 1) / 2, (corners[1] + corners[3] + 1) / 2)
    pen.text(middle, text, fill=_INK, font=font, anchor="mm")
    return True


def _best_spot(
    image_wh: tuple[int, int],
    chip_wh: tuple[float, float],
    box: Float[NDArray[Any], " 4"],
    others: Float[NDArray[Any], "m 4"],
    used: list[Rect],
) -> tuple[float, float] | None:
    """The corner of the free spot that hides least of other boxes and of this one."""
    x1, y1, x2, y2 = (float(v) for v in box)
    width, height = chip_wh
    right, bottom = image_wh[0] - width, image_wh[1] - height
    lefts = [min(max(x, 0.0), right) for x in (x1, (x1 + x2 - width) / 2, x2 - width)]
    rows = [y1 - height, y2, y1, y2 - height]  # above, below, inside at the top, at the bottom
    spots = [(x, y) for y in rows for x in lefts]
    spots += [(x, y) for x in (x2, x1 - width) for y in (y1, y2 - height)]  # at the sides
    best, least = None, np.inf
    for preference, (x, y) in enumerate(spots):
        rect = (x, y, x + width, y + height)
        if not (0 <= x <= right and 0 <= y <= bottom) or any(_overlap(rect, u) for u in used):
            continue
        hidden = sum(_overlap(rect, other) for other in others) + 0.5 * _overlap(rect, box)
        cost = hidden / (width * height) + 0.01 * preference
        if cost < least:
            best, least = (x, y), cost
    return best


def _overlap(a: Any, b: Any) -> float:
    """Area that two rectangles share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, float(width)) * max(0.0, float(height))


def _one_line(text: str) -> str:
    """`text` without line breaks and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _fitted(text: str, font: Any, width: float) -> str:
    """`text` cut with an ellipsis to `width` px; empty where not even a few letters fit."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[: max(0, min(len(text) - 1, int(len(text) * 0.95)))]
    return text.rstrip() + "…" if len(text) > 2 else ""
