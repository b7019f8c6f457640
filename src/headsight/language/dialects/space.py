"""Numbers of an answer to pixels and back: the one home of each family's coordinate space."""

from __future__ import annotations

__all__ = ["FIFTH", "Frame", "Region", "Space", "frame_of"]

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.language.answer import Failure

FIFTH = 2**17
"""A number beyond all ranges; a power of two, so that dividing by it is exact."""

Array = NDArray[np.float64]
Box = tuple[float, float, float, float]
Region = Box
"""Xyxy px of the picture that a model saw as its whole canvas; beyond the picture where padded."""


@dataclass(frozen=True, eq=False)
class Space:
    """What the four numbers of a box are relative to, and how they were cut to digits.

    A box edge of number v lies at (v + offset) / divisor of the side.
    """

    divisor: int | None = 1000
    """The number that stands for the far border; None: pixels of the picture as the model saw it.
    """
    highest: int | None = None
    """The largest number that may be written; None: the far border."""
    order: Literal["xyxy", "yxyx"] = "xyxy"
    is_padded: bool = False
    """The sides are those of the picture padded to a square, the picture in its middle, or of the
    region that the model is known to have seen instead."""
    offset: float = 0.0
    """0.5 where a number names a bin that is read at its centre."""
    rounding: Literal["round", "floor"] = "round"
    decimals: int = 0
    """Decimals that are written."""
    digits: int = 0
    """Digits that are written at least, with leading zeros."""
    tolerance: float = 0.05
    """Share of the range by which a number may lie outside and be moved to the border."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A `Space` over one picture: pixel = number * scale + shift, x and y apart."""

    space: Space
    image_wh: tuple[int, int]
    scale: tuple[float, float]
    shift: tuple[float, float]
    sides: tuple[float, float]
    """Width and height of the picture."""
    limit: tuple[float, float]
    """The largest number in x and in y."""
    matrix: Array
    """(5, 8): four whole numbers and `FIFTH`, to four pixels and four margins that are >= 0 where
    the box has an area and lies in range (for spaces that cannot leave the picture)."""

    def box(self, numbers: Sequence[float]) -> tuple[Box | None, Failure | None]:
        """Pixels x0, y0, x1, y1, and what is wrong: `out_of_range` beside a box that was cut."""
        a, b, c, d = numbers
        x0, y0, x1, y1 = (a, b, c, d) if self.space.order == "xyxy" else (b, a, d, c)
        if not (self._is_near(x0, y0) and self._is_near(x1, y1)):
            return None, Failure.OUT_OF_RANGE
        if x1 < x0 or y1 < y0:
            return None, Failure.INVERTED
        cut = (*self._cut(x0, y0), *self._cut(x1, y1))
        (sx, sy), (ox, oy) = self.scale, self.shift
        pixels = cut[0] * sx + ox, cut[1] * sy + oy, cut[2] * sx + ox, cut[3] * sy + oy
        if self.space.is_padded:
            low, high = _into(pixels[:2], self.sides), _into(pixels[2:], self.sides)
            is_in_padding = cut[0] < cut[2] and cut[1] < cut[3]
            pixels = (*low, *high)
            if is_in_padding and not (low[0] < high[0] and low[1] < high[1]):
                return None, Failure.OUT_OF_RANGE
        if not (pixels[0] < pixels[2] and pixels[1] < pixels[3]):
            return None, Failure.DEGENERATE
        return pixels, None if cut == (x0, y0, x1, y1) else Failure.OUT_OF_RANGE

    def point(self, numbers: Sequence[float]) -> tuple[tuple[float, float] | None, Failure | None]:
        """Pixels x, y, and what is wrong, as `box`; no family writes points of a padded square."""
        first, second = numbers
        x, y = (first, second) if self.space.order == "xyxy" else (second, first)
        if not self._is_near(x, y):
            return None, Failure.OUT_OF_RANGE
        cut = self._cut(x, y)
        pixels = cut[0] * self.scale[0] + self.shift[0], cut[1] * self.scale[1] + self.shift[1]
        return pixels, None if cut == (x, y) else Failure.OUT_OF_RANGE

    def write(self, places: Any) -> list[list[str]]:
        """Numbers of boxes (N, 4) or points (N, 2) in pixels, in the order of the family.

        A box narrower than one step is widened to one, so that it can be read.

        Raises:
            InputError: a wrong shape, not finite, or a box without area inside the picture.
        """
        array = _places(places)
        columns, width = array.shape[1], self.image_wh
        inside = np.clip(array, 0, np.tile(width, columns // 2))
        is_usable = np.isfinite(array).all(-1)
        if columns == 4:
            is_usable &= (inside[:, 2:] > inside[:, :2]).all(-1)
        if not is_usable.all():
            raise InputError(
                f"The place {array[~is_usable][0].tolist()} has no area inside a picture of"
                f" {width[0]}x{width[1]}, or is not finite; expected pixels x0 < x1 and y0 < y1."
                " Drop such places before they are written as text."
            )
        repeat = columns // 2
        scaled = (inside - np.tile(self.shift, repeat)) / np.tile(self.scale, repeat)
        steps = self._steps(scaled + self.space.offset)
        if self.space.order == "yxyx":
            steps = steps.reshape(-1, repeat, 2)[..., ::-1].reshape(-1, columns)
        decimals, digits = self.space.decimals, self.space.digits
        return [
            [f"{v:.{decimals}f}" if decimals else f"{v:0{digits}.0f}" for v in r] for r in steps
        ]

    def _steps(self, scaled: Array) -> Array:
        """Numbers as they are written: whole steps inside the range, no box without area."""
        unit = 10.0**-self.space.decimals
        cut = np.rint if self.space.rounding == "round" else np.floor
        top = np.floor(np.array(self.limit) / unit + 1e-9)
        counts = cut(np.round(scaled / unit, 6))
        counts = np.clip(counts, 0, np.tile(top, scaled.shape[1] // 2))
        if counts.shape[1] == 4:
            low, high = counts[:, :2], counts[:, 2:]
            first = np.clip(np.floor(scaled[:, :2] / unit), 0, top - 1)
            low, high = np.where(high > low, low, first), np.where(high > low, high, first + 1)
            counts = np.concatenate((low, high), -1)
        return np.asarray(counts * unit)

    def _is_near(self, x: float, y: float) -> bool:
        (lx, ly), spare = self.limit, self.space.tolerance
        return -spare * lx <= x <= lx * (1 + spare) and -spare * ly <= y <= ly * (1 + spare)

    def _cut(self, x: float, y: float) -> tuple[float, float]:
        return _into((x, y), self.limit)


@lru_cache(maxsize=512)
def frame_of(
    space: Space,
    image_wh: tuple[int, int],
    seen_wh: tuple[int, int] | None = None,
    region: Region | None = None,
) -> Frame:
    """`space` over a picture of `image_wh`, of which the model saw `region` at `seen_wh`.

    Raises:
        InputError: a size that is not positive, or no `seen_wh` where numbers are pixels of it.
    """
    width, height = _size(image_wh, "image_wh")
    sides, shift = np.array((width, height), dtype=np.float64), np.zeros(2)
    if space.is_padded:
        x0, y0, x1, y1 = _padded_square(width, height) if region is None else region
        sides, shift = np.array((x1 - x0, y1 - y0)), np.array((x0, y0))
    if space.divisor is not None:
        borders = np.full(2, space.divisor, dtype=np.float64)
        limit = borders if space.highest is None else np.full(2, space.highest, dtype=np.float64)
    elif seen_wh is not None:
        borders = limit = np.array(_size(seen_wh, "seen_wh"), dtype=np.float64)
    else:
        raise InputError(
            "This family answers in pixels of the picture as the model saw it, but seen_wh is"
            " missing; expected its (width, height). Take it from the processor's grid, for"
            " instance 14 * image_grid_thw, and pass seen_wh=."
        )
    scale = sides / borders
    shift = shift + space.offset * scale
    return Frame(
        space,
        (width, height),
        _pair(scale),
        _pair(shift),
        (float(width), float(height)),
        _pair(limit),
        _matrix(space, scale, shift, limit),
    )


def _padded_square(width: int, height: int) -> Region:
    side = max(width, height)
    x0, y0 = -float((side - width) // 2), -float((side - height) // 2)
    return x0, y0, x0 + side, y0 + side


def _matrix(space: Space, scale: Array, shift: Array, limit: Array) -> Array:
    """See `Frame.matrix`."""
    columns = (0, 1, 2, 3) if space.order == "xyxy" else (1, 0, 3, 2)  # of x0, y0, x1, y1
    matrix = np.zeros((5, 8))
    for edge, column in enumerate(columns):
        axis, is_far = edge % 2, edge > 1
        matrix[column, edge], matrix[4, edge] = scale[axis], shift[axis]
        matrix[column, 4 + axis] = 1 if is_far else -1  # an area: x1 - x0 - 0.5 >= 0
        if is_far:
            matrix[column, 6 + axis], matrix[4, 6 + axis] = -1, limit[axis]  # limit - x1 >= 0
    matrix[4, 4:6] = -0.5
    matrix[4] /= FIFTH
    return matrix


def _into(xy: Sequence[float], limit: Sequence[float]) -> tuple[float, float]:
    return min(max(xy[0], 0.0), limit[0]), min(max(xy[1], 0.0), limit[1])


def _pair(values: Array) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _size(size: tuple[int, int], name: str) -> tuple[int, int]:
    width, height = size
    if not (width > 0 and height > 0):
        raise InputError(
            f"{name} is {tuple(size)}, but a width and a height of at least 1 are needed."
        )
    return width, height


def _places(places: Any) -> Array:
    """Boxes (N, 4) or points (N, 2) as numbers."""
    try:
        array = np.asarray(places, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{places!r} is not a table of numbers; expected (N, 4) boxes.") from error
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] not in (2, 4):
        raise InputError(
            f"The places have shape {array.shape}, but (N, 4) boxes or (N, 2) points are needed."
        )
    return array
