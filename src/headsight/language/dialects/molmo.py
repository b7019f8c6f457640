"""Molmo (arXiv:2409.17146): points only, in percent of the picture.

    <point x="52.9" y="43.9" alt="cup">cup</point>
    <points x1="52.9" y1="43.9" x2="10.0" y2="20.5" alt="cups">cups</points>

A number above 100 is invalid and not moved to the border. `There are none.` says: nothing.
Molmo 2 writes another tag (`molmo2`).
"""

from __future__ import annotations

__all__ = [
    "MOLMO",
    "NOTHING",
    "PointTags",
    "is_nothing",
    "label_of",
    "labelled_points",
    "mend_quotes",
]

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from headsight.errors import InputError
from headsight.language.answer import Failure
from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.scan import Place, Scan, numbers_of
from headsight.language.dialects.space import Space
from headsight.language.dialects.tags import checked_label

NOTHING = "There are none."
"""The answer where nothing is to be pointed at."""

_TAG = re.compile(
    r"<points?\b(?P<body>[^<>]*)(?P<close>>)?(?:(?P<label>[^<>]*)(?P<end></points?>)?)"
)
_PAIR = re.compile(
    r"""\b(?P<axis>[xy])(?P<number>[0-9]{0,4})\s?=\s?(?P<quote>["']?)(?P<value>[^"'\s<>]{0,20})"""
)
_ALT = re.compile(r"""\balt\s?=\s?(?:"([^"]*)"|'([^']*)')""")


@dataclass(frozen=True, eq=False)
class PointTags:
    """Tags with the coordinates as attributes."""

    def scan(self, text: str, *, is_lenient: bool = False, prompt: str = "") -> Scan:
        """See `Scanner.scan`."""
        scan = Scan(is_none=is_nothing(text))
        for tag in _TAG.finditer(text):
            scan.is_cut |= tag["close"] is None or tag["end"] is None
            self._read_tag(tag, scan, is_lenient)
        return scan

    def write(self, rows: Sequence[Sequence[str]], labels: Sequence[str | None]) -> str:
        """See `Scanner.write`; points that follow each other under one label share a tag."""
        tags = (_tag(name, points) for name, points in labelled_points(rows, labels))
        return "\n".join(tags) or NOTHING

    def _read_tag(self, tag: re.Match[str], scan: Scan, is_lenient: bool) -> None:
        label = label_of(tag)
        body = _ALT.sub(lambda found: " " * len(found[0]), tag["body"])
        is_closed = tag["close"] is not None
        axes: dict[str, dict[str, re.Match[str]]] = {}
        for pair in _PAIR.finditer(body):
            if is_closed or (pair["quote"] and body.startswith(pair["quote"], pair.end())):
                axes.setdefault(pair["number"], {})[pair["axis"]] = pair
        for pairs in axes.values():
            if len(pairs) == 2 or is_closed:  # else it is the last pair of a text that is cut off
                place = _point(pairs, tag.start("body"))
                place.label = label
                scan.places.append(place)
                if place.numbers and any(pair["quote"] != '"' for pair in pairs.values()):
                    mend_quotes(place, scan, is_lenient)


def is_nothing(text: str) -> bool:
    """True where the whole of `text` says that there is nothing to point at."""
    return text.strip() == NOTHING


def label_of(tag: re.Match[str]) -> str | None:
    """What a tag calls its points: its `alt`, or the text that it holds."""
    alt = _ALT.search(tag["body"])
    words = (alt[1] if alt[1] is not None else alt[2]) if alt else tag["label"]
    return (words or "").strip() or None


def labelled_points(
    rows: Sequence[Sequence[str]], labels: Sequence[str | None]
) -> Iterator[tuple[str, list[Sequence[str]]]]:
    """Points that follow each other under one label, together.

    Raises:
        InputError: boxes, or a label that would end a tag.
    """
    for row in rows:
        if len(row) != 2:
            raise InputError(
                "Molmo writes points (N, 2), but boxes (N, 4) were given. Pass their centres."
            )
    names = [checked_label(label, "<>\"'") for label in labels]
    for name, group in groupby(zip(names, rows, strict=True), key=itemgetter(0)):
        yield name, [row for _, row in group]


def mend_quotes(place: Place, scan: Scan, is_lenient: bool) -> None:
    """Take a place whose quotes are not the right ones, or leave it in a strict reading."""
    if is_lenient:
        scan.repair("quotes")
    else:
        place.numbers, place.problem = None, Failure.NO_STRUCTURE


def _point(pairs: dict[str, re.Match[str]], offset: int) -> Place:
    """The point of an x and a y, or why it is none."""
    span = (
        offset + min(pair.start() for pair in pairs.values()),
        offset + max(pair.end() for pair in pairs.values()) + 1,
    )
    if len(pairs) != 2:
        return Place(span, None, Failure.WRONG_ARITY)
    numbers, problem = numbers_of([pairs["x"]["value"], pairs["y"]["value"]], 2)
    return Place(span, numbers, problem)


def _tag(name: str, points: Sequence[Sequence[str]]) -> str:
    if len(points) == 1:
        x, y = points[0]
        return f'<point x="{x}" y="{y}" alt="{name}">{name}</point>'
    pairs = " ".join(f'x{i}="{x}" y{i}="{y}"' for i, (x, y) in enumerate(points, 1))
    return f'<points {pairs} alt="{name}">{name}</points>'


MOLMO = NativeDialect(
    "molmo",
    PointTags(),
    Space(divisor=100, decimals=1, tolerance=0.0),
    {"refer": "Point to {words}", "point": "Point to {words}", "count": "How many {words}?"},
    kind="points",
)
