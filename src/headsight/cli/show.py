"""What the asking commands print: a plain table for people, one JSON document for programs."""

from __future__ import annotations

__all__ = ["SCHEMA", "results_json", "table", "transcript", "visible"]

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from headsight.detections import Detections

SCHEMA = "headsight.results/1"
_COLUMNS = ("", "box (x0, y0, x1, y1)", "yaw", "pitch", "roll", "score")


def table(source: str, found: Detections) -> str:
    """One line a place, boxes in pixels, angles in degrees; `-` where no pose was read."""
    noun = "place" if len(found) == 1 else "places"
    lines = [f"{visible(source)}: {len(found) or 'no'} {noun}"]
    has_poses = found.rotations is not None
    rows = [_COLUMNS] + [_row(number, place) for number, place in enumerate(found, 1)]
    if not has_poses:
        rows = [(row[0], row[1], row[5]) for row in rows]
    if len(found):
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [
                cell.ljust(width) if column == 1 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  " + "  ".join(cells).rstrip())
    lines += [f"  {note}" for note in _unread(found)]
    return "\n".join(lines) + "\n"


def transcript(found: Detections) -> str:
    """Every question and answer in the model's own words."""
    lines = []
    for exchange in found.exchanges:
        lines += [f"  Q: {visible(exchange.prompt)}", f"  A: {visible(exchange.text)}"]
    return "\n".join(lines) + "\n"


def results_json(
    documents: Sequence[Mapping[str, Any]],
    failures: Sequence[Mapping[str, str]],
    *,
    model: str | None,
    raw: bool,
) -> str:
    """The document of a run; without `raw` each exchange keeps only how it was read."""
    pictures = [dict(document) for document in documents]
    if not raw:
        for document in pictures:
            document["exchanges"] = [{"reading": e["reading"]} for e in document["exchanges"]]
    whole = {"schema": SCHEMA, "model": model, "pictures": pictures, "failures": list(failures)}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def visible(text: str) -> str:
    r"""`text` with control characters spelled out, so that it cannot steer the terminal.

    Example:
        >>> print(visible("red" + chr(27) + "[2J"))
        red\x1b[2J
    """
    if text.isprintable():
        return text
    return "".join(
        repr(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c
        for c in text
    )


def _row(number: int, place: Detections) -> tuple[str, ...]:
    corners = ", ".join(f"{v:.0f}" for v in place.boxes[0])
    angles = [f"{round(float(v)):+d}°" if np.isfinite(v) else "-" for v in place.poses[0]]
    return (str(number), corners, *angles, f"{place.scores[0]:.2f}")


def _unread(found: Detections) -> list[str]:
    """A line for every kind of answer that could not be read."""
    counts: dict[tuple[str, str], int] = {}
    for exchange in found.exchanges:
        if not exchange.reading.get("valid", True):
            key = (str(exchange.reading.get("asked")), str(exchange.reading.get("failure")))
            counts[key] = counts.get(key, 0) + 1
    return [
        f"{number} {asked} answer{'s' if number > 1 else ''} could not be read: {failure}"
        " (--raw shows the words)"
        for (asked, failure), number in counts.items()
    ]
