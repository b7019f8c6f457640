"""Square crops around an object, and points in their frame (CapeLLM, arXiv 2411.06869).

The text frame of keypoints is the crop: with pad 1, a length of 1 is the longer side of the box,
which is the unit in which PCK is measured too.
"""

from __future__ import annotations

__all__ = ["FRAMES", "Crop", "clean_box", "crop_in", "crop_of"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.errors import InputError

FRAMES = ("crop", "image")
"""What coordinates may be fractions of: the object's crop, or the whole picture, squared."""


@dataclass(frozen=True)
class Crop:
    """A square of the picture; it may reach beyond the border."""

    center: tuple[float, float]
    """x, y in px of the picture."""
    side: float
    """Px of the picture."""

    def to_crop(self, points: Float[NDArray[np.float64], "*k 2"]) -> NDArray[np.float64]:
        """Pixels of the picture to fractions of the crop; inside it is [0, 1]."""
        fractions: NDArray[np.float64] = (points - np.array(self.center)) / self.side + 0.5
        return fractions

    def to_image(self, fractions: Float[NDArray[np.float64], "*k 2"]) -> NDArray[np.float64]:
        """Fractions of the crop to pixels of the picture."""
        points: NDArray[np.float64] = (fractions - 0.5) * self.side + np.array(self.center)
        return points

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Corners, px of the picture."""
        (x, y), half = self.center, self.side / 2
        return x - half, y - half, x + half, y + half


def clean_box(
    box: Float[NDArray[np.float64], " 4"], image_wh: tuple[int, int]
) -> Float[NDArray[np.float64], " 4"]:
    """The box of an annotation as MP-100's protocol uses it, for the crop and for the metric.

    Its corners are taken for centres of pixels: the cleaned box of width w is w - 1 wide, and ends
    at the last pixel's centre.

    Args:
        box: xyxy px.
        image_wh: size of the picture, px.

    Returns:
        xyxy px; without area where nothing of the box is in the picture.
    """
    x, y, right, bottom = (float(edge) for edge in box)
    x1, y1 = max(0.0, x), max(0.0, y)
    x2 = min(image_wh[0] - 1, x1 + max(0.0, right - x - 1))
    y2 = min(image_wh[1] - 1, y1 + max(0.0, bottom - y - 1))
    return np.array([x1, y1, max(x1, x2), max(y1, y2)])


def crop_of(
    box: Float[NDArray[np.float64], " 4"], image_wh: tuple[int, int], *, pad: int | float = 1.0
) -> Crop:
    """The crop of an object: a square of its cleaned box's longer side times `pad`.

    Args:
        box: xyxy px.
        image_wh: size of the picture, px.
        pad: the paper's 1.0; methods with support pictures use 1.25.

    Raises:
        InputError: the box lies outside the picture or has no area.
    """
    x1, y1, x2, y2 = clean_box(box, image_wh)
    if x2 <= x1 or y2 <= y1:
        raise InputError(
            f"The box {[round(float(edge), 1) for edge in box]} has no area inside the picture of"
            f" {image_wh[0]} x {image_wh[1]} px. Give x1, y1, x2, y2 of the object in pixels."
        )
    side = max(x2 - x1, y2 - y1) * pad
    return Crop((float(x1 + (x2 - x1) / 2), float(y1 + (y2 - y1) / 2)), float(side))


def crop_in(
    frame: str,
    box: Float[NDArray[np.float64], " 4"],
    image_wh: tuple[int, int],
    *,
    pad: int | float = 1.0,
) -> Crop:
    """The square that a model sees of an object in one of `FRAMES`; see `crop_of`.

    Raises:
        InputError: the box lies outside the picture or has no area, in either frame.
    """
    own = crop_of(box, image_wh, pad=pad)
    if frame == "crop":
        return own
    return Crop((image_wh[0] / 2, image_wh[1] / 2), float(max(image_wh)))
