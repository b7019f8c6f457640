"""Squares cut out of a picture, as models look at objects: scaled, in training turned."""

from __future__ import annotations

__all__ = ["Cut", "cut_out"]

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image

from headsight.geometry.keypoints import Crop


@dataclass(frozen=True)
class Cut:
    """A crop that may be turned about its middle."""

    crop: Crop
    turn_deg: float = 0.0
    """How far the object appears turned, clockwise as seen."""

    def to_cut(self, points: Float[NDArray[np.float64], "*k 2"]) -> NDArray[np.float64]:
        """Pixels of the picture to fractions of the square; inside it is [0, 1]."""
        turned: NDArray[np.float64] = (self.crop.to_crop(points) - 0.5) @ self._turn.T + 0.5
        return turned

    def to_image(self, fractions: Float[NDArray[np.float64], "*k 2"]) -> NDArray[np.float64]:
        """Fractions of the square to pixels of the picture."""
        return self.crop.to_image((fractions - 0.5) @ self._turn + 0.5)

    @property
    def _turn(self) -> NDArray[np.float64]:
        cosine, sine = math.cos(math.radians(self.turn_deg)), math.sin(math.radians(self.turn_deg))
        return np.array([[cosine, -sine], [sine, cosine]])


def cut_out(image: Image.Image, cut: Crop | Cut, *, side: int) -> Image.Image:
    """The square of `side` x `side` px: bilinear, black where the picture ends.

    A crop that is much larger is shrunk by whole steps first, so that nothing flickers away.
    """
    cut = cut if isinstance(cut, Cut) else Cut(cut)
    step = max(1, int(cut.crop.side / side))
    left = top = 0
    if step > 1:
        reach = cut.crop.side * (0.5 if cut.turn_deg == 0 else math.sqrt(0.5)) + step
        (x, y), (width, height) = cut.crop.center, image.size
        left, top = max(0, math.floor(x - reach)), max(0, math.floor(y - reach))
        right, bottom = min(width, math.ceil(x + reach)), min(height, math.ceil(y + reach))
        image = image.reduce(step, (left, top, right, bottom))
    corners = cut.to_image(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    (x0, y0), (x1, y1), (x2, y2) = (corners - (left, top)) / step
    affine = ((x1 - x0) / side, (x2 - x0) / side, x0, (y1 - y0) / side, (y2 - y0) / side, y0)
    return image.convert("RGB").transform(
        (side, side), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR, fillcolor=0
    )
