"""A picture fitted into a square, top left, and the exact way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image

from headsight.errors import InputError

__all__ = ["Letterbox"]


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies in a square of `side` px: at the top left, the rest is padding.

    Boxes in text are in thousandths of the *original* picture, on both axes, so the text does not
    depend on the
    square: text x = 500 is half the picture's width, which is `content_wh[0] / 2` px in the square.
    """

    image_wh: tuple[int, int]
    """Original size, px."""
    side: int
    """Side of the square, px."""
    keep_aspect: bool = True
    """False squashes the picture over the whole square (CogVLM)."""

    def __post_init__(self) -> None:
        if min(self.image_wh) < 1 or self.side < 1:
            raise InputError(
                f"A picture of {self.image_wh[0]}x{self.image_wh[1]} px in a square of {self.side}"
                " px; every side must be at least 1 px."
            )

    @property
    def content_wh(self) -> tuple[int, int]:
        """Size of the picture inside the square, px."""
        if not self.keep_aspect:
            return self.side, self.side
        scale = self.side / max(self.image_wh)
        width, height = (max(1, round(length * scale)) for length in self.image_wh)
        return width, height

    @property
    def content_wh_rel(self) -> tuple[float, float]:
        """Share of the square's sides that the picture covers, in (0, 1]."""
        width, height = self.content_wh
        return width / self.side, height / self.side

    def to_square(
        self, boxes: Float[NDArray[np.floating], "*n 4"]
    ) -> Float[NDArray[np.float64], "*n 4"]:
        """Boxes of the original picture, px, in px of the square."""
        return np.asarray(boxes, np.float64) * self._scale()

    def to_picture(
        self, boxes: Float[NDArray[np.floating], "*n 4"]
    ) -> Float[NDArray[np.float64], "*n 4"]:
        """Boxes of the square, px, in px of the original picture; the inverse of `to_square`."""
        return np.asarray(boxes, np.float64) / self._scale()

    def apply(
        self,
        image: Image.Image,
        *,
        resample: Image.Resampling = Image.Resampling.BILINEAR,
        fill: int = 114,
    ) -> UInt8[NDArray[np.uint8], "s s 3"]:
        """The square, padded with grey `fill`."""
        fitted = np.asarray(image.convert("RGB").resize(self.content_wh, resample))
        if self.content_wh == (self.side, self.side):
            return fitted
        square = np.full((self.side, self.side, 3), fill, np.uint8)
        square[: fitted.shape[0], : fitted.shape[1]] = fitted
        return square

    def _scale(self) -> NDArray[np.float64]:
        x, y = (c / i for c, i in zip(self.content_wh, self.image_wh, strict=True))
        return np.array([x, y, x, y])
