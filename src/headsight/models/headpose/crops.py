"""From a head's box to the square that a crop regressor sees: pure functions of numbers and pixels.

Ours is the rule of AGORA-HPE and CMU-HPE: the box made square by its longer side, black outside the
picture. The rules for 300W-LP and AFLW2000 are those of the published 6DRepNet code, which moves
one edge after the other, measures anew in between, and has other margins in training than in test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from headsight.models.headpose.config import SixDRepNetConfig

__all__ = ["HeadCropper", "aflw2000_window", "cut", "square_windows", "w300lp_window"]

Array = NDArray[Any]
_EDGE_SHARE = 0.6
_TOP_SHARE = 2.0
_LEAST_SIDE = 1.0
_LARGEST_GAP = 3.0  # how far Pillow may shrink coarsely before it resamples


@dataclass(frozen=True, kw_only=True)
class HeadCropper:
    """What a regressor needs to know to see a head as it did when it learned."""

    image_size: int
    """Side of the square, px."""
    resize_size: int | None = None
    """The window's shorter side is so many px, of which the middle is kept; None: all of it."""
    margin: float = 0.0
    """Share of the longer side of the box that is added on each side."""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    @classmethod
    def for_model(cls, config: SixDRepNetConfig) -> HeadCropper:
        """The crops that a model with this config expects."""
        return cls(
            image_size=config.image_size,
            resize_size=config.resize_size,
            margin=config.margin,
            mean=tuple(config.image_mean),
            std=tuple(config.image_std),
        )

    def __call__(
        self, image: Image.Image, boxes: Float[Array, "n 4"]
    ) -> UInt8[Array, "n size size 3"]:
        """One square a box of the head, in their order."""
        return self.cut_windows(image, square_windows(boxes, margin=self.margin))

    def cut_windows(
        self, image: Image.Image, windows: Float[Array, "n 4"]
    ) -> UInt8[Array, "n size size 3"]:
        """One square a window, such as those of `w300lp_window`."""
        side = self.image_size
        squares = [cut(image, self._middle(window), side) for window in windows]
        return np.stack(squares) if squares else np.zeros((0, side, side, 3), np.uint8)

    def to_input(self, crops: UInt8[Array, "n size size 3"]) -> Float[Tensor, "n 3 size size"]:
        """Crops as the network takes them: channels first, less the mean, over the deviation."""
        pixels = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float() / 255
        return (pixels - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[
            :, None, None
        ]

    def _middle(self, window: Float[Array, 4]) -> Float[Array, 4]:
        """What is left when the window is scaled to `resize_size` and its middle cut out."""
        if self.resize_size is None:
            return np.asarray(window, np.float64)
        corners = np.asarray(window, np.float64).reshape(2, 2)
        half = (corners[1] - corners[0]).min() * self.image_size / self.resize_size / 2
        middle = corners.mean(0)
        return np.concatenate([middle - half, middle + half])


def square_windows(boxes: Float[Array, "n 4"], *, margin: int | float = 0.0) -> Float[Array, "n 4"]:
    """Squares about the middle of each box, of its longer side and `margin` of that on each side.

    They may reach outside the picture.
    """
    corners = np.asarray(boxes, np.float64).reshape(-1, 2, 2)
    half = (corners[:, 1] - corners[:, 0]).max(1, initial=_LEAST_SIDE, keepdims=True) / 2
    half = half * (1 + 2 * margin)
    middle = corners.mean(1)
    return np.concatenate([middle - half, middle + half], 1)


def w300lp_window(points: Float[Array, "n 2"], k: float) -> Float[Array, 4]:
    """The training crop of 300W-LP around its 2D points; `k` is drawn from 0.2 to 0.4."""
    return _moved(points, left=_EDGE_SHARE * k, right=_EDGE_SHARE * k, k=k)


def aflw2000_window(points: Float[Array, "n 2"], k: float = 0.2) -> Float[Array, 4]:
    """The test crop of AFLW2000 around its 2D points: wider than that of training."""
    return _moved(points, left=_TOP_SHARE * k, right=_TOP_SHARE * k, k=k)


def _moved(points: Float[Array, "n 2"], *, left: float, right: float, k: float) -> Array:
    """The box of the points with x0, y0, x1, y1 moved out in turn, cut to whole px."""
    x0, y0 = np.asarray(points, np.float64).min(0)
    x1, y1 = np.asarray(points, np.float64).max(0)
    x0 -= left * abs(x1 - x0)
    y0 -= _TOP_SHARE * k * abs(y1 - y0)
    x1 += right * abs(x1 - x0)
    y1 += _EDGE_SHARE * k * abs(y1 - y0)
    return np.trunc([x0, y0, x1, y1])


def cut(image: Image.Image, window: Float[Array, 4], side: int) -> UInt8[Array, "side side 3"]:
    """The window of `image` as a square of `side` px, black where there is no picture.

    Edges need not be whole pixels; shrinking is anti-aliased.
    """
    low, high = np.floor(window[:2]), np.ceil(window[2:])
    high = np.maximum(high, low + 1)
    part = image.crop((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    box = (*(window[:2] - low), *(window[2:] - low))
    small = part.resize((side, side), Image.Resampling.BILINEAR, box=box, reducing_gap=_LARGEST_GAP)
    return np.asarray(small)
