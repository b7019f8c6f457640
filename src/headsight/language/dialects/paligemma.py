"""PaliGemma 1 and 2 (arXiv:2407.07726): `<loc0256><loc0128><loc0768><loc0640> cup`, y before x.

Four tokens in 1024ths of the picture, joined by ` ; `. `segment` adds sixteen `<segNNN>`: codes of
a mask decoder, which come back as `NativeAnswer.codes`.
"""

from __future__ import annotations

__all__ = ["PALIGEMMA", "LocTokens"]

import re
from collections.abc import Sequence
from dataclasses import dataclass

from headsight.language.answer import Failure
from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.exact import Exact
from headsight.language.dialects.scan import Place, Scan
from headsight.language.dialects.space import Space
from headsight.language.dialects.tags import checked_label

_CODES = 16
_RUN = re.compile(r"(?P<locs>(?:<loc[0-9]{4}>)+)(?P<segs>(?:<seg[0-9]{3}>)*)")
_LOC = re.compile(r"<loc([0-9]{4})>")
_SEG = re.compile(r"<seg([0-9]{3})>")
_PART_OF_TOKEN = re.compile(r"<(?:l(?:o(?:c[0-9]*)?)?|s(?:e(?:g[0-9]*)?)?)?\s*\Z")
_WORD = re.compile(r"[^\W_]")


@dataclass(frozen=True, eq=False)
class LocTokens:
    """Runs of four location tokens, each with its label behind it."""

    def scan(self, text: str, *, is_lenient: bool = False, prompt: str = "") -> Scan:
        """See `Scanner.scan`."""
        scan = Scan()
        runs = list(_RUN.finditer(text))
        if not runs:
            scan.is_cut = _PART_OF_TOKEN.search(text[-12:]) is not None
            return scan
        if _WORD.search(text, 0, runs[0].start()):
            scan.problem = Failure.NO_STRUCTURE
            scan.repair("text_around")
        for run, after in zip(runs, [*runs[1:], None], strict=True):
            behind = text[run.end() : after.start() if after else len(text)]
            self._read_run(run, behind, scan, is_lenient=is_lenient, is_last=after is None)
        return scan

    def write(self, rows: Sequence[Sequence[str]], labels: Sequence[str | None]) -> str:
        """See `Scanner.write`."""
        items = []
        for row, label in zip(rows, labels, strict=True):
            name = checked_label(label, "<>;")
            items.append("".join(f"<loc{number}>" for number in row) + (f" {name}" if name else ""))
        return " ; ".join(items)

    def _read_run(
        self, run: re.Match[str], behind: str, scan: Scan, *, is_lenient: bool, is_last: bool
    ) -> None:
        numbers = [float(number) for number in _LOC.findall(run["locs"])]
        codes = tuple(int(code) for code in _SEG.findall(run["segs"]))
        label, token = behind.partition(";")[0].strip(), _PART_OF_TOKEN.search(behind)
        is_end = is_last and (token is not None or not behind.strip())
        name = label[: label.find("<")].strip() if token and "<" in label else label
        span = run.span()
        if len(numbers) > 4 and is_lenient:
            scan.repair("labels")
            for first in range(0, len(numbers) - 3, 4):
                start = span[0] + 9 * first
                part = tuple(numbers[first : first + 4])
                scan.places.append(Place((start, start + 36), part, label=name or None))
            scan.is_cut |= len(numbers) % 4 > 0 or token is not None
            return
        is_unfinished = len(numbers) < 4 or 0 < len(codes) < _CODES
        if is_end and (is_unfinished or token is not None):
            scan.is_cut = True
            if len(numbers) < 4:
                return
        if len(numbers) != 4 or (is_unfinished and not is_end) or len(codes) > _CODES:
            scan.places.append(Place(span, None, Failure.WRONG_ARITY, name or None))
            return
        codes = codes if len(codes) == _CODES else ()
        scan.places.append(Place(span, tuple(numbers), label=name or None, codes=codes))


PALIGEMMA = NativeDialect(
    "paligemma",
    LocTokens(),
    Space(divisor=1024, highest=1023, order="yxyx", digits=4),
    {"refer": "detect {words}\n", "detect": "detect {words}\n", "segment": "segment {words}\n"},
    Exact(
        re.compile(r"\s*<loc(?=[0-9])"),
        re.compile(r"> ([^<>;]*[^<>; ])(?: ; <loc|\s*\Z)"),
        comma="><loc",
        width=4,
    ),
)
