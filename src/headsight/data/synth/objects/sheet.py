"""A contact sheet: pictures with their points named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headsight.draw_keypoints import draw_keypoints
from headsight.language.schema import KeypointSchema

__all__ = ["contact_sheet", "drawn"]

CELL = 460
"""Height of a picture on the sheet, px."""
COLUMNS = 4


def drawn(
    image: Image.Image, objects: Sequence[tuple[KeypointSchema, NDArray[np.float64]]]
) -> Image.Image:
    """The picture, enlarged, with points (K, 3) and skeletons; the first object's with names."""
    scale = CELL / image.height
    cell = image.resize((round(image.width * scale), CELL), Image.Resampling.BICUBIC)
    for number, (schema, points) in reversed(list(enumerate(objects))):
        visible = points[:, 2] > 0
        at = points[:, :2] * scale
        cell = draw_keypoints(cell, at, schema, visible=visible, names=number == 0)
    return cell


def contact_sheet(cells: Sequence[Image.Image]) -> Image.Image:
    """Cells of `drawn` side by side."""
    width, height = (max((c.size[k] for c in cells), default=1) for k in range(2))
    rows = max(1, -(-len(cells) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * (width + 4), rows * (height + 4)), (60, 62, 70))
    for k, cell in enumerate(cells):
        sheet.paste(cell, (k % COLUMNS * (width + 4), k // COLUMNS * (height + 4)))
    return sheet
