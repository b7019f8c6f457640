"""Kosmos-2 (arXiv:2306.14824): two cells of a 32 x 32 grid, upper left and lower right.

    <phrase> cup</phrase><object><patch_index_0044><patch_index_0863></object>

Several boxes of one phrase are parted by `</delimiter_of_multi_objects/>`. A box runs from cell
centre to cell centre; where both cells share a row or a column, from outer edge to outer edge.
"""

from __future__ import annotations

__all__ = ["KOSMOS2", "CellsExactly", "PatchGrid"]

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headsight.language.answer import Failure
from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.exact import Labels
from headsight.language.dialects.scan import Place, Scan
from headsight.language.dialects.space import Frame, Space
from headsight.language.dialects.tags import checked_label

_SIDE = 32
_DELIMITER = "</delimiter_of_multi_objects/>"
_PIECE = re.compile(
    r"(?:<phrase>(?P<label>[^<>]{0,400})</phrase>\s?)?<object>"
    r"(?P<body>(?:<patch_index_[^<>]*>|</delimiter_of_multi_objects/>|[^<>])*)(?P<close></object>)?"
)
_ITEM = re.compile(
    r"(?:<phrase>([^<>]{0,400})</phrase>\s?)?"
    r"<object><patch_index_([0-9]{4})><patch_index_([0-9]{4})></object>"
)
_PART = re.compile(r"(?:<patch_index_[^<>]*>\s?)+")
_CELL = re.compile(r"<patch_index_([0-9]{4})>")


@dataclass(frozen=True, eq=False)
class PatchGrid:
    """The grammar; numbers are half cells, so that centres and edges are whole."""

    def scan(self, text: str, *, is_lenient: bool = False, prompt: str = "") -> Scan:
        """See `Scanner.scan`."""
        scan = Scan()
        for piece in _PIECE.finditer(text):
            is_closed = piece["close"] is not None
            scan.is_cut |= not is_closed
            label = (piece["label"] or "").strip() or None
            for part in _PART.finditer(text, piece.start("body"), piece.end("body")):
                cells = [int(cell) for cell in _CELL.findall(part[0])]
                if len(cells) == 2:
                    scan.places.append(Place(part.span(), _half_cells(*cells), label=label))
                elif is_closed or part.end() < piece.end("body"):
                    scan.places.append(Place(part.span(), None, Failure.WRONG_ARITY, label))
        return scan

    def write(self, rows: Sequence[Sequence[str]], labels: Sequence[str | None]) -> str:
        """See `Scanner.write`."""
        pieces: list[tuple[str, list[str]]] = []
        for row, label in zip(rows, labels, strict=True):
            name = checked_label(label, "<>")
            phrase = f"<phrase> {name}</phrase>" if name else ""
            box = "".join(f"<patch_index_{cell:04d}>" for cell in _cells(row))
            if pieces and pieces[-1][0] == phrase:
                pieces[-1][1].append(box)
            else:
                pieces.append((phrase, [box]))
        return "".join(f"{p}<object>{_DELIMITER.join(b)}</object>" for p, b in pieces)


@dataclass(frozen=True, eq=False)
class CellsExactly:
    """The quick way through texts with one box for each phrase: a pass over its numbers."""

    def read(self, text: str, frame: Frame) -> tuple[NDArray[np.float64], Labels] | None:
        """See `QuickReader.read`."""
        parts = _ITEM.split(text)
        if len(parts) < 5 or "<" in "".join(parts[::4]):
            return None
        (sx, sy), boxes = frame.scale, []
        for first, last in zip(parts[2::4], parts[3::4], strict=True):
            x0, y0, x1, y1 = _half_cells(int(first), int(last))
            if not (x0 < x1 <= 2 * _SIDE and y0 < y1 <= 2 * _SIDE):
                return None
            boxes.append((x0 * sx, y0 * sy, x1 * sx, y1 * sy))
        labels = [label and (label.strip() or None) for label in parts[1::4]]
        return np.array(boxes), tuple(labels)


def _half_cells(upper_left: int, lower_right: int) -> tuple[float, float, float, float]:
    """Box edges in half cells, by the rule of centres and outer edges."""
    (y0, x0), (y1, x1) = divmod(upper_left, _SIDE), divmod(lower_right, _SIDE)
    if x0 == x1 or y0 == y1:
        return 2.0 * x0, 2.0 * y0, 2.0 * x1 + 2, 2.0 * y1 + 2
    return 2.0 * x0 + 1, 2.0 * y0 + 1, 2.0 * x1 + 1, 2.0 * y1 + 1


def _cells(row: Sequence[str]) -> tuple[int, int]:
    """The two cells of a box: those that hold its corners."""
    x0, y0, x1, y1 = (float(number) / 2 for number in row)
    first = min(int(y0), _SIDE - 1) * _SIDE + min(int(x0), _SIDE - 1)
    last = max(_last(y1), int(y0)) * _SIDE + max(_last(x1), int(x0))
    return first, last


def _last(edge: float) -> int:
    """The cell that ends at or holds `edge`."""
    return max(-int(-edge // 1) - 1, 0)


KOSMOS2 = NativeDialect(
    "kosmos2",
    PatchGrid(),
    Space(divisor=2 * _SIDE, decimals=6),
    {
        "refer": "<grounding><phrase> {words}</phrase>",
        "caption": "<grounding> {words}",
    },
    CellsExactly(),
)
