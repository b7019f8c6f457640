"""A map laid over a part of a picture, read at any point of it."""

from __future__ import annotations

__all__ = ["RegionMap"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.errors import InputError

_ROUNDING = 1e-12  # less than this share of its values is no contrast of a map


@dataclass(frozen=True, eq=False)
class RegionMap:
    """A map over a part of the picture, such as the attention of the chosen heads to one view."""

    values: Float[NDArray[Any], "rows columns"]
    region: tuple[float, float, float, float]
    """xyxy px of the original picture that the whole map covers; may reach beyond it."""

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.region
        if self.values.size == 0 or not np.isfinite(self.values).all() or not (x0 < x1 and y0 < y1):
            raise InputError(
                f"A map of {self.values.shape} cells over the region {self.region} was given, but"
                " finite values over a region with an area are needed."
            )

    def contrast(
        self, xs: Float[NDArray[Any], " m"], ys: Float[NDArray[Any], " n"]
    ) -> Float[NDArray[np.float64], "n m"]:
        """How far the map is above its mean at every crossing of `xs` and `ys` (px), in [-1, 1].

        1 is the cell that is farthest from the mean; between the middles of cells it is linear, and
        beyond the region it is -1. A constant map is 0 everywhere.
        """
        x0, y0, x1, y1 = self.region
        values = self.values.astype(np.float64)
        above = values - values.mean()
        most = np.abs(above).max()
        above = above / most if most > _ROUNDING * np.abs(values).max() else np.zeros_like(above)
        down, across = _hats(ys, y0, y1, len(above)), _hats(xs, x0, x1, above.shape[1])
        is_inside = ((ys >= y0) & (ys < y1))[:, None] & ((xs >= x0) & (xs < x1))
        return np.where(is_inside, down @ above @ across.T, -1.0)


def _hats(
    points: Float[NDArray[Any], " n"], start: float, end: float, cells: int
) -> Float[NDArray[np.float64], "n cells"]:
    """The weight of each cell at each point; beyond the outermost middles, that cell alone."""
    places = np.clip((points - start) / (end - start) * cells - 0.5, 0, cells - 1)
    weights: NDArray[np.float64] = 1 - np.abs(places[:, None] - np.arange(cells))
    return weights.clip(0)
