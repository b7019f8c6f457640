"""Our own models: `headsight.language.codec`, whose boxes are CogVLM's, as a dialect."""

from __future__ import annotations

__all__ = ["HEADSIGHT", "OwnDialect"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headsight.errors import InputError
from headsight.language.answer import Answer, Failure
from headsight.language.codec import CodecSpec, encode, parse
from headsight.language.dialects.dialect import MODES, blank_out, look_elsewhere
from headsight.language.dialects.native_answer import NativeAnswer
from headsight.language.dialects.scan import FOREIGN
from headsight.language.dialects.space import Region
from headsight.language.prompts import refer

_SPEC = CodecSpec("boxes")
_KEPT = (Failure.TRUNCATED, Failure.DEGENERATE, Failure.OUT_OF_RANGE, Failure.WRONG_ARITY)
"""Failures beside which a strict reading keeps the complete boxes."""


@dataclass(frozen=True, eq=False)
class OwnDialect:
    """`[[016,042,172,458;...]]` in thousandths of the picture, or `none`; no labels."""

    name: str = "headsight"
    note: str = ""
    tasks: tuple[str, ...] = ("refer",)
    needs_seen_wh: bool = False

    def prompt(self, words: str, task: str = "refer") -> str:
        """The question that our models are trained on.

        Raises:
            InputError: another task, or words that are none.
        """
        if task not in self.tasks:
            raise InputError(f"{self.name} has no question for the task {task!r}; expected refer.")
        return refer(words)

    def format(
        self,
        boxes: Any,
        image_wh: tuple[int, int],
        seen_wh: tuple[int, int] | None = None,
        labels: Sequence[str | None] | None = None,
    ) -> str:
        """The answer that names `boxes` (N, 4) in pixels; labels have no place in it."""
        return encode(boxes, _SPEC, image_wh=image_wh)

    def parse(
        self,
        text: str,
        image_wh: tuple[int, int],
        seen_wh: tuple[int, int] | None = None,
        *,
        mode: str = "strict",
        prompt: str = "",
        region: Region | None = None,
    ) -> NativeAnswer:
        """What `text` says; see `NativeDialect.parse`."""
        if mode not in MODES:
            raise InputError(f"mode is {mode!r}; expected one of {', '.join(MODES)}.")
        clean = blank_out(text, prompt)
        found = parse(clean, _SPEC, image_wh=image_wh)
        answer = _as_native(found, text, self.name)
        is_foreign = mode == "strict" or FOREIGN.search(clean) is not None
        if is_foreign and not (found.strict or found.failure in _KEPT):
            failure = found.failure or Failure.NO_STRUCTURE
            answer.value, answer.labels, answer.spans = None, (), ()
            answer.failure, answer.recovered, answer.kind = failure, False, None
        elif not found.strict and answer.value is not None and found.failure not in _KEPT:
            answer.repairs = ("form",)
        if answer.value is None:
            look_elsewhere(answer, image_wh, seen_wh or image_wh)
        return answer

    def reads(
        self, text: str, image_wh: tuple[int, int], seen_wh: tuple[int, int] | None = None
    ) -> bool:
        """True where `text` is, strictly and wholly, one of our answers."""
        return parse(blank_out(text), _SPEC, image_wh=image_wh).strict

    def spans(self, text: str) -> tuple[tuple[int, int], ...]:
        """Where the numbers of each box of a well-formed `text` stand."""
        return parse(blank_out(text), _SPEC).item_spans


def _as_native(answer: Answer, text: str, name: str) -> NativeAnswer:
    boxes = answer.value if answer.value is not None else ()
    return NativeAnswer(
        answer.value,
        answer.kind,
        answer.asked,
        answer.strict,
        answer.failure,
        answer.recovered,
        text,
        answer.span,
        answer.spans,
        answer.others,
        answer.dropped,
        answer.flags,
        labels=(None,) * len(boxes),
        dialect=name,
    )


HEADSIGHT = OwnDialect()
