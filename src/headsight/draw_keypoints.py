"""Drawing keypoints: skeleton, points and names; the own left and right in two colours."""

from __future__ import annotations

__all__ = ["SIDE_COLORS", "draw_keypoints", "frame_object"]

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headsight.font import font_of

if TYPE_CHECKING:
    from headsight.language.schema import KeypointSchema

SIDE_COLORS = {"left": "#38bdf8", "right": "#f59e0b", "middle": "#34d399"}
"""Of the object's own left, its own right, and all that has no side."""

_SMOOTH = 3
"""Lines are drawn at so many times the size and shrunk."""
_MOST_SMOOTHED_PX = 4_000_000
_SMALLEST_POINTS = 9.0
_REACHES = (1.0, 1.8, 3.0, 4.5, 6.5, 9.0, 12.0)
"""How far from its point a name may stand, in heights of a line."""
_DIRECTIONS = 16
_PAPER = (11, 18, 32, 200)

Rect = tuple[float, float, float, float]


def draw_keypoints(
    image: Image.Image,
    points: Float[NDArray[Any], "k 2"],
    schema: KeypointSchema,
    *,
    visible: Bool[NDArray[np.bool_], " k"] | None = None,
    names: bool = True,
) -> Image.Image:
    """A copy of `image` with the edges, points and names of one object; same size.

    A name stands where it covers no other name and no point, with a line to its point where it
    stands apart; where there is no such place it is the point's number, from 0, or nothing.

    Args:
        image: the upright picture.
        points: x, y in px of `image`; those that are not finite are left out.
        schema: of as many points.
        visible: which points are drawn; all by default.
        names: write the names.
    """
    canvas = image.convert("RGB")  # always a copy
    shown = np.isfinite(points).all(1) & (True if visible is None else visible)
    sides = _sides(schema)
    size = max(1.5, math.sqrt(canvas.width * canvas.height) / 320)
    chips = _chips(canvas.size, points, schema, shown, size) if names else {}
    _lines_and_dots(canvas, points, schema, shown, sides, size, chips)
    font, pen = font_of(_font_size(size)), ImageDraw.Draw(canvas, "RGBA")
    for place, (text, (x1, y1, x2, y2)) in chips.items():
        pen.rounded_rectangle((x1, y1, x2, y2), radius=(y2 - y1) / 5, fill=_PAPER)
        middle = ((x1 + x2) / 2, (y1 + y2) / 2)
        pen.text(middle, text, fill=SIDE_COLORS[sides[place]], font=font, anchor="mm")
    return canvas


def frame_object(
    image: Image.Image,
    points: Float[NDArray[Any], "k 2"],
    *,
    margin: float = 0.25,
    longer_px: int = 1400,
) -> tuple[Image.Image, Float[NDArray[np.float64], "k 2"]]:
    """The part of a picture around some points, enlarged or shrunk, and the points in it.

    Args:
        image: the upright picture.
        points: x, y in px, finite; at least one.
        margin: around the points, as a share of their extent's longer side.
        longer_px: longer side of the result.
    """
    low, high = points.min(0), points.max(0)
    around = margin * max(float((high - low).max()), 16.0)
    x1, y1 = np.clip(np.floor(low - around), 0, np.array(image.size) - 1).astype(int).tolist()
    x2, y2 = (np.ceil(high + around)).astype(int).tolist()
    x2, y2 = max(x1 + 1, min(x2, image.width)), max(y1 + 1, min(y2, image.height))
    part = image.convert("RGB").crop((x1, y1, x2, y2))
    scale = longer_px / max(part.size)
    wanted = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    moved = (np.asarray(points, np.float64) - (x1, y1)) * (np.array(wanted) / np.array(part.size))
    return part.resize(wanted, Image.Resampling.LANCZOS), moved


def _sides(schema: KeypointSchema) -> list[str]:
    found = []
    for name in schema.names:
        words = set(name.lower().replace("_", " ").split()) & {"left", "right"}
        found.append(words.pop() if len(words) == 1 else "middle")
    return found


def _lines_and_dots(
    canvas: Image.Image,
    points: Float[NDArray[Any], "k 2"],
    schema: KeypointSchema,
    shown: Bool[NDArray[np.bool_], " k"],
    sides: list[str],
    size: float,
    chips: dict[int, tuple[str, Rect]],
) -> None:
    factor = _SMOOTH if canvas.width * canvas.height <= _MOST_SMOOTHED_PX else 1
    layer = Image.new("RGBA", (canvas.width * factor, canvas.height * factor), (255, 255, 255, 0))
    pen = ImageDraw.Draw(layer)
    for place, (_, (x1, y1, x2, y2)) in chips.items():  # under the dots, to their own chips
        x, y = float(points[place, 0]), float(points[place, 1])
        ends = [(x * factor, y * factor)]
        ends.append((min(max(x, x1), x2) * factor, min(max(y, y1), y2) * factor))
        pen.line(ends, fill=SIDE_COLORS[sides[place]], width=factor)
    for first, second in schema.skeleton:
        if shown[first] and shown[second]:
            ends = [(float(x) * factor, float(y) * factor) for x, y in points[[first, second]]]
            side = sides[first] if sides[first] == sides[second] else "middle"
            pen.line(ends, fill=(255, 255, 255, 150), width=round(2.2 * size * factor))
            pen.line(ends, fill=SIDE_COLORS[side], width=max(1, round(1.2 * size * factor)))
    for index in np.flatnonzero(shown):
        place = int(index)
        x, y = float(points[place, 0]) * factor, float(points[place, 1]) * factor
        for color, radius in (("white", 2.6 * size), (SIDE_COLORS[sides[place]], 1.9 * size)):
            r = radius * factor
            pen.ellipse((x - r, y - r, x + r, y + r), fill=color)
    small = layer.reduce(factor) if factor > 1 else layer
    canvas.paste(small, (0, 0), small)


def _chips(
    image_wh: tuple[int, int],
    points: Float[NDArray[Any], "k 2"],
    schema: KeypointSchema,
    shown: Bool[NDArray[np.bool_], " k"],
    size: float,
) -> dict[int, tuple[str, Rect]]:
    """The words at each point and where they stand."""
    font_size = _font_size(size)
    font = font_of(font_size)
    dot = 2.6 * size
    places = np.flatnonzero(shown)
    used: list[Rect] = [_around(points[place], dot) for place in places]
    middle = points[places].mean(0) if len(places) else np.zeros(2)
    chips = {}
    # the outermost first: they can stand outside, and leave the inside free
    for place in sorted(places, key=lambda p: -float(np.hypot(*(points[p] - middle)))):
        for text in (schema.names[place], str(place)):
            chip_wh = (font.getlength(text) + font_size * 0.5, font_size * 1.25)
            spot = _spot(image_wh, points[place], chip_wh, middle, used)
            if spot is not None:
                used.append(spot)
                chips[int(place)] = (text, spot)
                break
    return chips


def _spot(
    image_wh: tuple[int, int],
    point: Float[NDArray[Any], " 2"],
    chip_wh: tuple[float, float],
    middle: Float[NDArray[Any], " 2"],
    used: list[Rect],
) -> Rect | None:
    """The nearest free place for a chip, outward from the middle of the object where it can."""
    width, height = chip_wh
    outward = math.atan2(*(point - middle)[::-1])
    turns = sorted(range(_DIRECTIONS), key=lambda turn: min(turn, _DIRECTIONS - turn))
    for reach in _REACHES:
        for turn in turns:
            angle = outward + 2 * math.pi * turn / _DIRECTIONS
            x = float(point[0]) + math.cos(angle) * (reach * height + width / 2)
            y = float(point[1]) + math.sin(angle) * reach * height * 1.2
            rect = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            is_inside = rect[0] >= 0 and rect[1] >= 0 and rect[2] < image_wh[0]
            is_inside = is_inside and rect[3] < image_wh[1]
            if is_inside and not any(_meet(rect, other) for other in used):
                return rect
    return None


def _font_size(size: float) -> float:
    return round(max(_SMALLEST_POINTS, 4.2 * size), 1)


def _around(point: Float[NDArray[Any], " 2"], reach: float) -> Rect:
    x, y = float(point[0]), float(point[1])
    return x - reach, y - reach, x + reach, y + reach


def _meet(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
