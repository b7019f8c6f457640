"""The tolerant reader: what can be trusted in a text that does not follow the grammar, and why not.

Order of rules: pass over code fences and the repeated question; answers of the asked kind in their
brackets; any other kind (`wrong_kind`); labelled or bare numbers of the right count and range
(`no_structure`); a loop (`repeat`); words that decline (`refusal`); else `unreadable`. Complete
boxes are kept whatever surrounds them; a missing number is never made up. Time is linear in the
length of the text.
"""

from __future__ import annotations

__all__ = ["NONE", "pose_flags", "read_tolerantly"]

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from headsight.language.answer import Answer, AnswerKind, Failure
from headsight.language.items import Item, ItemKind
from headsight.language.pieces import (
    Piece,
    bare_pieces,
    find_pieces,
    labelled_piece,
    stray_boxes,
)
from headsight.language.quantize import bins_to_angles, bins_to_boxes, bins_to_points
from headsight.language.spec import CodecSpec
from headsight.language.syntax import NUMBER, strict_pattern

NONE: Final = "none"

_WIDE = str.maketrans("０１２３４５６７８９．，、；：［］｛｝（）－−＋", "0123456789.,,;:[]{}()--+")  # noqa: RUF001
_FENCE = re.compile(r"```(?:[A-Za-z]+(?=\s))?")
_REFUSAL = re.compile(
    r"\b(?:cannot|can't|can’t|can not|unable|sorry|not (?:able|sure|possible|visible)|don't know"  # noqa: RUF001
    r"|do not know|impossible|no idea|unclear)\b",
    re.IGNORECASE,
)
_LOOP_PERIODS = range(1, 25)
_LOOP_TIMES = 6
_LOOP_CHARACTERS = 24


def read_tolerantly(
    text: str,
    spec: CodecSpec,
    *,
    image_wh: tuple[int, int] | None = None,
    prompt: str | None = None,
    hit_limit: bool = False,
) -> Answer:
    """The reading of a text that is not one strict answer; see `headsight.language.codec.parse`."""
    return _Reading(text, spec, image_wh, prompt, hit_limit).answer()


def pose_flags(ypr_deg: Any) -> frozenset[str]:
    """The flag `gimbal` where pitch or roll lie beyond 90 degrees: the triple is not unique."""
    return frozenset({"gimbal"} if (abs(ypr_deg[1:]) > 90).any() else ())


class _Reading:
    """One text on its way through the rules."""

    def __init__(
        self,
        text: str,
        spec: CodecSpec,
        image_wh: tuple[int, int] | None,
        prompt: str | None,
        hit_limit: bool,
    ) -> None:
        self.text, self.spec, self.image_wh, self.hit_limit = text, spec, image_wh, hit_limit
        self.clean = _blank_out(text.translate(_WIDE), prompt)
        self.words = self.clean.strip()

    def answer(self) -> Answer:
        if not self.words:
            return self._fail(Failure.EMPTY)
        pieces = list(find_pieces(self.clean, self.spec, hit_limit=self.hit_limit))
        if self.spec.kind == "count":
            return self._count(pieces)
        kind: ItemKind = "point" if self.spec.kind == "points" else self.spec.kind
        own = [piece for piece in pieces if piece.kind == kind and not piece.is_mixed]
        others = [p for p in pieces if p.kind != kind and not p.is_mixed and p.is_answer]
        if kind == "boxes":
            own += stray_boxes(self.clean, self.spec, own)
            own.sort(key=lambda piece: piece.span)
        is_read = any(piece.is_complete for piece in own)
        if any(piece.is_mixed for piece in pieces) or (is_read and others):
            if exact := [piece for piece in own if self._is_exact(piece)]:
                return self._accept(exact, Failure.BLENDED)
            return self._fail(Failure.BLENDED, pieces)
        if is_read:
            return self._accept(own)
        if own and not self._is_loop():
            return self._fail(_first_failure(own), own)
        if others:
            return self._fail(Failure.WRONG_KIND, others, others[0].kind)
        return self._without_brackets(kind)

    def _is_exact(self, piece: Piece) -> bool:
        """True for a piece to be trusted beside parts of another kind."""
        if piece.kind == "boxes":  # no box is lost because a neighbour is spoilt
            return any(item.bins and item.failure is None for item in piece.items)
        return piece.is_complete and piece.is_exact(self.clean, self.spec)

    def _without_brackets(self, kind: ItemKind) -> Answer:
        word = self.words.strip(" .!'\"`").lower()
        if word == NONE or (kind == "boxes" and self.words in ("[]", "[[]]")):
            if kind == "boxes":
                return self._none(np.zeros((0, 4)))
            if kind == "point" and self.spec.visibility == "ask":
                return self._none(None)
            return self._fail(Failure.WRONG_KIND, kind=NONE)
        labelled = labelled_piece(self.clean, kind, self.spec)
        bare = [labelled] if labelled else list(bare_pieces(self.clean, kind, self.spec))
        if any(piece.is_complete for piece in bare):
            return self._accept(bare, Failure.NO_STRUCTURE)
        if self._is_loop():
            return self._fail(Failure.REPEAT)
        if bare:
            return self._fail(_first_failure(bare), bare)
        numbers = [number[0] for number in NUMBER.finditer(self.clean)]
        if numbers and not re.search(r"[^\W\d_]", self.clean):  # numbers alone, of a wrong count
            limit = 360 if kind == "pose" else self.spec.steps
            if any(abs(float(number)) > limit for number in numbers):
                return self._fail(Failure.OUT_OF_RANGE)
            if strict_pattern("count", 1).fullmatch(self.words):
                return self._fail(Failure.WRONG_KIND, kind="count")
            return self._fail(Failure.WRONG_ARITY)
        return self._without_numbers()

    def _without_numbers(self) -> Answer:
        if self._is_loop():
            return self._fail(Failure.REPEAT)
        is_refusal = _REFUSAL.search(self.clean) is not None
        return self._fail(Failure.REFUSAL if is_refusal else Failure.UNREADABLE)

    def _count(self, pieces: Sequence[Piece]) -> Answer:
        complete = [piece for piece in pieces if piece.is_answer]
        if complete:
            return self._fail(Failure.WRONG_KIND, complete, complete[0].kind)
        if self.words.strip(" .").lower() == NONE:
            return self._fail(Failure.WRONG_KIND, kind=NONE)
        numbers = list(NUMBER.finditer(self.clean))
        if not numbers or self._is_loop():
            return self._without_numbers()
        first, span = float(numbers[0][0]), numbers[0].span()
        if not 0 <= first < 1e7:
            return self._fail(Failure.OUT_OF_RANGE)
        if first != int(first):
            return self._fail(Failure.BAD_DIGITS)
        if self.hit_limit and span[1] == len(self.clean.rstrip()):
            return self._fail(Failure.TRUNCATED)
        failure = Failure.NO_STRUCTURE if numbers[0][0].isdecimal() else Failure.BAD_DIGITS
        if len(numbers) > 1:
            failure = Failure.MULTIPLE
        return Answer(
            int(first),
            "count",
            "count",
            False,
            failure,
            True,
            self.text,
            span,
            (span,),
            others=tuple(number[0] for number in numbers[1:]),
        )

    def _accept(self, pieces: Sequence[Piece], failure: Failure | None = None) -> Answer:
        """The usable items of `pieces`, at least one of which is complete."""
        items = [item for piece in pieces for item in piece.items]
        good = [item for item in items if item.bins is not None]
        bad = [item for item in items if item.bins is None]
        kind = self.spec.kind
        others: list[Item] = []
        if kind in ("pose", "point"):
            good, others = good[:1], good[1:]
        elif kind == "boxes" and any(piece.is_truncated for piece in pieces) and self._is_loop():
            good, failure = _without_repeats(good), Failure.REPEAT
        kept = items if kind == "points" else good  # points keep their order: a bad one is NaN
        value = self._value(kept)
        if kind == "points" and len(good) == len(kept) > 1 and (value == value[0]).all():
            failure = failure or Failure.DEGENERATE
        failure = failure or _failure_of(pieces, bad, others, good)
        flags = frozenset[str]().union(*(item.flags for item in good))
        return Answer(
            value,
            kind,
            kind,
            False,
            failure,
            failure is not None,
            self.text,
            (pieces[0].span[0], pieces[-1].span[1]),
            tuple(item.span for item in kept),
            tuple(self._value([item]) for item in others),
            tuple((self.text[slice(*item.span)], str(item.failure)) for item in bad),
            flags | pose_flags(value) if kind == "pose" else flags,
        )

    def _value(self, items: Sequence[Item]) -> Any:
        kind = self.spec.kind
        rows = [item.bins or (float("nan"),) * 2 for item in items]
        bins = np.array(rows, dtype=np.float64)
        if kind == "pose":
            return bins_to_angles(bins[0])
        if kind == "boxes":
            return bins_to_boxes(bins, self.spec, self.image_wh)
        points = bins_to_points(bins, self.spec, self.image_wh)
        return points[0] if kind == "point" else points

    def _none(self, value: Any) -> Answer:
        start = self.clean.index(self.words)
        span = (start, start + len(self.words))
        return Answer(value, NONE, self.spec.kind, False, text=self.text, span=span)

    def _fail(
        self, failure: Failure, pieces: Sequence[Piece] = (), kind: AnswerKind | None = None
    ) -> Answer:
        span = (pieces[0].span[0], pieces[-1].span[1]) if pieces else (0, len(self.text))
        return Answer(None, kind, self.spec.kind, False, failure, False, self.text, span)

    def _is_loop(self) -> bool:
        """True where the text ends in one short unit said many times."""
        tail = self.words[-max(_LOOP_PERIODS) * (_LOOP_TIMES + 1) :]
        for period in _LOOP_PERIODS:
            length = max(_LOOP_TIMES * period, _LOOP_CHARACTERS)
            if len(tail) >= length + period and tail[-length:] == tail[-length - period : -period]:
                return True
        return False


def _blank_out(text: str, prompt: str | None) -> str:
    """Spaces in place of code fences and of the question, so that every position stays."""
    if prompt:
        text = text.replace(prompt, " " * len(prompt))
    if "```" in text:
        text = _FENCE.sub(lambda match: " " * len(match[0]), text)
    return text


def _without_repeats(items: Sequence[Item]) -> list[Item]:
    return list({item.bins: item for item in reversed(items)}.values())[::-1]


def _first_failure(pieces: Sequence[Piece]) -> Failure:
    """Why none of `pieces` can be used; only one that is cut short may have no items at all."""
    if any(piece.is_truncated for piece in pieces):
        return Failure.TRUNCATED
    failures = [item.failure for piece in pieces for item in piece.items]
    return failures[0] or Failure.UNREADABLE


def _failure_of(
    pieces: Sequence[Piece], bad: Sequence[Item], others: Sequence[Item], good: Sequence[Item]
) -> Failure | None:
    """The gravest thing that is wrong with an answer that can be used."""
    if any(piece.is_truncated for piece in pieces):
        return Failure.TRUNCATED
    if bad:
        return bad[0].failure
    if others:
        return Failure.MULTIPLE
    for item in good:
        if item.failure is not None:
            return item.failure
    return Failure.NO_STRUCTURE if any(piece.is_loose for piece in pieces) else None
