"""A contact sheet: pictures with their points drawn, numbered and named."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from headsight.language.schema import KeypointSchema

__all__ = ["contact_sheet", "drawn"]

CELL = 330
"""Height of a picture on the sheet, px."""
LEGEND = 150
COLUMNS = 4


def drawn(
    image: Image.Image, objects: Sequence[tuple[KeypointSchema, NDArray[np.float64]]]
) -> Image.Image:
    """The picture with points (K, 3) and skeletons; the names of the first object beside it.

    A full dot is seen, a ring is hidden, points outside the picture are left out.
    """
    scale = CELL / image.height
    wide = round(image.width * scale)
    cell = Image.new("RGB", (wide + LEGEND, CELL), (24, 26, 31))
    cell.paste(image.resize((wide, CELL), Image.Resampling.BICUBIC))
    pen, font = ImageDraw.Draw(cell), ImageFont.load_default(10)
    for number, (schema, points) in enumerate(objects):
        at = points[:, :2] * scale
        shown = points[:, 2] > 0
        for a, b in schema.skeleton:
            if shown[a] and shown[b]:
                pen.line((*at[a], *at[b]), fill=(235, 235, 235), width=1)
        for k in np.nonzero(shown)[0]:
            colour = _colour(int(k))
            x, y = at[k]
            box = (x - 4, y - 4, x + 4, y + 4)
            if points[k, 2] == 2:
                pen.ellipse(box, fill=colour, outline=(0, 0, 0))
            else:
                pen.ellipse(box, outline=colour, width=2)
            pen.text((x + 4, y - 12), str(k), fill=colour, font=font, stroke_width=1, stroke_fill=0)
        if number == 0:
            _legend(pen, font, schema, points, wide)
    return cell


def contact_sheet(cells: Sequence[Image.Image]) -> Image.Image:
    """Cells of `drawn` side by side."""
    width, height = (max((c.size[k] for c in cells), default=1) for k in range(2))
    rows = max(1, -(-len(cells) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * (width + 4), rows * (height + 4)), (60, 62, 70))
    for k, cell in enumerate(cells):
        sheet.paste(cell, (k % COLUMNS * (width + 4), k // COLUMNS * (height + 4)))
    return sheet


def _legend(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    schema: KeypointSchema,
    points: NDArray[np.float64],
    left: int,
) -> None:
    step = min(15.0, (CELL - 22) / len(schema))
    pen.text((left + 6, 3), schema.name, fill=(255, 255, 255), font=font)
    for k, name in enumerate(schema.names):
        state = ("outside", "hidden", "")[int(points[k, 2])]
        words = f"{k} {name.replace('_', ' ')}" + (f" ({state})" if state else "")
        pen.text((left + 6, 19 + k * step), words, fill=_colour(k), font=font)


def _colour(k: int) -> tuple[int, int, int]:
    r, g, b = colorsys.hsv_to_rgb((k * 0.38) % 1, 0.55 if k % 2 else 0.8, 1.0)
    return int(255 * r), int(255 * g), int(255 * b)
