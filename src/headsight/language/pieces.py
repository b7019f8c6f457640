"""Brackets and runs of numbers found in a text, with the kind that each of them speaks for."""

from __future__ import annotations

__all__ = ["Piece", "bare_pieces", "find_pieces", "labelled_piece", "stray_boxes"]

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from headsight.language.answer import Failure
from headsight.language.items import ARITY, Item, ItemKind, read_item
from headsight.language.spec import CodecSpec
from headsight.language.syntax import GROUP, NUMBER, brackets, delimited_box, strict_pattern

_GAP = re.compile(r"[\s,°]*")
_BARE_GAP = re.compile(r"\s*[,;]?\s*(?:and|&)?\s*|°,?")
_LONGEST_GAP = 16
_LABELS: dict[ItemKind, tuple[tuple[str, ...], ...]] = {
    "pose": (("yaw", "pitch", "roll"),),
    "point": (("x", "y"),),
    "boxes": (("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2")),
}
_LABELLED = re.compile(
    r"\b(yaw|pitch|roll|[xy][012]?)\b[^\w+.-]{0,8}([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """One pair of brackets (or a run of numbers) and what stands in it."""

    kind: ItemKind
    span: tuple[int, int]
    items: tuple[Item, ...]
    is_loose: bool = False
    """The brackets are not those of the kind."""
    is_truncated: bool = False
    """The text ends before the brackets close."""
    is_mixed: bool = False
    """Brackets of one kind around another, or around the numbers of another."""

    @property
    def is_complete(self) -> bool:
        """True where at least one item can be used."""
        return any(item.bins is not None for item in self.items)

    @property
    def is_answer(self) -> bool:
        """True for a whole answer of its kind, even one without sense (a box without area)."""
        return self.is_complete or any(item.failure is Failure.DEGENERATE for item in self.items)

    def is_exact(self, text: str, spec: CodecSpec) -> bool:
        """True where the piece follows the strict grammar of its kind."""
        start, end = self.span
        return strict_pattern(self.kind, spec.digits).fullmatch(text, start, end) is not None


def find_pieces(text: str, spec: CodecSpec, *, hit_limit: bool = False) -> Iterator[Piece]:
    """Every pair of brackets with numbers, and an opened one at the very end even without."""
    asked: ItemKind | None = _item_kind(spec)
    end_of_text = len(text.rstrip())
    for match in GROUP.finditer(text):
        is_last = match.end() >= end_of_text
        segments = _segments(text, match.start("body"), match.end("body"))
        if segments is None:
            continue  # words in brackets
        if not segments:
            if is_last and not match["close"] and (kind := _kind_of_opener(match["open"])):
                yield Piece(kind, match.span(), (), is_truncated=True)
            continue
        kind, is_loose, is_mixed = _classify(match["open"], len(segments[0]), asked)
        if kind is None:
            continue
        needed = min(len(match["open"]), len(brackets(kind)[1]))
        is_truncated = is_last and len(match["close"]) < needed
        if is_truncated and not match["close"] and _is_cut(segments[-1], kind, spec, hit_limit):
            segments.pop()
        items = tuple(
            read_item(kind, [number[0] for number in numbers], spec, _span(numbers))
            for numbers in segments
        )
        is_loose |= not match["close"] and not is_last
        yield Piece(kind, match.span(), items, is_loose, is_truncated, is_mixed)


def stray_boxes(text: str, spec: CodecSpec, found: Collection[Piece]) -> list[Piece]:
    """Exact boxes that are in none of the pieces `found`, since their surroundings are spoilt."""
    taken = {item.span for piece in found for item in piece.items if item.bins is not None}
    pieces = []
    for match in delimited_box(spec.digits).finditer(text):
        if match.span() not in taken:
            item = read_item("boxes", match[0].split(","), spec, match.span())
            pieces.append(Piece("boxes", match.span(), (item,), is_loose=True))
    return [piece for piece in pieces if piece.is_complete]


def labelled_piece(text: str, kind: ItemKind, spec: CodecSpec) -> Piece | None:
    """Numbers that their names put in order: `pitch: 7, yaw: -45, roll: 0`."""
    found: dict[str, re.Match[str]] = {}
    for match in _LABELLED.finditer(text):
        found.setdefault(match[1].lower(), match)
    for names in _LABELS[kind]:
        if all(name in found for name in names):
            matches = [found[name] for name in names]
            span = min(m.start() for m in matches), max(m.end() for m in matches)
            item = read_item(kind, [m[2] for m in matches], spec, span)
            return Piece(kind, span, (item,), is_loose=True)
    return None


def bare_pieces(text: str, kind: ItemKind, spec: CodecSpec) -> Iterator[Piece]:
    """Runs of numbers of exactly the right count that nothing but separators stands between."""
    run: list[re.Match[str]] = []
    for number in NUMBER.finditer(text):
        if run:
            gap = text[run[-1].end() : number.start()]
            if len(gap) > _LONGEST_GAP or not _BARE_GAP.fullmatch(gap):
                yield from _bare_piece(run, kind, spec)
                run = []
        run.append(number)
    yield from _bare_piece(run, kind, spec)


def _bare_piece(run: list[re.Match[str]], kind: ItemKind, spec: CodecSpec) -> Iterator[Piece]:
    if len(run) == ARITY[kind]:
        item = read_item(kind, [number[0] for number in run], spec, _span(run))
        yield Piece(kind, item.span, (item,), is_loose=True)


def _item_kind(spec: CodecSpec) -> ItemKind | None:
    if spec.kind == "count":
        return None
    return "point" if spec.kind == "points" else spec.kind


def _kind_of_opener(opener: str) -> ItemKind | None:
    """The kind that brackets announce; None for round ones."""
    if "{" in opener:
        return "pose"
    if "[[" in opener:
        return "boxes"
    return "point" if "[" in opener else None


def _classify(
    opener: str, arity: int, asked: ItemKind | None
) -> tuple[ItemKind | None, bool, bool]:
    """Kind, is_loose and is_mixed of brackets around `arity` numbers."""
    kind = _kind_of_opener(opener)
    if kind is None:  # round brackets stand for whatever was asked, and for nothing else
        return (asked, True, False) if asked and ARITY[asked] == arity else (None, False, False)
    if "{" in opener and "[" in opener:
        return kind, False, True
    if asked and kind != asked and ARITY[asked] == arity:
        if kind == "point" or (kind == "boxes" and asked == "point"):
            return asked, True, False  # [315,007,000], or a list of lists of points
        return kind, False, True  # [[315,007,000]]: the brackets of one, the numbers of another
    if kind == "point" and arity == ARITY["boxes"] and asked != "point":
        return "boxes", True, False
    is_loose = opener != brackets(kind)[0]
    return kind, is_loose, False


def _segments(text: str, start: int, end: int) -> list[list[re.Match[str]]] | None:
    """The numbers between semicolons, empty parts left out; None where there are words, too."""
    segments = []
    for part in text[start:end].split(";"):
        numbers = list(NUMBER.finditer(text, start, start + len(part)))
        cuts = [start, *(edge for number in numbers for edge in number.span()), start + len(part)]
        if any(not _GAP.fullmatch(text, a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=True)):
            return None
        if numbers:
            segments.append(numbers)
        start += len(part) + 1
    return segments


def _is_cut(numbers: list[re.Match[str]], kind: ItemKind, spec: CodecSpec, hit_limit: bool) -> bool:
    """True where the last number of the text may be missing digits, or numbers are missing."""
    if len(numbers) != ARITY[kind]:
        return len(numbers) < ARITY[kind]
    last = numbers[-1][0]
    if "." in last:
        decimals = len(last.partition(".")[2])
        return decimals < (spec.digits if hit_limit else 1)
    return len(last) < (3 if kind == "pose" else spec.digits)


def _span(numbers: list[re.Match[str]]) -> tuple[int, int]:
    return numbers[0].start(), numbers[-1].end()
