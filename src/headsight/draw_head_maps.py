"""A contact sheet: where the chosen heads look on a few pictures, and the box read of it."""

from __future__ import annotations

__all__ = ["SheetRow", "draw_head_maps"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headsight.font import font_of

_CELL_WH = (240, 180)
_GAP, _TITLE, _WORDS = 8, 30, 26
_INK, _GREY, _TRUE, _FOUND = "#222222", "#666666", "#22c55e", "#f97316"
_STOPS = np.array([0.0, 0.35, 0.7, 1.0])
_COLORS = np.array([[10, 10, 40], [110, 30, 130], [230, 90, 40], [255, 240, 120]], np.float64)
"""Dark to bright, so that the sheet can be read in grey too."""
_OPACITY = (0.35, 0.9)
"""Of the colour where a map is 0 and where it is highest."""


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One picture, what was asked of it, and where each head looked."""

    image: Image.Image
    words: str
    maps: Float[NDArray[Any], "k h w"]
    """Of the heads, in the order of the columns."""
    fused: Float[NDArray[Any], "h w"]
    region: tuple[float, float, float, float]
    """xyxy px of the picture that the maps cover."""
    box: Float[NDArray[Any], "n 4"]
    """xyxy px: what was read of the fused map; no row where nothing was."""
    truth: Float[NDArray[Any], "m 4"]
    """xyxy px: the right boxes."""


def draw_head_maps(rows: Sequence[SheetRow], titles: Sequence[str]) -> Image.Image:
    """A row a picture: the picture with its right boxes, the map of each head, the fused map.

    Each map is drawn from dark (none) to bright (its own most). `titles` name the heads.
    """
    heads = ["picture, label in green", *titles, "all together; box in orange"]
    width = len(heads) * (_CELL_WH[0] + _GAP) + _GAP
    height = _TITLE + len(rows) * (_WORDS + _CELL_WH[1] + _GAP)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    lefts = [_GAP + column * (_CELL_WH[0] + _GAP) for column in range(len(heads))]
    for left, title in zip(lefts, heads, strict=True):
        pen.text((left, 8), _fitted(title, _CELL_WH[0], 14), _INK, font_of(14))
    for number, row in enumerate(rows):
        top = _TITLE + number * (_WORDS + _CELL_WH[1] + _GAP)
        pen.text((_GAP, top + 4), _fitted(row.words, width - 2 * _GAP, 15), _GREY, font_of(15))
        for left, cell in zip(lefts, _cells(row), strict=True):
            sheet.paste(cell, (left, top + _WORDS))
    return sheet


def _cells(row: SheetRow) -> list[Image.Image]:
    """The pictures of one row, each as large as fits a cell."""
    scale = min(_CELL_WH[0] / row.image.width, _CELL_WH[1] / row.image.height)
    size = (max(round(row.image.width * scale), 1), max(round(row.image.height * scale), 1))
    plain = row.image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    stretch = np.array([size[0] / row.image.width, size[1] / row.image.height] * 2)
    region = np.array(row.region) * stretch
    cells = [_boxed(plain, row.truth * stretch, _TRUE)]
    cells += [_heated(plain, heat, region) for heat in row.maps]
    fused = _boxed(_heated(plain, row.fused, region), row.truth * stretch, _TRUE)
    return [*cells, _boxed(fused, row.box * stretch, _FOUND)]


def _heated(
    image: Image.Image, heat: Float[NDArray[Any], "h w"], region: Float[NDArray[Any], " 4"]
) -> Image.Image:
    """The picture in grey under the colours of a map; what the map does not cover stays grey."""
    rows, columns = heat.shape
    x0, y0, x1, y1 = region
    xs = np.floor((np.arange(image.width) + 0.5 - x0) / max(x1 - x0, 1e-9) * columns)
    ys = np.floor((np.arange(image.height) + 0.5 - y0) / max(y1 - y0, 1e-9) * rows)
    is_covered = ((ys >= 0) & (ys < rows))[:, None] & ((xs >= 0) & (xs < columns))
    value = heat[np.ix_(ys.clip(0, rows - 1).astype(int), xs.clip(0, columns - 1).astype(int))]
    value = value / max(float(heat.max()), 1e-12)
    grey = np.asarray(image.convert("L"), np.float64)[..., None].repeat(3, -1)
    opacity = _OPACITY[0] + (_OPACITY[1] - _OPACITY[0]) * value
    share = np.where(is_covered, opacity, 0.0)[..., None]
    mixed = grey * (1 - share) + _colored(value) * share
    return Image.fromarray(mixed.round().astype(np.uint8))


def _colored(value: Float[NDArray[Any], "h w"]) -> Float[NDArray[np.float64], "h w 3"]:
    channels = [np.interp(value, _STOPS, _COLORS[:, c]) for c in range(3)]
    return np.stack(channels, -1)


def _boxed(image: Image.Image, boxes: Float[NDArray[Any], "n 4"], color: str) -> Image.Image:
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    for x0, y0, x1, y1 in boxes:
        right, low = max(min(x1, image.width) - 1, x0), max(min(y1, image.height) - 1, y0)
        pen.rectangle([x0, y0, right, low], outline=color, width=2)
    return drawn


def _fitted(text: str, width: int, points: int) -> str:
    """`text`, cut where it would be too wide."""
    font = font_of(points)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
