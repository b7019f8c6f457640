"""The quick way through an answer that is well formed: one split, and one matrix product.

A text of this kind is an opening, then the numbers of each box with a mark behind them. Splitting
at the marks leaves the numbers. A number far out of range is put behind those of each box, and all
are read at once as rows of five: where a box has more or fewer than four, the extra number falls
among them, and the range does not hold. Whatever fails is left to the family's scanner.
"""

from __future__ import annotations

__all__ = ["Exact", "QuickReader"]

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from headsight.language.dialects.space import FIFTH, Frame

Labels = tuple[str | None, ...]

_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")


@runtime_checkable
class QuickReader(Protocol):
    """A way through well-formed texts."""

    def read(self, text: str, frame: Frame) -> tuple[NDArray[np.float64], Labels] | None:
        """Boxes (N, 4) in pixels and their labels; None where the text is not well formed."""
        ...


@dataclass(frozen=True, eq=False)
class Exact:
    """How a well-formed text of one family is put together."""

    opening: re.Pattern[str]
    """All up to the first number."""
    mark: re.Pattern[str]
    """What stands between the numbers of two boxes, and all behind the last; group 1: a label.

    It starts with a fixed text, by which the engine of regular expressions finds it quickly."""
    comma: str = ","
    """What stands between two numbers of a box, but for spaces."""
    width: int = 0
    """Digits of each number; 0: any."""
    is_label_first: bool = False
    """A label stands before its boxes (group 1 of `opening`, then of marks), not behind each."""

    def read(self, text: str, frame: Frame) -> tuple[NDArray[np.float64], Labels] | None:
        """Boxes (N, 4) in pixels and their labels; None where the text is not well formed."""
        start = self.opening.match(text)
        if start is None or "\\" in text:  # an escape in a label needs decoding
            return None
        parts = self.mark.split(text[start.end() :])
        if parts[-1] or len(parts) < 3:
            return None
        numbers = self._numbers(parts[:-1:2])
        if numbers is None:
            return None
        placed = numbers.dot(frame.matrix)  # (N, 8)
        if placed.item(placed.argmin()) < 0:
            return None
        if self.is_label_first:
            return placed[:, :4], _carried_on((start[1], *parts[1:-2:2]))
        return placed[:, :4], tuple(parts[1::2])

    def _numbers(self, rows: Sequence[str]) -> NDArray[np.int64] | None:
        """(N, 5): the numbers of each row and `FIFTH`; None where there are not 5 N."""
        joint, end = self._fifth
        text = joint.join(rows) + end
        if "+" in text or (self.width and not self._has_width(text, len(rows))):
            return None
        try:
            numbers = np.fromstring(text, np.int64, sep=self.comma)
        except (ValueError, DeprecationWarning):  # not all numbers; old versions of numpy warn
            return None
        return numbers.reshape(-1, 5) if numbers.size == 5 * len(rows) else None

    @cached_property
    def _fifth(self) -> tuple[str, str]:
        """What is put between two rows, and behind the last."""
        end = f"{self.comma}{FIFTH}"
        return end + self.comma, end

    def _has_width(self, text: str, count: int) -> bool:
        zeros = "0" * self.width
        row = self.comma.join([zeros] * 4 + ["0" * len(str(FIFTH))])
        expected = self.comma.join([row] * count)
        return text.encode("ascii", "replace").translate(_TO_ZERO) == expected.encode()


def _carried_on(labels: Sequence[str | None]) -> Labels:
    """Each label, or the one before it where a box has none of its own."""
    carried: list[str | None] = []
    for label in labels:
        carried.append((label or "").strip() or (carried[-1] if carried else None))
    return tuple(carried)
