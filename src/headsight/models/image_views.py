"""Which region of the original picture every image token stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from headsight.errors import InputError

__all__ = ["ImageView", "ViewKind"]

ViewKind = Literal["whole", "padded", "crop", "tile"]


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
        rows, columns = self.grid_hw
        x0, y0, x1, y1 = self.region
        xs, ys = np.linspace(x0, x1, columns + 1), np.linspace(y0, y1, rows + 1)
        grid = np.stack(
            np.broadcast_arrays(xs[None, :-1], ys[:-1, None], xs[None, 1:], ys[1:, None]), -1
        )
        return np.ascontiguousarray(grid.reshape(-1, 4))

    def shifted(self, by: int) -> ImageView:
        """The same view in a sequence with `by` more tokens before it."""
        moved = np.where(self.positions < 0, -1, self.positions + by)
        return ImageView(self.grid_hw, moved, self.region, self.kind)
