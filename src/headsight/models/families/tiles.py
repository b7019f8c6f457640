"""Views of a picture that is shown in tiles and, after them, once more as a whole."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.models.image_views import ImageView

__all__ = ["tiled_views", "whole_view"]


def whole_view(
    positions: Int[NDArray[np.int64], " n"], grid_hw: tuple[int, int], image_wh: tuple[int, int]
) -> ImageView:
    """One grid over the whole picture, stretched.

    Raises:
        InputError: the number of tokens does not fit the grid.
    """
    return ImageView(grid_hw, positions, (0.0, 0.0, float(image_wh[0]), float(image_wh[1])))


def tiled_views(
    positions: Int[NDArray[np.int64], " n"],
    grid_hw: tuple[int, int],
    tiles_hw: tuple[int, int],
    image_wh: tuple[int, int],
) -> tuple[ImageView, ...]:
    """The whole picture first, then its tiles, row by row.

    In the sequence the tiles come first. They are of one size and cover the picture; `grid_hw` are
    the cells of each. With `tiles_hw` (0, 0) only the whole is there.

    Raises:
        InputError: the number of tokens does not fit.
    """
    rows, columns = tiles_hw
    cells = grid_hw[0] * grid_hw[1]
    if len(positions) != (rows * columns + 1) * cells:
        raise InputError(
            f"The sequence has {len(positions)} image tokens, but {rows} x {columns} tiles and the"
            f" whole, of {grid_hw[0]} x {grid_hw[1]} each, need {(rows * columns + 1) * cells}."
            " Make the inputs of this very picture, with the processor of this model."
        )
    *tiles, whole = np.split(positions, rows * columns + 1)
    xs = np.linspace(0, image_wh[0], columns + 1).tolist()
    ys = np.linspace(0, image_wh[1], rows + 1).tolist()
    parts = [
        ImageView(
            grid_hw,
            places,
            (xs[i % columns], ys[i // columns], xs[i % columns + 1], ys[i // columns + 1]),
            "tile",
        )
        for i, places in enumerate(tiles)
    ]
    return (whole_view(whole, grid_hw, image_wh), *parts)
