"""The scanner of families that put each answer between two marks: `<box>...</box>` and the like."""

from __future__ import annotations

__all__ = ["Tagged"]

import re
from collections.abc import Sequence
from dataclasses import dataclass

from headsight.errors import InputError
from headsight.language.answer import Failure
from headsight.language.dialects.scan import FOREIGN, Place, Scan, place_of

_OUTSIDE = " \t\r\n.;,"
_JOINED_BEFORE = re.compile(r"[\w.][0-9]")
_JOINED_AFTER = re.compile(r"[0-9](?:\w|\.[0-9])")
_WORD = re.compile(r"[^\W_]")


@dataclass(frozen=True, eq=False)
class Tagged:
    """A grammar of pieces: an opening mark, one or more boxes, a closing mark."""

    piece: re.Pattern[str]
    """One piece; groups `body`, `close` (the closing mark, if it is there), `label` (if any)."""
    part: re.Pattern[str]
    """One box within a body; group `end`, where there is one, is its own closing bracket."""
    exact: re.Pattern[str]
    """The whole of a part as it should be; its groups are the four numbers."""
    template: str
    """A piece, with {label} and {boxes}."""
    box: str
    """A box, with {0} to {3}."""
    closing: str = ""
    """The closing mark of a piece, by which a lenient reading knows a box without the opening."""
    joint: str | None = None
    """What stands between two boxes of one piece; None: one piece for each box."""
    labelled: str = ""
    """What {label} becomes, with {0}, where there is a label."""
    between: str = ""
    """What stands between two pieces."""
    has_prose: bool = True
    """Words may stand around pieces."""
    is_bare: bool = False
    """The marks are plain brackets: a text with marks of another family is none of this one."""
    is_label_before: bool = False
    """The label is the text before a piece."""
    forbidden: str = "<>"
    """Characters that a label cannot hold."""

    def scan(self, text: str, *, is_lenient: bool = False, prompt: str = "") -> Scan:
        """See `Scanner.scan`."""
        scan, done = Scan(), 0
        if self.is_bare and FOREIGN.search(text):
            return scan
        gaps: list[tuple[int, int]] = []
        for piece in self.piece.finditer(text):
            gaps.append((done, piece.start()))
            before = text[done : piece.start()]
            label = before if self.is_label_before else piece.groupdict().get("label")
            self._read_piece(piece, label, scan, is_lenient)
            done = piece.end()
        gaps.append((done, len(text)))
        if done and not self.has_prose and any(_WORD.search(text, *gap) for gap in gaps):
            scan.problem = Failure.NO_STRUCTURE
            if is_lenient:
                scan.repair("text_around")
        if is_lenient and not self.is_bare:
            self._read_gaps(text, gaps, scan)
        return scan

    def write(self, rows: Sequence[Sequence[str]], labels: Sequence[str | None]) -> str:
        """See `Scanner.write`; boxes that follow each other under one label share a piece."""
        pieces: list[tuple[str, list[str]]] = []
        for row, label in zip(rows, labels, strict=True):
            named = self.labelled.replace("{0}", checked_label(label, self.forbidden))
            if not label:
                named = ""
            box = self.box.format(*row)
            if pieces and self.joint is not None and pieces[-1][0] == named:
                pieces[-1][1].append(box)
            else:
                pieces.append((named, [box]))
        return self.between.join(
            self.template.replace("{boxes}", (self.joint or "").join(boxes)).replace(
                "{label}", named
            )
            for named, boxes in pieces
        )

    def _read_piece(
        self, piece: re.Match[str], label: str | None, scan: Scan, is_lenient: bool
    ) -> None:
        is_closed = piece["close"] is not None
        name = (label or "").strip(_OUTSIDE) or None
        places: list[Place] = []
        text = piece.string
        for part in self.part.finditer(text, piece.start("body"), piece.end("body")):
            has_end = part.groupdict(default="").get("end", part.end() < piece.end("body"))
            if not (is_closed or has_end):
                continue  # its last number may be cut short
            exact = self.exact.fullmatch(text, *part.span())
            place = place_of(exact, part[0], part.span(), scan, is_lenient=is_lenient)
            place.label = name
            places.append(place)
        if is_closed and not places:  # no part at all: brackets are missing, or everything is
            span = piece.span("body")
            body = place_of(None, piece["body"], span, scan, is_lenient=is_lenient)
            body.label = name
            places.append(body)
        scan.places += places
        scan.is_cut |= not is_closed

    def _read_gaps(self, text: str, gaps: Sequence[tuple[int, int]], scan: Scan) -> None:
        """Boxes that lack their marks, or the first of them.

        Between pieces a box counts where the closing mark stands behind it; without any piece,
        where no mark of another family is in the text.
        """
        if not scan.places and not FOREIGN.search(text):
            self._read_bare(text, (0, len(text)), scan)
        for start, end in gaps:
            while self.closing and (close := text.find(self.closing, start, end)) >= 0:
                self._read_bare(text, (max(text.rfind(">", start, close) + 1, start), close), scan)
                start = close + len(self.closing)
        scan.places.sort(key=lambda place: place.span)

    def _read_bare(self, text: str, span: tuple[int, int], scan: Scan) -> None:
        for found in self.exact.finditer(text, *span):
            start, end = found.span()
            is_part = _JOINED_BEFORE.fullmatch(text[max(start - 1, 0) : start + 1])
            if not (is_part or _JOINED_AFTER.match(text, end - 1)):
                scan.repair("missing_tags")
                scan.places.append(Place((start, end), tuple(map(float, found.groups()))))


def checked_label(label: str | None, forbidden: str) -> str:
    """`label` as one line.

    Raises:
        InputError: it holds a character that ends a label in this grammar.
    """
    words = " ".join((label or "").split())
    if bad := next((c for c in words if c in forbidden), None):
        raise InputError(
            f"The label {words[:40]!r} holds {bad!r}, which marks the grammar of this family;"
            " expected plain words. Remove it."
        )
    return words
