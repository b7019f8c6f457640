"""Masks on pictures: what a segmenter drew is tinted and outlined, a coarse guess is hatched."""

from __future__ import annotations

__all__ = ["draw_mask"]

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, minimum_filter

from headsight.geometry.masks import mask_to_box

_TINT = 0.4
_STRIPES = (0.55, 0.1)
"""Share of colour on the stripes of a coarse mask, and between them."""
_RIM = 0.5
"""Share of black just outside the outline, so that it shows on any ground."""


def draw_mask(
    canvas: Image.Image, mask: Bool[NDArray[Any], "height width"], color: str, *, is_coarse: bool
) -> None:
    """Tint the mask on `canvas`, which may be another size of the picture.

    A coarse mask has stripes and no outline: it claims no edge.
    """
    if mask.shape != canvas.size[::-1]:
        whole = Image.fromarray(mask.astype(np.uint8) * 255)
        mask = np.asarray(whole.resize(canvas.size, Image.Resampling.BILINEAR)) >= 128
    if not mask.any():
        return
    x0, y0, x1, y1 = mask_to_box(mask).astype(int).tolist()
    line = max(1, round(math.sqrt(canvas.width * canvas.height) / 350))
    top, left = max(y0 - line, 0), max(x0 - line, 0)
    part = mask[top : y1 + line, left : x1 + line]
    if is_coarse:
        y, x = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
        stripes = np.where((x + y) // (3 * line) % 3 == 0, *_STRIPES)
        _blend(canvas, stripes * part, color, (left, top))
        return
    # beyond the border of the picture is not inside: the outline closes there
    edge = part & ~minimum_filter(part, 2 * line + 1, mode="constant", cval=False)
    rim = binary_dilation(part, np.ones((3, 3), bool), max(line // 2, 1)) & ~part
    _blend(canvas, _TINT * part, color, (left, top))
    _blend(canvas, _RIM * rim, "black", (left, top))
    _blend(canvas, 1.0 * edge, color, (left, top))


def _blend(
    canvas: Image.Image,
    share: Float[NDArray[Any], "h w"],
    color: str,
    left_top: tuple[int, int],
) -> None:
    """Lay `color` over the canvas from `left_top` on, each pixel to its share."""
    stencil = Image.fromarray(np.round(255 * share).astype(np.uint8))
    x, y = left_top
    canvas.paste(color, (x, y, x + stencil.width, y + stencil.height), stencil)
