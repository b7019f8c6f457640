"""Drawing named keypoints: skeleton, sides by colour, names where there is room for them."""

from __future__ import annotations

__all__ = ["density_sheet", "draw_keypoints"]

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from headsight.detections import Detections
from headsight.draw import draw
from headsight.language.schema import KeypointSchema

LEFT, RIGHT, MIDDLE = "#f59e0b", "#38bdf8", "#34d399"
"""The object's own left, its right, and what has no side."""
_SMALLEST_POINTS = 10.0
_INK = "#0b1220"
_TILE = 168
_COLUMNS = 6
_SMOOTH = 3
Rect = tuple[float, float, float, float]


def draw_keypoints(
    image: Image.Image, detections: Detections, schema: KeypointSchema, *, names: bool = True
) -> Image.Image:
    """A copy of `image` with boxes, skeletons, points and, where they fit, their names."""
    bare = Detections(
        detections.boxes,
        detections.scores,
        detections.labels,
        detections.label_names,
        detections.image_wh,
    )
    canvas = draw(image, bare)
    colors = _colors(schema)
    taken: list[Rect] = []
    tables = detections.keypoints if detections.keypoints is not None else ()
    for table, box in zip(tables, detections.boxes, strict=True):
        radius = _radius(canvas.size, box)
        chip = 1.3 * max(_SMALLEST_POINTS, math.sqrt(canvas.width * canvas.height) / 36)
        left, top = float(box[0]), float(box[1])
        taken.append((left, top - chip, left + 6 * chip, top))  # of the box itself
        _bones(canvas, table, schema, colors, radius)
        taken += [
            (x - radius, y - radius, x + radius, y + radius)
            for x, y, seen in table.tolist()
            if seen > 0
        ]
    for table, box in zip(tables, detections.boxes, strict=True):
        if names:
            _names(canvas, table, box, schema, colors, taken)
    return canvas


def density_sheet(
    crop: Image.Image,
    densities: Float[NDArray[Any], "k 2 b"],
    points: Float[NDArray[Any], "k 2"],
    names: Sequence[str],
) -> Image.Image:
    """One tile a point: the crop, where the model looks for it to be, and where it said it is.

    Args:
        crop: the square the model saw.
        densities: of x, and of y given x; NaN where there is none.
        points: in fractions of the crop; NaN where there is none.
        names: of the points.
    """
    columns = min(_COLUMNS, max(1, math.ceil(math.sqrt(len(names)))))
    rows = math.ceil(len(names) / columns)
    strip = 22
    sheet = Image.new("RGB", (columns * _TILE, rows * (_TILE + strip)), "#0b1220")
    grey = crop.convert("L").convert("RGB").resize((_TILE, _TILE), Image.Resampling.BILINEAR)
    for place, (name, bins, point) in enumerate(zip(names, densities, points, strict=True)):
        tile = grey.copy()
        if np.isfinite(bins).all():
            heat = Image.fromarray(_heat(bins)).resize((_TILE, _TILE), Image.Resampling.BICUBIC)
            tile.paste(Image.new("RGB", tile.size, "#ef4444"), mask=heat)
        pen = ImageDraw.Draw(tile)
        if np.isfinite(point).all():
            x, y = (float(v) * _TILE for v in point)
            pen.line((x - 6, y, x + 6, y), fill="white", width=2)
            pen.line((x, y - 6, x, y + 6), fill="white", width=2)
        left, top = place % columns * _TILE, place // columns * (_TILE + strip)
        sheet.paste(tile, (left, top + strip))
        told = name if np.isfinite(point).all() else f"{name} (no answer)"
        font = _font(12.0)
        while font.getlength(told) > _TILE - 8 and len(told) > 1:
            told = told[:-2] + "…"
        ImageDraw.Draw(sheet).text(
            (left + 4, top + strip / 2), told, fill="white", font=font, anchor="lm"
        )
    return sheet


def _heat(bins: Float[NDArray[Any], "2 b"], cells: int = 56) -> NDArray[np.uint8]:
    """The product of both distributions on a small grid, its peak at 255."""
    places = (np.arange(bins.shape[-1]) * cells) // bins.shape[-1]
    x, y = (np.bincount(places, row, cells) for row in bins)
    grid = y[:, None] * x[None, :]
    return np.asarray(255 * 0.85 * (grid / max(float(grid.max()), 1e-12)) ** 0.5, np.uint8)


def _colors(schema: KeypointSchema) -> list[str]:
    """By side, as the names tell: the first of a pair is not always the left one."""
    colors = [MIDDLE] * len(schema)
    for pair in schema.left_right_pairs:
        first, second = pair
        if "right" in schema.names[first].lower():
            first, second = second, first
        colors[first], colors[second] = LEFT, RIGHT
    return colors


def _radius(image_wh: tuple[int, int], box: Float[NDArray[Any], " 4"]) -> float:
    side = float(min(box[2] - box[0], box[3] - box[1]))
    return max(2.0, min(math.sqrt(image_wh[0] * image_wh[1]) / 130, side / 28))


def _bones(
    canvas: Image.Image,
    table: Float[NDArray[Any], "k 3"],
    schema: KeypointSchema,
    colors: Sequence[str],
    radius: float,
) -> None:
    """Lines and discs, drawn larger and shrunk so that they are smooth."""
    seen = table[table[:, 2] > 0, :2]
    if not len(seen):
        return
    margin = 3 * radius + 2
    left, top = np.floor(seen.min(0) - margin).astype(int).tolist()
    right, bottom = np.ceil(seen.max(0) + margin).astype(int).tolist()
    factor = _SMOOTH if (right - left) * (bottom - top) < 2_000_000 else 1
    tile = Image.new("RGBA", ((right - left) * factor, (bottom - top) * factor), (255, 255, 255, 0))
    pen = ImageDraw.Draw(tile)

    def at(index: int) -> tuple[float, float]:
        x, y = table[index, :2]
        return (float(x) - left) * factor, (float(y) - top) * factor

    for width, is_rim in ((1.5, True), (0.8, False)):
        for a, b in schema.skeleton:
            if table[a, 2] > 0 and table[b, 2] > 0:
                same = colors[a] if colors[a] == colors[b] or colors[b] == MIDDLE else colors[b]
                pen.line((at(a), at(b)), fill="white" if is_rim else same,
                         width=max(1, round(width * radius * factor)))  # fmt: skip
    for index, color in enumerate(colors):
        if table[index, 2] > 0:
            x, y = at(index)
            for size, fill in ((radius * 1.4, "white"), (radius, color)):
                r = size * factor
                pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    if factor > 1:
        tile = tile.reduce(factor)
    canvas.paste(tile, (left, top), tile)


def _names(
    canvas: Image.Image,
    table: Float[NDArray[Any], "k 3"],
    box: Float[NDArray[Any], " 4"],
    schema: KeypointSchema,
    colors: Sequence[str],
    taken: list[Rect],
) -> None:
    """A chip beside each point where one fits; points that lie apart from others choose first."""
    seen = np.flatnonzero(table[:, 2] > 0)
    if not len(seen):
        return
    height = float(box[3] - box[1])
    usual = math.sqrt(canvas.width * canvas.height) / 52
    points = max(_SMALLEST_POINTS, min(usual, 1.4 * height / math.sqrt(len(seen)) / 4))
    font = _font(points)
    apart = np.linalg.norm(table[seen, None, :2] - table[None, seen, :2], axis=-1)
    np.fill_diagonal(apart, np.inf)
    middle = table[seen, :2].mean(0)
    for index in seen[np.argsort(-apart.min(1), kind="stable")]:
        x, y = (float(v) for v in table[index, :2])
        width, tall = font.getlength(schema.names[index]) + 0.6 * points, 1.25 * points
        outwards = 1 if x >= middle[0] else -1
        spot = _free_spot(canvas.size, (x, y), (width, tall), outwards, 0.9 * points, taken)
        if spot is None:
            continue
        taken.append(spot)
        pen = ImageDraw.Draw(canvas, "RGBA")
        pen.rounded_rectangle(spot, radius=0.25 * points, fill=colors[index])
        centre = ((spot[0] + spot[2]) / 2, (spot[1] + spot[3]) / 2)
        pen.text(centre, schema.names[index], fill=_INK, font=font, anchor="mm")


def _free_spot(
    image_wh: tuple[int, int],
    point: tuple[float, float],
    chip_wh: tuple[float, float],
    outwards: int,
    gap: float,
    taken: Sequence[Rect],
) -> Rect | None:
    """The nearest free place beside a point, away from the middle of the object first."""
    width, height = chip_wh
    for side, shift in product((outwards, -outwards), (0, -1, 1)):
        left = point[0] + gap if side > 0 else point[0] - gap - width
        top = point[1] - height / 2 + shift * height * 0.8
        rect = (left, top, left + width, top + height)
        inside = left >= 0 and top >= 0 and rect[2] <= image_wh[0] and rect[3] <= image_wh[1]
        if inside and not any(_overlap(rect, other) for other in taken):
            return rect
    return None


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _font(points: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(points)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
