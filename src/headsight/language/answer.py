"""What was read from a text that a model wrote: a value, or exactly one reason why not."""

from __future__ import annotations

__all__ = ["Answer", "AnswerKind", "Failure"]

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
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
    INVERTED = "inverted"
    """A box whose right or lower edge comes first; never swapped."""
    NOT_A_NUMBER = "not_a_number"
    """Something else where a number belongs."""
    REPEAT = "repeat"
    """The same few characters over and over."""
    NO_BOX = "no_box"
    """Words without a place."""
    WRONG_FAMILY = "wrong_family"
    """Not this family's format, but another's (`NativeAnswer.families`)."""
    UNREADABLE = "unreadable"
    """None of the above."""


@dataclass(slots=True, eq=False)  # a value like any other; `frozen` would cost 10 % of the rate
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
    spans: tuple[tuple[int, int], ...] | None = None
    """What `item_spans` gives; None where the items of a strict text are found by their places."""
    others: tuple[Any, ...] = ()
    """Further answers, where one was asked for."""
    dropped: tuple[tuple[str, str], ...] = ()
    """Items that could not be used: their text, and their failure."""
    flags: frozenset[str] = frozenset()
    """"edge": a number was moved in from the border; "gimbal": pitch or roll beyond 90 degrees."""
    confidence: float | None = None
    """exp of the mean log-probability of the numeric tokens, once `with_confidence` added it."""
    item_confidences: tuple[float, ...] | None = None
    """The same for each of `item_spans`."""

    @property
    def item_spans(self) -> tuple[tuple[int, int], ...]:
        """Start and end of each box or point of `value` in `text`; one for a pose or a count."""
        if self.spans is not None:
            return self.spans
        if not self.strict or self.kind == "none":
            return ()
        start, end = self.span
        if self.kind in ("pose", "count"):
            return (self.span,)
        if self.kind == "boxes":
            start, end = start + 2, end - 2
        edges = [start - 1]
        while (after := self.text.find(";", edges[-1] + 1, end)) >= 0:
            edges.append(after)
        return tuple((a + 1, b) for a, b in pairwise((*edges, end)))

    @property
    def extras(self) -> dict[str, Any]:
        """`others` and `dropped`, as far as there are any."""
        return {
            name: list(found)
            for name, found in (("others", self.others), ("dropped", self.dropped))
            if found
        }

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
