"""How alike two lots of weights are: sums over all numbers, which add up over pieces."""

from __future__ import annotations

__all__ = ["Moments", "exact_moments", "moments"]

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from numpy.typing import NDArray

from headsight.merging.numbers import Floats

_ROW = 1 << 12
"""Numbers whose products are added in float32; such sums are then added in float64."""


@dataclass(frozen=True)
class Moments:
    """Sums of products over all numbers of two vectors; they add up over parts."""

    dot: float = 0.0
    first: float = 0.0
    """Sum of squares of the first."""
    second: float = 0.0
    difference: float = 0.0
    """Sum of squares of second minus first."""

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.dot + other.dot,
            self.first + other.first,
            self.second + other.second,
            self.difference + other.difference,
        )

    @property
    def cosine(self) -> float:
        """Of the angle between the two, in [-1, 1]; 1 where they are equal, 0 if one is zero."""
        if math.isnan(self.dot):
            return math.nan  # nobody looked
        if self.difference == 0 and self.first == self.second:
            return 1.0
        if self.first == 0 or self.second == 0:
            return 0.0
        value = self.dot / (math.sqrt(self.first) * math.sqrt(self.second))
        return min(max(value, -1.0), 1.0)

    @property
    def relative_norm(self) -> float:
        """Length of the difference over that of the first; infinite where only that is zero."""
        if math.isnan(self.dot):
            return math.nan
        if self.first == 0:
            return math.inf if self.difference > 0 else 0.0
        return math.sqrt(self.difference / self.first)


def moments(first: Float32[Floats, " n"], second: Float32[Floats, " n"]) -> Moments:
    """The sums, right to about 1e-6 of each."""
    change = second - first
    return Moments(
        _dot(first, second), _dot(first, first), _dot(second, second), _dot(change, change)
    )


def exact_moments(
    first: Float[NDArray[np.floating], " n"], second: Float[NDArray[np.floating], " n"]
) -> Moments:
    """The sums, all in float64."""
    one, two = first.astype(np.float64), second.astype(np.float64)
    change = two - one
    return Moments(float(one @ two), float(one @ one), float(two @ two), float(change @ change))


def _dot(one: Float32[Floats, " n"], two: Float32[Floats, " n"]) -> float:
    # short rows keep float32 sums right, and BLAS in the thread that called it
    whole = len(one) - len(one) % _ROW
    rows = np.vecdot(one[:whole].reshape(-1, _ROW), two[:whole].reshape(-1, _ROW))
    return float(rows.sum(dtype=np.float64)) + float(np.vecdot(one[whole:], two[whole:]))
