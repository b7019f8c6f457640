"""What boxes and masks of expressions have in common: the answer behind each, and the groups."""

from __future__ import annotations

__all__ = ["SIZES", "Asked", "answer_table", "ask_about", "figure_tables"]

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headsight.data.ref_sample import RefSample
from headsight.detections import Detections
from headsight.eval.bootstrap import Ratios, ratios
from headsight.geometry.boxes import box_area

SIZES: dict[str, tuple[float, float]] = {
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, float("inf")),
}
"""COCO's sizes, by the area of the true box in square px; the lower limit belongs to the size."""

_SAYS_NOTHING = frozenset({"refusal", "empty", "no_box"})
"""Failures that are words without a place: the picture does not show it, or silence."""


@dataclass(frozen=True)
class Asked:
    """One expression and what became of its answer."""

    image: str
    target: Literal["one", "several", "none"]
    """How many places the expression refers to."""
    says_nothing: bool
    """The answer names no place, and says so: garbage does not count as saying so."""
    is_read: bool
    """The answer can be used."""
    failure: str
    """What is wrong with the answer, or `ok`."""
    flags: tuple[str, ...]
    size: str
    """Key of `SIZES`; empty where there is no target."""
    category: str
    types: tuple[str, ...]


def ask_about(found: Detections, sample: RefSample) -> Asked:
    """The answer behind `found`, and the groups that `sample` belongs to."""
    readings = [e.reading for e in found.exchanges]
    failures = [str(r["failure"]) for r in readings if r.get("failure")]
    is_read = all(bool(r.get("valid", not r.get("failure"))) for r in readings)
    holds_places = any(r.get("kind") in ("boxes", "points", "point") for r in readings)
    is_silent = is_read and not holds_places
    is_silent |= bool(failures) and set(failures) <= _SAYS_NOTHING
    area = float(np.asarray(box_area(sample.boxes), np.float64).sum())
    number = len(sample.boxes)
    return Asked(
        str(sample.image),
        "none" if number == 0 else "one" if number == 1 else "several",
        says_nothing=len(found) == 0 and is_silent,
        is_read=is_read,
        failure=failures[0] if failures else "ok",
        flags=tuple(str(f) for r in readings for f in r.get("flags", ())),
        size=next((n for n, (a, b) in SIZES.items() if a <= area < b), "") if number else "",
        category=sample.category,
        types=sample.types,
    )


def figure_tables(parts: Ratios, asked: Sequence[Asked]) -> dict[str, dict[str, dict[str, float]]]:
    """The figures of each category, type of expression and size of target, with their numbers."""
    groups: dict[str, dict[str, NDArray[np.bool_]]] = {
        "by_category": _members([(a.category,) for a in asked]),
        "by_type": _members([a.types for a in asked]),
        "by_size": _members([(a.size,) for a in asked], order=tuple(SIZES)),
        "by_target": _members([(a.target,) for a in asked], order=("one", "several", "none")),
    }
    return {
        title: {
            name: {"expressions": float(rows.sum()), **ratios(parts, rows)}
            for name, rows in members.items()
        }
        for title, members in groups.items()
    }


def answer_table(asked: Sequence[Asked]) -> dict[str, Any]:
    """How many answers could not be used, and why; kinds of trouble with their counts."""
    failures = Counter(a.failure for a in asked)
    unread = Counter(a.failure for a in asked if not a.is_read)
    flags = Counter(flag for a in asked for flag in set(a.flags))
    number = len(asked)
    return {
        "asked": number,
        "invalid": sum(unread.values()) / number if number else float("nan"),
        "not_strict": 1 - failures["ok"] / number if number else float("nan"),
        "invalid_kinds": dict(unread),
        "failures": {name: n for name, n in failures.items() if name != "ok"},
        "flags": dict(flags),
    }


def _members(
    names: Sequence[tuple[str, ...]], *, order: tuple[str, ...] = ()
) -> dict[str, NDArray[np.bool_]]:
    """Which items belong to each name; empty names are no group."""
    present = {name for own in names for name in own if name}
    listed = [n for n in order if n in present] if order else sorted(present)
    return {n: np.array([n in own for own in names], bool) for n in listed}
