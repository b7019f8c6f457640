"""A chart of how localization heads were chosen: the curve of attention sums, and frequencies."""

from __future__ import annotations

__all__ = ["draw_selection"]

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headsight.font import font_of

if TYPE_CHECKING:
    from headsight.attention.selection_counts import Selection

_SIZE = (1000, 420)
_INK, _GREY, _BLUE, _ORANGE = "#222222", "#bbbbbb", "#2b6cb0", "#dd6b20"
_BARS = 10


def draw_selection(
    selection: Selection,
    heads: Sequence[tuple[int, int]],
    frequency_std: Float[NDArray[np.float64], "layers heads"] | None = None,
) -> Image.Image:
    """Left: attention sums of all heads in order, with the elbow. Right: the heads taken most.

    `heads` are those that are kept; they are drawn in another colour. `frequency_std` of several
    draws is drawn as a whisker at each bar.
    """
    image = Image.new("RGB", _SIZE, "white")
    pen = ImageDraw.Draw(image)
    _curve(pen, selection, (70, 50, 470, 360))
    _bars(pen, selection, set(heads), frequency_std, (620, 50, 970, 360))
    return image


def _curve(pen: ImageDraw.ImageDraw, selection: Selection, at: tuple[int, int, int, int]) -> None:
    x0, y0, x1, y1 = at
    skipped = selection.rule.skip_layers
    sums = np.sort(selection.mean_sum[skipped:].ravel())
    pen.text((x0, y0 - 32), "Attention on the picture, all heads in order", _INK, font_of(16))
    pen.line([(x0, y0), (x0, y1), (x1, y1)], _GREY, 2)
    if not len(sums):
        return
    top = max(float(sums[-1]), 1e-6)
    xs = x0 + (x1 - x0) * (np.arange(len(sums)) + 0.5) / len(sums)
    ys = y1 - (y1 - y0) * sums / top
    pen.line(list(zip(xs.tolist(), ys.tolist(), strict=True)), _BLUE, 3)
    pen.text((x0 - 55, y0 - 8), f"{top:.2f}", _INK, font_of(14))
    pen.text((x0 - 55, y1 - 8), "0.00", _INK, font_of(14))
    if np.isfinite(selection.tau):
        level = y1 - (y1 - y0) * min(selection.tau / top, 1.0)
        pen.line([(x0, level), (x1, level)], _ORANGE, 2)
        name = "elbow" if selection.rule.tau is None else "tau"
        pen.text((x0 + 8, level - 22), f"{name} at {selection.tau:.2f}", _ORANGE, font_of(14))


def _bars(
    pen: ImageDraw.ImageDraw,
    selection: Selection,
    kept: set[tuple[int, int]],
    std: Float[NDArray[np.float64], "layers heads"] | None,
    at: tuple[int, int, int, int],
) -> None:
    x0, y0, x1, y1 = at
    number = selection.samples
    pen.text((x0 - 90, y0 - 32), f"How often a head is taken, {number} samples", _INK, font_of(16))
    shown = selection.ranking[:_BARS]
    step = (y1 - y0) / _BARS
    for row, (layer, head) in enumerate(shown):
        frequency = float(selection.frequency[layer, head])
        y = y0 + row * step
        color = _ORANGE if (layer, head) in kept else _BLUE
        unit = x1 - x0 - 60
        end = x0 + max(unit * frequency, 1)
        pen.text((x0 - 90, y + 4), f"L{layer} H{head}", _INK, font_of(14))
        pen.rectangle([x0, y + 3, end, y + step - 5], fill=color)
        if std is not None:
            reach, middle = unit * float(std[layer, head]), y + step / 2 - 1
            pen.line([(max(end - reach, x0), middle), (end + reach, middle)], _INK, 2)
            end += reach
        pen.text((end + 6, y + 4), f"{frequency:.0%}", _INK, font_of(14))
