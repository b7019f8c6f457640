"""Florence-2 (arXiv:2311.06242): `cup<loc_100><loc_200><loc_500><loc_799>`, 1000 bins a side.

A bin is read at its centre. One label may be followed by several boxes. The segmentation tasks
write outlines instead, as pairs of tokens, with `<sep>` between the outlines of one object and
`<poly>...</poly>` around each object: they come back as `NativeAnswer.polygons`, with the box
around them as `value`. Whether an unmarked run of tokens is boxes or an outline is told by the
task token at the head of `prompt`; without it, a run of 4 k tokens is k boxes.
"""

from __future__ import annotations

__all__ = ["FLORENCE2", "BinTokens"]

import re
from collections.abc import Sequence
from dataclasses import dataclass

from headsight.language.answer import Failure
from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.exact import Exact
from headsight.language.dialects.scan import Place, Scan
from headsight.language.dialects.space import Space
from headsight.language.dialects.tags import checked_label

_RUN = re.compile(r"(?:<loc_[0-9]{1,4}>|<poly>|</poly>|<sep>)+")
_POLY = re.compile(r"</?poly>")
_BIN = re.compile(r"<loc_([0-9]{1,4})>")
_PART_OF_TOKEN = re.compile(r"<[a-z_/]*[0-9]*\s*\Z")
_OUTLINE_TASK = re.compile(
    r"\s*<(?:REFERRING_EXPRESSION_SEGMENTATION|REGION_TO_SEGMENTATION|OPEN_VOCABULARY_SEGMENTATION)>"
)


@dataclass(frozen=True, eq=False)
class BinTokens:
    """Runs of location tokens, each with its label before it."""

    def scan(self, text: str, *, is_lenient: bool = False, prompt: str = "") -> Scan:
        """See `Scanner.scan`."""
        scan, done = Scan(), 0
        are_outlines = _OUTLINE_TASK.match(prompt) is not None
        for run in _RUN.finditer(text):
            label = text[done : run.start()].strip() or None
            if are_outlines or "<poly>" in run[0] or "<sep>" in run[0]:
                self._read_outlines(run, label, scan)
            else:
                self._read_boxes(run, label, scan)
            done = run.end()
        scan.is_cut |= _PART_OF_TOKEN.search(text, max(done, len(text) - 16)) is not None
        return scan

    def write(self, rows: Sequence[Sequence[str]], labels: Sequence[str | None]) -> str:
        """See `Scanner.write`; a label that follows itself is written once."""
        text, last = "", ""
        for row, label in zip(rows, labels, strict=True):
            name = checked_label(label, "<>")
            text += (name if name != last else "") + "".join(f"<loc_{number}>" for number in row)
            last = name
        return text

    def _read_boxes(self, run: re.Match[str], label: str | None, scan: Scan) -> None:
        bins = list(_BIN.finditer(run.string, *run.span()))
        is_end = not run.string[run.end() :].strip() or "<" in run.string[run.end() :][:1]
        spare = len(bins) % 4
        if spare and not is_end:
            scan.places.append(Place(run.span(), None, Failure.WRONG_ARITY, label))
            return
        scan.is_cut |= spare > 0
        for first in range(0, len(bins) - 3, 4):
            four = bins[first : first + 4]
            numbers = tuple(float(found[1]) for found in four)
            scan.places.append(Place((four[0].start(), four[-1].end()), numbers, label=label))

    def _read_outlines(self, run: re.Match[str], label: str | None, scan: Scan) -> None:
        """One place for each `<poly>`, or for the whole run where there is none."""
        scan.is_cut |= run[0].count("<poly>") > run[0].count("</poly>")
        for part in _POLY.split(run[0]):
            outlines = [_pairs(piece) for piece in part.split("<sep>")]
            outlines = [outline for outline in outlines if outline]
            if not outlines:
                continue
            if any(len(outline) < 3 for outline in outlines):
                scan.places.append(Place(run.span(), None, Failure.WRONG_ARITY, label))
                continue
            xs, ys = zip(*(xy for outline in outlines for xy in outline), strict=True)
            box = (min(xs), min(ys), max(xs), max(ys))
            scan.places.append(Place(run.span(), box, None, label, tuple(outlines)))


def _pairs(text: str) -> tuple[tuple[float, float], ...]:
    """The points of an outline; a last number without its pair is left out."""
    numbers = [float(number) for number in _BIN.findall(text)]
    return tuple(zip(numbers[::2], numbers[1::2], strict=False))


FLORENCE2 = NativeDialect(
    "florence2",
    BinTokens(),
    Space(highest=999, offset=0.5, rounding="floor"),
    {
        "refer": "<CAPTION_TO_PHRASE_GROUNDING>{words}",
        "detect": "<OPEN_VOCABULARY_DETECTION>{words}",
        "segment": "<REFERRING_EXPRESSION_SEGMENTATION>{words}",
        "objects": "<OD>",
    },
    Exact(
        re.compile(r"([^<>]*)<loc_(?=[0-9])"),
        re.compile(r">(?:([^<>]+)<loc_|\s*\Z)"),
        comma="><loc_",
        is_label_first=True,
    ),
)
