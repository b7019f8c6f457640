"""Molmo 2 (arXiv:2601.10611): points only, in thousandths of the picture, all in one attribute.

    <points coords="1 1 073 160 2 353 160">cups</points>

Behind the number of the picture come an index, x and y for each point; a tab, or one of `;:,`,
stands before the next picture. Three digits at least tell thousandths from the percents of Molmo,
so that fewer are never read. One picture is asked, and a point in another is out of range. A
number above 1000 is invalid and not moved to the border.
"""

from __future__ import annotations

__all__ = ["MOLMO2", "PointLists"]

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headsight.language.answer import Failure
from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.molmo import (
    NOTHING,
    is_nothing,
    label_of,
    labelled_points,
    mend_quotes,
)
from headsight.language.dialects.scan import Place, Scan, numbers_of
from headsight.language.dialects.space import Space

_TAG = re.compile(r"<points\b(?P<body>[^<>]*)(?P<close>>)?(?:(?P<label>[^<>]*)(?P<end></points>)?)")
_COORDS = re.compile(r"""\bcoords\s?=\s?(?P<quote>["'])(?P<value>[^"'<>]*)(?P<end>["'])?""")
_GROUP = re.compile(r"[^\t;:,]+")
_TOKEN = re.compile(r"[^ ]+")
_INDEX = re.compile(r"[0-9]{1,5}")
_NUMBER = re.compile(r"[0-9]{3,4}")
_PICTURE = "1"


@dataclass(frozen=True, eq=False)
class PointLists:
    """Tags with all coordinates as one attribute."""

    def scan(self, text: str, *, is_lenient: bool = False, prompt: str = "") -> Scan:
        """See `Scanner.scan`."""
        scan = Scan(is_none=is_nothing(text))
        for tag in _TAG.finditer(text):
            is_empty = tag["body"].endswith("/") and tag["close"] is not None
            scan.is_cut |= tag["close"] is None or (tag["end"] is None and not is_empty)
            label = label_of(tag)
            for coords in _COORDS.finditer(text, *tag.span("body")):
                for place in _places(coords):
                    place.label = label
                    scan.places.append(place)
                    if place.numbers and coords["quote"] != '"':
                        mend_quotes(place, scan, is_lenient)
        return scan

    def write(self, rows: Sequence[Sequence[str]], labels: Sequence[str | None]) -> str:
        """See `Scanner.write`; points that follow each other under one label share a tag."""
        return "\n".join(map(_tag, labelled_points(rows, labels))) or NOTHING


def _places(coords: re.Match[str]) -> Iterator[Place]:
    """The points of one attribute, or why they are none."""
    text, (start, end) = coords.string, coords.span("value")
    for group in _GROUP.finditer(text, start, end):
        tokens = list(_TOKEN.finditer(text, *group.span()))
        is_cut = coords["end"] is None and group.end() == end
        if is_cut and tokens and tokens[-1].end() == end:
            tokens.pop()  # its number may go on
        if tokens:
            yield from _points(tokens[0], tokens[1:], is_cut)


def _points(
    picture: re.Match[str], numbers: Sequence[re.Match[str]], is_cut: bool
) -> Iterator[Place]:
    """The points of one picture: of each three numbers, the last two."""
    is_whole = len(numbers) % 3 == 0 or is_cut
    if not numbers and not is_cut:
        yield Place(picture.span(), None, Failure.WRONG_ARITY)
    for first in range(0, len(numbers), 3):
        three = numbers[first : first + 3]
        if len(three) < 3 and is_cut:
            return
        span = (three[min(1, len(three) - 1)].start(), three[-1].end())
        found, problem = _point([token[0] for token in three])
        if problem is not None and not is_whole:  # one number too few: who knows which
            yield Place(span, None, Failure.WRONG_ARITY)
            return
        if problem is None and picture[0] != _PICTURE:
            _, problem = numbers_of([picture[0]], 1)
            found, problem = None, problem or Failure.OUT_OF_RANGE
        yield Place(span, found, problem)


def _point(three: Sequence[str]) -> tuple[tuple[float, ...] | None, Failure | None]:
    """The place of an index, x and y as they should be written, or what is wrong."""
    if len(three) == 3 and _INDEX.fullmatch(three[0]) and all(map(_NUMBER.fullmatch, three[1:])):
        return (float(three[1]), float(three[2])), None
    _, problem = numbers_of(three, 3)
    return None, problem or Failure.BAD_DIGITS


def _tag(group: tuple[str, Sequence[Sequence[str]]]) -> str:
    name, points = group
    listed = " ".join(f"{i} {x} {y}" for i, (x, y) in enumerate(points, 1))
    return f'<points coords="{_PICTURE} {listed}">{name}</points>'


MOLMO2 = NativeDialect(
    "molmo2",
    PointLists(),
    Space(digits=3, tolerance=0.0),
    {"refer": "Point to {words}", "point": "Point to {words}", "count": "How many {words}?"},
    kind="points",
)
