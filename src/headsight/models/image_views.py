"""Which region of the original picture every image token stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.geometry.arrays import ArrayT

__all__ = ["ImageView", "RegionView", "ViewKind"]

ViewKind = Literal["whole", "padded", "crop", "tile", "regions"]

_CANVAS = 96
"""Cells along the longer side of a canvas for regions."""


@dataclass(frozen=True, eq=False)
class ImageView:
    """One regular grid of image tokens laid over a region of the original picture."""

    grid_hw: tuple[int, int]
    """Rows and columns of cells."""
    positions: Int[NDArray[np.int64], " n"]
    """Place in the sequence (0 = its first token, padding included) of each cell's token, row by
    row; -1 where a cell has none."""
    region: tuple[float, float, float, float]
    """xyxy px of the original picture that the whole grid covers; beyond the picture where padded.
    """
    kind: ViewKind = "whole"
    """"whole": the picture, stretched; "padded": the picture and a border; "crop": a part, and what
    lies outside is not seen at all; "tile": a part, beside other views of the same picture."""

    def __post_init__(self) -> None:
        rows, columns = self.grid_hw
        if len(self.positions) != rows * columns:
            raise InputError(
                f"{len(self.positions)} positions were given, but a grid of {rows} x {columns}"
                " cells needs one a cell, row by row. Use -1 for a cell without a token."
            )

    @property
    def cells(self) -> Float[NDArray[np.float64], "n 4"]:
        """Xyxy px of each cell in the original picture, row by row."""
        return _cells(self.region, self.grid_hw)

    def lay(self, rows: Float[ArrayT, "*batch n"]) -> Float[ArrayT, "*batch h w"]:
        """What was recorded at `positions` (0 where there is no token) on the grid."""
        return rows.reshape(*rows.shape[:-1], *self.grid_hw)

    def shifted(self, by: int) -> ImageView:
        """The same view in a sequence with `by` more tokens before it."""
        moved = np.where(self.positions < 0, -1, self.positions + by)
        return ImageView(self.grid_hw, moved, self.region, self.kind)


@dataclass(frozen=True, eq=False)
class RegionView:
    """Image tokens that hold a box each, as a detector's proposals do, instead of a cell of a grid.

    What falls on a token lies on the region it holds, so a map of them needs a canvas.
    """

    positions: Int[NDArray[np.int64], " n"]
    """Place in the sequence of each token."""
    regions: Float[NDArray[Any], "_ 4"]
    """xyxy px of the original picture that each token holds; may overlap and reach beyond it."""
    image_wh: tuple[int, int]
    """Size of the original picture, which the canvas covers."""
    kind: ViewKind = "regions"
    """As of an `ImageView`."""

    def __post_init__(self) -> None:
        if len(self.positions) != len(self.regions):
            raise InputError(
                f"{len(self.positions)} positions were given for {len(self.regions)} regions, but"
                " each token needs one. Leave out tokens that hold no region."
            )

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns of the canvas, in the proportions of the picture."""
        width, height = self.image_wh
        cell = max(self.image_wh) / _CANVAS
        return max(round(height / cell), 1), max(round(width / cell), 1)

    @property
    def region(self) -> tuple[float, float, float, float]:
        """Xyxy px of the original picture that the canvas covers: all of it."""
        return 0.0, 0.0, float(self.image_wh[0]), float(self.image_wh[1])

    @property
    def cells(self) -> Float[NDArray[np.float64], "n 4"]:
        """Xyxy px of each cell of the canvas in the original picture, row by row."""
        return _cells(self.region, self.grid_hw)

    def lay(self, rows: Float[ArrayT, "*batch n"]) -> Float[ArrayT, "*batch h w"]:
        """What was recorded at `positions`, spread over the regions; the sum stays."""
        from headsight.geometry.heatmaps import paint_regions

        columns_rows = np.array(self.grid_hw[::-1] * 2)
        cells = self.regions / np.array(self.image_wh * 2) * columns_rows
        return paint_regions(rows, cells, self.grid_hw)


def _cells(
    region: tuple[float, float, float, float], grid_hw: tuple[int, int]
) -> Float[NDArray[np.float64], "n 4"]:
    rows, columns = grid_hw
    x0, y0, x1, y1 = region
    xs, ys = np.linspace(x0, x1, columns + 1), np.linspace(y0, y1, rows + 1)
    grid = np.stack(
        np.broadcast_arrays(xs[None, :-1], ys[:-1, None], xs[None, 1:], ys[1:, None]), -1
    )
    return np.ascontiguousarray(grid.reshape(-1, 4))
