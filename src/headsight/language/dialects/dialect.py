"""A dialect: how one family of models is asked, how it answers, and what its numbers mean.

A strict reading (`mode="strict"`, for evaluation) takes what follows the family's grammar, and the
complete boxes before the place where a text is cut off. A lenient one also puts right what models
are known to get wrong, and names each repair. Neither guesses a coordinate space, swaps corners or
makes up a number, and no text makes them raise.
"""

from __future__ import annotations

__all__ = ["MODES", "Dialect", "NativeDialect", "blank_out", "look_elsewhere"]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.language.answer import Failure
from headsight.language.dialects.exact import QuickReader
from headsight.language.dialects.native_answer import NativeAnswer
from headsight.language.dialects.scan import Scanner
from headsight.language.dialects.settle import settle
from headsight.language.dialects.space import Frame, Region, Space, frame_of
from headsight.language.prompts import clean_expression

MODES = ("strict", "lenient")

_WIDE = str.maketrans("０１２３４５６７８９．，；：［］｛｝（）－＜＞", "0123456789.,;:[]{}()-<>")  # noqa: RUF001
_END = re.compile(
    r"</?s>|<pad>|<bos>|<eos>|<\|(?:im_end|endoftext|eot_id|end|end▁of▁sentence)\|>"
    r"|<｜end▁of▁sentence｜>|<end_of_turn>|<end_of_utterance>|\[EOS\]|<\|user\|>"  # noqa: RUF001
)
_THINKING = (("<think>", "</think>"), ("◁think▷", "◁/think▷"))
_DIGIT = re.compile(r"[0-9]")
_NO_FLAGS: frozenset[str] = frozenset()
_OF_GRAMMAR = (
    Failure.NO_STRUCTURE,
    Failure.NOT_A_NUMBER,
    Failure.NO_BOX,
    Failure.UNREADABLE,
    Failure.TRUNCATED,
    Failure.BAD_DIGITS,
)
"""Failures that another family's grammar may explain."""
_LONGEST_LOOKED_AT = 20_000
"""Characters of a text that other families are asked to read."""


@runtime_checkable
class Dialect(Protocol):
    """What every entry of `DIALECTS` can do."""

    @property
    def name(self) -> str:
        """Key of `DIALECTS`."""
        ...

    @property
    def note(self) -> str:
        """What its source does not confirm; empty where it is checked."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """What `prompt` can ask for."""
        ...

    @property
    def needs_seen_wh(self) -> bool:
        """Its numbers are pixels of the picture as the model saw it."""
        ...

    def prompt(self, words: str, task: str = "refer") -> str:
        """The family's own question for what `words` name."""
        ...

    def format(
        self,
        boxes: Any,
        image_wh: tuple[int, int],
        seen_wh: tuple[int, int] | None = None,
        labels: Sequence[str | None] | None = None,
    ) -> str:
        """The answer that names `boxes`."""
        ...

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
        """What `text` says."""
        ...

    def reads(
        self, text: str, image_wh: tuple[int, int], seen_wh: tuple[int, int] | None = None
    ) -> bool:
        """True where `text` is, strictly and wholly, an answer of this family."""
        ...

    def spans(self, text: str) -> tuple[tuple[int, int], ...]:
        """Where the numbers of each box of a well-formed `text` stand."""
        ...


@dataclass(frozen=True, eq=False)
class NativeDialect:
    """A family that is told by its grammar and its space."""

    name: str
    scanner: Scanner
    space: Space
    prompts: Mapping[str, str]
    """A question for each task, with {words}."""
    exact: QuickReader | None = None
    """The quick way through well-formed boxes, if there is one."""
    kind: Literal["boxes", "points"] = "boxes"
    """What is asked of the family."""
    note: str = ""
    """What its source does not confirm; empty where the format is checked."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """What `prompt` can ask for."""
        return tuple(self.prompts)

    @property
    def needs_seen_wh(self) -> bool:
        """The numbers are pixels of the picture as the model saw it."""
        return self.space.divisor is None

    def prompt(self, words: str, task: str = "refer") -> str:
        """The family's own question for what `words` name.

        Raises:
            InputError: a task that the family has no question for, or words that are none.
        """
        if task not in self.prompts:
            raise InputError(
                f"{self.name} has no question for the task {task!r}; expected one of"
                f" {', '.join(self.prompts)}."
            )
        return self.prompts[task].replace("{words}", clean_expression(words))

    def format(
        self,
        boxes: Any,
        image_wh: tuple[int, int],
        seen_wh: tuple[int, int] | None = None,
        labels: Sequence[str | None] | None = None,
    ) -> str:
        """The answer that names `boxes` (N, 4), or points (N, 2), in pixels of the original.

        Raises:
            InputError: places that the family cannot write, labels of another number, a label that
                would end itself, or no `seen_wh` where it is needed.
        """
        rows = frame_of(self.space, image_wh, seen_wh).write(boxes)
        names = list(labels) if labels is not None else [None] * len(rows)
        if len(names) != len(rows):
            raise InputError(
                f"{len(names)} labels were given for {len(rows)} places; expected one for each."
            )
        return self.scanner.write(rows, names)

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
        """What `text` says, in pixels of the original picture.

        Args:
            text: what a model wrote; decode it with the special tokens left in.
            image_wh: size of the original picture.
            seen_wh: size at which the model saw it, where `needs_seen_wh`.
            mode: "strict", or "lenient" with repairs.
            prompt: the question, passed over where the model repeats it.
            region: the part of the picture that the model saw, for families whose numbers are
                shares of a square; by default the picture padded to a square.

        Raises:
            InputError: an unknown mode, a size that is none, or no `seen_wh` where it is needed.
        """
        if mode not in MODES:
            raise InputError(f"mode is {mode!r}; expected one of {', '.join(MODES)}.")
        frame = frame_of(self.space, image_wh, seen_wh, region)
        if self.exact is not None and (found := self.exact.read(text, frame)) is not None:
            return self._exactly(text, *found)
        answer = self._read(text, frame, mode=mode, prompt=prompt)
        if answer.value is None:
            look_elsewhere(answer, image_wh, seen_wh or image_wh)
        return answer

    def reads(
        self, text: str, image_wh: tuple[int, int], seen_wh: tuple[int, int] | None = None
    ) -> bool:
        """True where `text` is, strictly and wholly, an answer of this family."""
        frame = frame_of(self.space, image_wh, seen_wh)
        return self._read(text, frame, mode="strict", prompt="").failure is None

    def spans(self, text: str) -> tuple[tuple[int, int], ...]:
        """Where the numbers of each box of a well-formed `text` stand."""
        return tuple(place.span for place in self.scanner.scan(blank_out(text)).places)

    def _exactly(
        self, text: str, boxes: NDArray[np.float64], labels: tuple[str | None, ...]
    ) -> NativeAnswer:
        return NativeAnswer(
            boxes, "boxes", self.kind, True, None, False, text, (0, len(text)), None, (), (),
            _NO_FLAGS, None, None, labels, self.name,
        )  # fmt: skip

    def _read(self, text: str, frame: Frame, *, mode: str, prompt: str) -> NativeAnswer:
        clean = blank_out(text, prompt)
        if self.exact is not None and (found := self.exact.read(clean, frame)) is not None:
            return self._exactly(text, *found)
        is_lenient = mode == "lenient"
        wide = clean.translate(_WIDE) if is_lenient and not clean.isascii() else clean
        scan = self.scanner.scan(wide, is_lenient=is_lenient, prompt=prompt)
        if wide != clean and scan.places:
            scan.repairs.insert(0, "wide_characters")
        scan.is_cut |= any(a in text and b not in text for a, b in _THINKING)
        return settle(
            text, clean, scan, frame, dialect=self.name, asked=self.kind, is_lenient=is_lenient
        )


def blank_out(text: str, prompt: str = "") -> str:
    """Spaces in place of marks of the end, of thinking and of the question: positions stay."""
    for opening, closing in _THINKING:
        if (end := text.rfind(closing)) >= 0:
            end += len(closing)
        elif opening in text:  # the thinking does not end, so there is no answer yet
            end = len(text)
        text = " " * max(end, 0) + text[max(end, 0) :]
    if prompt and prompt in text:
        text = text.replace(prompt, " " * len(prompt))
    return _END.sub(lambda match: " " * len(match[0]), text)


def look_elsewhere(
    answer: NativeAnswer, image_wh: tuple[int, int], seen_wh: tuple[int, int]
) -> None:
    """Name the dialects that read what this one does not."""
    from headsight.language.dialects import DIALECTS

    is_hopeless = _DIGIT.search(answer.text) is None or len(answer.text) > _LONGEST_LOOKED_AT
    if is_hopeless or answer.failure in (Failure.EMPTY, Failure.REFUSAL):
        return
    answer.families = tuple(
        name
        for name, other in DIALECTS.items()
        if name != answer.dialect and other.reads(answer.text, image_wh, seen_wh)
    )
    if answer.families and answer.failure in _OF_GRAMMAR:
        answer.failure = Failure.WRONG_FAMILY
