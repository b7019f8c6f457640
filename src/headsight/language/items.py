"""One box, pose or point out of its numbers: arity, range and digits, kind by kind."""

from __future__ import annotations

__all__ = ["ARITY", "Item", "read_item"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headsight.language.answer import Failure
from headsight.language.spec import ANGLE_BINS, CodecSpec

ItemKind = Literal["boxes", "pose", "point"]
ARITY: dict[ItemKind, int] = {"boxes": 4, "pose": 3, "point": 2}

_EDGE = frozenset({"edge"})
_NO_FLAGS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Item:
    """The numbers of one place in steps of the grammar, or why there are none."""

    span: tuple[int, int]
    bins: tuple[float, ...] | None
    failure: Failure | None = None
    flags: frozenset[str] = _NO_FLAGS


def read_item(
    kind: ItemKind, tokens: Sequence[str], spec: CodecSpec, span: tuple[int, int]
) -> Item:
    """The item that `tokens` (texts of numbers) make; a number on the border is moved in."""
    if len(tokens) != ARITY[kind]:
        return Item(span, None, Failure.WRONG_ARITY)
    values = [float(token) for token in tokens]
    if kind == "pose":
        return _read_pose(tokens, values, span)
    return _read_place(kind, tokens, values, spec, span)


def _read_pose(tokens: Sequence[str], values: list[float], span: tuple[int, int]) -> Item:
    if any(abs(value) > ANGLE_BINS for value in values):
        return Item(span, None, Failure.OUT_OF_RANGE)
    if any(abs(value) == ANGLE_BINS for value in values):
        return Item(
            span, tuple(value % ANGLE_BINS for value in values), Failure.OUT_OF_RANGE, _EDGE
        )
    is_exact = all(len(token) == 3 and token.isdecimal() for token in tokens)
    return Item(span, tuple(values), None if is_exact else Failure.BAD_DIGITS)


def _read_place(
    kind: ItemKind,
    tokens: Sequence[str],
    values: list[float],
    spec: CodecSpec,
    span: tuple[int, int],
) -> Item:
    """A box or a point: fractions of the frame where all have a decimal point, else steps."""
    steps = spec.steps
    is_fraction = all("." in token for token in tokens) and (kind == "point" or max(values) <= 1)
    bins = [round(value * steps, 9) for value in values] if is_fraction else values
    if any(not 0 <= value <= steps for value in bins):
        return Item(span, None, Failure.OUT_OF_RANGE)
    failure, flags = None, _NO_FLAGS
    if any(value > steps - 1 for value in bins):
        bins = [min(value, steps - 1.0) for value in bins]
        failure, flags = Failure.OUT_OF_RANGE, _EDGE
    elif not _has_exact_digits(kind, tokens, spec.digits):
        failure = Failure.BAD_DIGITS
    if kind == "boxes" and not (bins[0] < bins[2] and bins[1] < bins[3]):
        return Item(span, None, Failure.DEGENERATE)
    return Item(span, tuple(bins), failure, flags)


def _has_exact_digits(kind: ItemKind, tokens: Sequence[str], digits: int) -> bool:
    if kind == "boxes":
        return all(len(token) == digits and token.isdecimal() for token in tokens)
    return all(len(token) == digits + 2 and token.startswith("0.") for token in tokens)
