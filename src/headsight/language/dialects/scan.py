"""What a family's scanner finds in a text: the places as they were written, not yet in pixels."""

from __future__ import annotations

__all__ = ["FOREIGN", "Place", "Scan", "Scanner", "numbers_of", "place_of"]

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from headsight.language.answer import Failure

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})")
_GAPS = re.compile(r"[\s,;()<>\[\]]+")

FOREIGN = re.compile(r"""["']\s*:|<[|/]?\w|\{<""")
"""Marks that no plain text of numbers holds: keys of JSON, tags, special tokens."""


@dataclass(slots=True)
class Place:
    """One box (4 numbers), point (2) or the box around an outline, in the order of the family."""

    span: tuple[int, int]
    numbers: tuple[float, ...] | None
    problem: Failure | None = None
    """Why there are no numbers."""
    label: str | None = None
    outlines: tuple[tuple[tuple[float, float], ...], ...] = ()
    codes: tuple[int, ...] = ()


@dataclass(slots=True)
class Scan:
    """All places of a text, in order."""

    places: list[Place] = field(default_factory=list)
    is_cut: bool = False
    """The text ends inside of an answer."""
    is_none: bool = False
    """The text is an answer that says: nothing."""
    problem: Failure | None = None
    """The text departs from the grammar, so that a strict reading takes nothing from it."""
    repairs: list[str] = field(default_factory=list)
    """What was put right."""

    def repair(self, name: str) -> None:
        """Note a repair, once."""
        if name not in self.repairs:
            self.repairs.append(name)


@runtime_checkable
class Scanner(Protocol):
    """The grammar of one family."""

    def scan(self, text: str, *, is_lenient: bool = False, prompt: str = "") -> Scan:
        """The places in `text`; never raises, in time linear in its length."""
        ...

    def write(self, rows: Sequence[Sequence[str]], labels: Sequence[str | None]) -> str:
        """The answer that holds `rows` of numbers."""
        ...


def place_of(
    match: re.Match[str] | None,
    text: str,
    span: tuple[int, int],
    scan: Scan,
    *,
    is_lenient: bool,
    arity: int = 4,
) -> Place:
    """The place that `text` writes: by the groups of its exact form, or by what it looks like."""
    if match is not None:
        return Place(span, tuple(map(float, match.groups())))
    numbers, problem = numbers_of([t for t in _GAPS.split(text) if t], arity)
    if problem is None and not is_lenient:
        return Place(span, None, Failure.BAD_DIGITS)
    if problem is None:
        scan.repair("form")
    return Place(span, numbers, problem)


def numbers_of(
    tokens: Sequence[str], arity: int
) -> tuple[tuple[float, ...], None] | tuple[None, Failure]:
    """The numbers of one place, or why they are none."""
    if not tokens or any(_NUMBER.fullmatch(token) is None for token in tokens):
        return None, Failure.NOT_A_NUMBER
    if len(tokens) != arity:
        return None, Failure.WRONG_ARITY
    return tuple(map(float, tokens)), None
