"""What was read from a text that a model wrote: a value, or exactly one reason why not."""

from __future__ import annotations

__all__ = ["Answer", "AnswerKind", "Failure"]

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from headsight.language.spec import Kind

AnswerKind = Kind | Literal["none"]


class Failure(StrEnum):
    """Why an answer is not what was asked for."""

    EMPTY = "empty"
    """Nothing was written."""
    REFUSAL = "refusal"
    """Words that decline to answer."""
    NO_STRUCTURE = "no_structure"
    """The right numbers without the right brackets."""
    WRONG_KIND = "wrong_kind"
    """A complete answer to another question."""
    BLENDED = "blended"
    """Parts of two kinds."""
    WRONG_ARITY = "wrong_arity"
    """Too many or too few numbers."""
    OUT_OF_RANGE = "out_of_range"
    """A number outside its range; the very border is taken in (`edge` in `Answer.flags`)."""
    BAD_DIGITS = "bad_digits"
    """Numbers with more or fewer digits than the grammar has, signs or decimals."""
    TRUNCATED = "truncated"
    """The text ends before the closing bracket."""
    MULTIPLE = "multiple"
    """Several answers where one was asked for."""
    DEGENERATE = "degenerate"
    """A box without area, or key points that all coincide."""
    REPEAT = "repeat"
    """The same few characters over and over."""
    UNREADABLE = "unreadable"
    """None of the above."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One reading: `is_valid` says whether `value` may be used, `strict` whether it was exact."""

    value: Any
    """boxes (N, 4), pose (3,) yaw, pitch, roll in degrees, point (2,), points (N, 2), count int.

    None where nothing could be read, and for a hidden point."""
    kind: AnswerKind | None
    """The kind that was found: not always the kind that was asked for."""
    asked: Kind
    """The kind that was asked for."""
    strict: bool
    """The whole text is one answer of the canonical grammar."""
    failure: Failure | None = None
    """What is wrong with the answer, if anything."""
    recovered: bool = False
    """`value` holds in spite of `failure`."""
    text: str = ""
    """The text as it came."""
    span: tuple[int, int] = (0, 0)
    """Start and end of the answer in `text`."""
    item_spans: tuple[tuple[int, int], ...] = ()
    """Start and end of each box or point of `value` in `text`; one span for a pose or a count."""
    extras: dict[str, Any] = field(default_factory=dict)
    """`others` (further answers), `dropped` (unusable items, as text with their failure)."""
    flags: frozenset[str] = frozenset()
    """"edge": a number was moved in from the border; "gimbal": pitch or roll beyond 90 degrees."""
    confidence: float | None = None
    """exp of the mean log-probability of the numeric tokens, once `with_confidence` added it."""
    item_confidences: tuple[float, ...] | None = None
    """The same for each of `item_spans`."""

    @property
    def is_valid(self) -> bool:
        """True where the answer can be used: exact, or recovered."""
        return self.failure is None or self.recovered

    @property
    def is_swapped(self) -> bool:
        """True where a complete answer of another kind came."""
        return self.failure is Failure.WRONG_KIND

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the reading without the text."""
        return {
            "asked": self.asked,
            "kind": self.kind,
            "strict": self.strict,
            "valid": self.is_valid,
            "failure": None if self.failure is None else str(self.failure),
            "flags": sorted(self.flags),
        }
