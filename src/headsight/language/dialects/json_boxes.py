"""Families that answer in JSON: Qwen2.5-VL, Qwen3-VL, Kimi-VL, Gemini and Gemma.

    ```json
    [{"bbox_2d": [161, 120, 483, 360], "label": "cup"}]
    ```

They differ in the key, the order and the space: Qwen2.5-VL writes pixels of the picture **as the
model saw it** (width 14 * grid_w, height 14 * grid_h of `image_grid_thw`); Qwen3-VL thousandths of
the picture; Kimi-VL fractions in [0, 1] (low confidence: one report); Gemini and Gemma thousandths,
**y before x**, under `box_2d` (for Gemma the maker does not confirm it). `[]` says: nothing.
"""

from __future__ import annotations

__all__ = ["GEMINI", "KIMI_VL", "QWEN2_5_VL", "QWEN3_VL", "JsonBoxes"]

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headsight.language.answer import Failure
from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.exact import Exact
from headsight.language.dialects.scan import FOREIGN, Place, Scan, numbers_of
from headsight.language.dialects.space import Space

_FENCE = re.compile(r"\s*```(?:json|JSON)?\s*")
_WHITE = re.compile(r"\s*")
_AFTER = re.compile(r"\s*+`{0,3}\s*+")
_DECODER = json.JSONDecoder(strict=False)  # a label may run over several lines
_FIELD = (
    r"""(?P<quote>["']?)\b(?P<key>{keys})(?P=quote)\s{{0,20}}:\s{{0,20}}\[{{1,2}}"""
    r"""(?P<body>[^\[\]{{}}:]{{0,400}})(?P<close>\])?"""
)
_LABEL = re.compile(
    r"""["']?\b(?:label|name|caption)["']?\s{0,20}:\s{0,20}"""
    r"""(?:"(?P<double>(?:[^"\\]|\\.){0,1000}+)"|'(?P<single>(?:[^'\\]|\\.){0,1000}+)')"""
)
_FLAT = re.compile(r"\[\s{0,20}([^\[\]{}]{1,200})\]")
_SPARE_COMMA = re.compile(r",\s{0,50}[\]}]")
_NO_COMMA = re.compile(r"\}\s{0,50}\{")


@dataclass(frozen=True, eq=False)
class JsonBoxes:
    """A list of objects, each with the numbers of a box or a point, and a label."""

    box_key: str
    point_key: str
    aliases: tuple[str, ...] = ()
    """Keys that a lenient reading takes for `box_key`; with none, it wants the key itself."""
    are_fractions: bool = False
    """Numbers have a decimal point; else they are whole."""

    def scan(self, text: str, *, is_lenient: bool = False, prompt: str = "") -> Scan:
        """See `Scanner.scan`."""
        scan = self._scan_strictly(text)
        is_exact = scan.problem is None and not scan.is_cut
        if not is_lenient or (is_exact and all(p.numbers for p in scan.places)):
            return scan
        return self._scan_leniently(text, scan)

    def write(self, rows: Sequence[Sequence[str]], labels: Sequence[str | None]) -> str:
        """See `Scanner.write`."""
        items = []
        for row, label in zip(rows, labels, strict=True):
            key = self.box_key if len(row) == 4 else self.point_key
            name = "" if label is None else f', "label": {json.dumps(label, ensure_ascii=False)}'
            items.append(f'{{"{key}": [{", ".join(row)}]{name}}}')
        return f"```json\n[{', '.join(items)}]\n```"

    def _scan_strictly(self, text: str) -> Scan:
        """Objects of one list, or one object, with nothing else but a fence around it."""
        scan = Scan()
        fence = _FENCE.match(text)
        start = fence.end() if fence else _end_of(_WHITE, text, 0)
        if text[start : start + 1] not in ("[", "{"):
            if f'"{self.box_key}"' in text or f'"{self.point_key}"' in text:
                scan.problem = Failure.NO_STRUCTURE
            return scan
        end = self._read_list(text, start, scan)
        if scan.is_cut or scan.problem is not None:
            return scan
        if _AFTER.fullmatch(text, end) is None:
            scan.problem = Failure.NO_STRUCTURE
        return scan

    def _read_list(self, text: str, start: int, scan: Scan) -> int:
        """Read the objects from `start` on; returns where the list ends."""
        is_list = text[start] == "["
        position = _end_of(_WHITE, text, start + is_list)
        if is_list and text[position : position + 1] == "]":
            scan.is_none = True
            return position + 1
        while True:
            try:
                item, end = _DECODER.raw_decode(text, position)
            except (ValueError, RecursionError):
                rest = text[position:]
                scan.is_cut = "}" not in rest and ("{" in rest or not rest.strip())
                scan.problem = None if scan.is_cut else Failure.NO_STRUCTURE
                return len(text)
            if not isinstance(item, dict):
                scan.problem = Failure.NO_STRUCTURE
                return len(text)
            self._add(item, _list_span(text, position, end), scan)
            position = _end_of(_WHITE, text, end)
            mark = text[position : position + 1]
            if not is_list or mark == "]":
                return end if not is_list else position + 1
            if mark != ",":
                scan.is_cut = not mark
                scan.problem = Failure.NO_STRUCTURE if mark else None
                return len(text)
            position = _end_of(_WHITE, text, position + 1)

    def _add(self, item: dict[str, Any], span: tuple[int, int], scan: Scan) -> None:
        """The place of one object; an object without any is another grammar."""
        found = next((k for k in (self.box_key, self.point_key) if k in item), None)
        if found is None:
            scan.problem = Failure.NO_STRUCTURE
            return
        numbers, problem = _numbers(item[found], 4 if found == self.box_key else 2)
        if numbers is not None and not self._has_form(item[found]):
            numbers, problem = None, Failure.BAD_DIGITS
        label = item.get("label")
        name = label if isinstance(label, str) else None
        scan.places.append(Place(span, numbers, problem, name))

    def _has_form(self, values: Sequence[Any]) -> bool:
        if self.are_fractions:
            return any(isinstance(value, float) for value in values)
        return all(isinstance(value, int) for value in values)

    def _scan_leniently(self, text: str, strict: Scan) -> Scan:
        """Every box whose numbers are complete, wherever it stands."""
        scan = Scan(is_cut=text.count("{") > text.count("}") or text.count("[") > text.count("]"))
        keys = "|".join((self.box_key, self.point_key, *self.aliases))
        fields = list(re.finditer(_FIELD.format(keys=keys), text))
        for number, found in enumerate(fields):
            before = fields[number - 1].end() if number else 0
            after = fields[number + 1].start() if number + 1 < len(fields) else len(text)
            if found["close"] is None:
                scan.is_cut = True
                continue
            scan.places.append(self._field(found, _label(text, before, found, after), scan))
        if not fields and self.aliases and FOREIGN.search(text) is None:
            self._scan_flat(text, scan)
        if scan.places and strict.problem is not None:
            _name_repairs(text, scan)
        elif scan.places and strict.is_cut and len(scan.places) > len(strict.places):
            scan.repair("unclosed_object")
        if not scan.places:
            return strict
        return scan

    def _field(self, found: re.Match[str], label: str | None, scan: Scan) -> Place:
        arity = 2 if found["key"] == self.point_key else 4
        body = found["body"]
        tokens = [token.strip(" \t\r\n\"'") for token in body.split(",")]
        numbers, problem = numbers_of(tokens, arity)
        if found["quote"] != '"' or '"' in body or "'" in body:
            scan.repair("quotes")
        if found["key"] in self.aliases:
            scan.repair("key_name")
        if numbers is not None and any("." in t for t in tokens) is not self.are_fractions:
            scan.repair("form")
        return Place(found.span("body"), numbers, problem, label)

    def _scan_flat(self, text: str, scan: Scan) -> None:
        """Bare lists of four numbers."""
        for found in _FLAT.finditer(text):
            numbers, _ = numbers_of([t.strip() for t in found[1].split(",")], 4)
            if numbers is not None and ("." in found[1]) is self.are_fractions:
                scan.repair("flat_list")
                scan.places.append(Place(found.span(1), numbers))


def _name_repairs(text: str, scan: Scan) -> None:
    """Say in which ways `text` is not JSON."""
    if _SPARE_COMMA.search(text) or _NO_COMMA.search(text):
        scan.repair("commas")
    marks = [place for place in (text.find("["), text.find("{")) if place >= 0]
    around = text[: min(marks)] + text[max(text.rfind("]"), text.rfind("}")) + 1 :]
    if re.search(r"\w", re.sub(r"```(?:json)?", "", around)):
        scan.repair("text_around")
    if not scan.repairs:
        scan.repair("structure")


def _label(text: str, before: int, found: re.Match[str], after: int) -> str | None:
    """The label in the object around `found`, between its neighbours."""
    start = max(text.rfind("{", before, found.start()), before)
    end = text.find("{", found.end(), after)
    label = _LABEL.search(text, start, after if end < 0 else end)
    if label is None:
        return None
    return str(label["double"] if label["double"] is not None else label["single"])


def _numbers(value: Any, arity: int) -> tuple[tuple[float, ...], None] | tuple[None, Failure]:
    """The numbers of a decoded list, or why they are none."""
    if not isinstance(value, list) or any(type(v) not in (int, float) for v in value):
        return None, Failure.NOT_A_NUMBER
    if len(value) != arity:
        return None, Failure.WRONG_ARITY
    if any(abs(v) > 1e9 or v != v for v in value):
        return None, Failure.OUT_OF_RANGE
    return tuple(map(float, value)), None


def _list_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Where the first list of the object between `start` and `end` stands."""
    opening = text.find("[", start, end)
    closing = text.find("]", opening, end)
    return (opening + 1, closing) if 0 <= opening < closing else (start, end)


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def _exact(key: str) -> Exact:
    """Lists as the models write them, one object a line or all on one."""
    following = rf'\{{"{key}": \['
    return Exact(
        re.compile(rf"\s*(?:```json\s*)?\[\s*{following}(?=[0-9])"),
        re.compile(
            rf'\], "label": "([^"]*+)"\}}'
            rf"(?:, {following}|,\s+{following}|\s*+\]\s*+(?:```\s*+)?\Z)"
        ),
    )


_JSON_REQUEST = "Locate {words} in this image and output the bbox coordinates in JSON format."
_PROMPTS = {
    "refer": _JSON_REQUEST,
    "detect": "Locate every instance of {words} in this image and output the bbox coordinates in"
    " JSON format.",
    "point": "Point to {words} in this image and output the point coordinates in JSON format.",
}
_THOUSANDTHS = Space()

QWEN2_5_VL = NativeDialect(
    "qwen2_5_vl",
    JsonBoxes("bbox_2d", "point_2d", ("bbox", "box")),
    Space(divisor=None),
    _PROMPTS,
    _exact("bbox_2d"),
)
QWEN3_VL = NativeDialect(
    "qwen3_vl",
    JsonBoxes("bbox_2d", "point_2d", ("bbox", "box")),
    _THOUSANDTHS,
    _PROMPTS,
    _exact("bbox_2d"),
)
KIMI_VL = NativeDialect(
    "kimi_vl",
    JsonBoxes("bbox_2d", "point_2d", ("bbox", "box"), are_fractions=True),
    Space(divisor=1, decimals=3),
    _PROMPTS,
    note="the space is known from one user's report",
)
GEMINI = NativeDialect(
    "gemini",
    JsonBoxes("box_2d", "point"),
    Space(order="yxyx"),
    {
        "refer": 'Detect {words}. Answer with a JSON list of one entry: "box_2d" as [ymin, xmin,'
        ' ymax, xmax] in 0-1000, and "label".',
        "detect": 'Detect every instance of {words}. Answer with a JSON list: "box_2d" as [ymin,'
        ' xmin, ymax, xmax] in 0-1000, and "label".',
        "point": 'Point to {words}. Answer with a JSON list: "point" as [y, x] in 0-1000, and'
        ' "label".',
    },
    _exact("box_2d"),
    note="for Gemma the maker does not confirm the space",
)
