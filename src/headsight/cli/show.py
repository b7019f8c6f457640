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
_COLUMNS = ("", "box (x0, y0, x1, y1)", "yaw", "pitch", "roll", "score", "mask")
_POSE = slice(2, 5)
_COARSE = {"coarse-box": "coarse: the box", "coarse-attention": "coarse: from attention"}


def table(source: str, found: Detections) -> str:
    """One line a place: box and mask in pixels, angles in degrees; `-` where no pose was read."""
    noun = "place" if len(found) == 1 else "places"
    lines = [f"{visible(source)}: {len(found) or 'no'} {noun}"]
    rows = [list(_COLUMNS)] + [_row(number, place) for number, place in enumerate(found, 1)]
    for row in rows:
        if found.masks is None:
            del row[-1]
        if found.rotations is None:
            del row[_POSE]
    if len(found):
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = [
                cell.ljust(width) if title.startswith(("box", "mask")) else cell.rjust(width)
                for title, cell, width in zip(rows[0], row, widths, strict=True)
            ]
            lines.append("  " + "  ".join(cells).rstrip())
    for number, place in enumerate(found, 1):
        lines += _points(number, place)
    lines += [f"  {note}" for note in _unread(found)]
    return "\n".join(lines) + "\n"


def transcript(found: Detections) -> str:
    """Every question and answer in the model's own words, or the heads that were looked with."""
    lines = []
    for exchange in found.exchanges:
        said = visible(exchange.text)
        if exchange.reading.get("method") == "heads":
            heads = ", ".join(f"{layer}-{head}" for layer, head in exchange.reading["heads"])
            said = f"(nothing is written: read from the attention heads {heads}, as layer-head)"
        lines += [f"  Q: {visible(exchange.prompt)}", f"  A: {said}"]
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


def _row(number: int, place: Detections) -> list[str]:
    corners = ", ".join(f"{v:.0f}" for v in place.boxes[0])
    angles = [f"{round(float(v)):+d}°" if np.isfinite(v) else "-" for v in place.poses[0]]
    return [str(number), corners, *angles, f"{place.scores[0]:.2f}", _mask(place)]


def _mask(place: Detections) -> str:
    """The size of the mask and who drew it."""
    if place.masks is None:
        return ""
    kind, by, score = (
        place.attributes.get(name, (None,))[0] for name in ("mask_kind", "mask_by", "mask_score")
    )
    if kind == "none":
        return "none: a point"
    size = f"{place.masks[0].sum()} px"
    if kind in _COARSE:
        return f"{size}, {_COARSE[kind]}"
    sure = f" {score:.2f}" if score is not None and np.isfinite(score) else ""
    return f"{size}, {visible(str(by))}{sure}" if by else size


def _points(number: int, place: Detections) -> list[str]:
    """A line for every named point of a place: px and score, `-` where no answer could be used."""
    names, scores = (
        place.attributes.get(f"keypoint_{what}", (None,))[0] for what in ("names", "scores")
    )
    if place.keypoints is None or not names:
        return []
    widest = max(map(len, names))
    lines = [f"  points of {number}"]
    for name, (x, y, seen), score in zip(names, place.keypoints[0], scores, strict=True):
        told = f"{x:7.1f} {y:7.1f}  {score:.2f}" if seen else "      -       -"
        lines.append(f"    {visible(name):<{widest}}  {told}")
    return lines


def _unread(found: Detections) -> list[str]:
    """A line for every kind of answer that could not be read, and why heads saw nothing."""
    counts: dict[tuple[str, str], int] = {}
    for exchange in found.exchanges:
        if not exchange.reading.get("valid", True) and exchange.reading.get("method") != "heads":
            key = (str(exchange.reading.get("asked")), str(exchange.reading.get("failure")))
            counts[key] = counts.get(key, 0) + 1
    blank = [
        f"the heads show no place: {e.reading.get('failure')}"
        for e in found.exchanges
        if e.reading.get("method") == "heads" and not e.reading.get("valid", True)
    ]
    return blank + [
        f"{number} {asked} answer{'s' if number > 1 else ''} could not be read: {failure}"
        " (--raw shows the words)"
        for (asked, failure), number in counts.items()
    ]
