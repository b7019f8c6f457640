"""Drawing where a model looks for keypoints: one tile a point."""

from __future__ import annotations

__all__ = ["density_sheet"]

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headsight.font import font_of

_TILE = 168
_COLUMNS = 6


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
        font = font_of(12.0)
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
