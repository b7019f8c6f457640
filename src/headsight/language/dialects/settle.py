"""From the places of a scan to an answer: pixels, what was dropped and why, one failure for all."""

from __future__ import annotations

__all__ = ["settle"]

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headsight.language.answer import Failure
from headsight.language.codec import parse
from headsight.language.dialects.native_answer import NativeAnswer
from headsight.language.dialects.scan import Place, Scan
from headsight.language.dialects.space import Frame
from headsight.language.spec import CodecSpec, Kind

_OWN = CodecSpec("boxes")
_DIGIT = re.compile(r"[0-9]")
_LOOKED_AT = 2000
"""Characters that are looked at for words that decline."""
_LOOP = 4
"""Equal boxes at the end of a text without an end: a loop."""


@dataclass(frozen=True, slots=True)
class _Placed:
    place: Place
    pixels: tuple[float, ...]
    is_cut: bool


def settle(
    text: str, clean: str, scan: Scan, frame: Frame, *, dialect: str, asked: Kind, is_lenient: bool
) -> NativeAnswer:
    """The answer that `scan` of `clean`, which is `text` without its marks of the end, amounts to.

    Failure is the gravest: the text is cut off, a place was dropped, a number was moved inside.
    """
    if scan.is_none:
        span = (0, len(text))
        is_strict = not scan.repairs
        return NativeAnswer(
            np.zeros((0, 4)), "none", asked, is_strict, text=text, span=span, spans=(),
            repairs=tuple(scan.repairs), dialect=dialect,
        )  # fmt: skip
    placed: list[_Placed] = []
    dropped: list[tuple[Place, Failure]] = []
    if scan.problem is None or is_lenient:
        placed, dropped = _split(scan.places, frame)
    if not placed:
        return _nothing(text, clean, scan, dropped, dialect=dialect, asked=asked)
    if is_lenient:
        placed = _without_loop(placed, scan)
    failure, flags = _failure_of(placed, dropped, scan)
    has_points = len(placed[0].pixels) == 2
    return NativeAnswer(
        np.array([p.pixels for p in placed], dtype=np.float64),
        "points" if has_points else "boxes",
        asked,
        failure is None and not scan.repairs,
        failure,
        failure is not None,
        text,
        (placed[0].place.span[0], placed[-1].place.span[1]),
        tuple(p.place.span for p in placed),
        dropped=tuple((text[slice(*place.span)], str(problem)) for place, problem in dropped),
        flags=flags,
        labels=tuple(p.place.label for p in placed),
        dialect=dialect,
        repairs=tuple(scan.repairs),
        polygons=_outlines(placed, frame),
        codes=tuple(p.place.codes for p in placed) if any(p.place.codes for p in placed) else (),
    )


def _split(
    places: Sequence[Place], frame: Frame
) -> tuple[list[_Placed], list[tuple[Place, Failure]]]:
    """Places in pixels, all of the kind of the first, and the others with what is wrong."""
    placed: list[_Placed] = []
    dropped: list[tuple[Place, Failure]] = []
    for place in places:
        numbers = place.numbers
        if numbers is None:
            dropped.append((place, place.problem or Failure.UNREADABLE))
            continue
        pixels, problem = frame.point(numbers) if len(numbers) == 2 else frame.box(numbers)
        if _is_of_another_scale(numbers, frame):
            dropped.append((place, Failure.BAD_DIGITS))
        elif pixels is None:
            dropped.append((place, problem or Failure.UNREADABLE))
        elif placed and len(placed[0].pixels) != len(pixels):
            dropped.append((place, Failure.WRONG_KIND))
        else:
            placed.append(_Placed(place, pixels, problem is not None))
    return placed, dropped


def _is_of_another_scale(numbers: Sequence[float], frame: Frame) -> bool:
    """Fractions of 1 where whole numbers belong: not a tiny box, but other units."""
    return frame.space.decimals == 0 and max(numbers) <= 1 and any(n % 1 for n in numbers)


def _without_loop(placed: list[_Placed], scan: Scan) -> list[_Placed]:
    """Each place once, where the text repeats itself."""
    if not _is_loop(placed):
        return placed
    scan.repair("repeats")
    return list({(p.pixels, p.place.label): p for p in reversed(placed)}.values())[::-1]


def _is_loop(placed: Sequence[_Placed]) -> bool:
    tail = placed[-_LOOP:]
    return len(tail) == _LOOP and len({p.pixels for p in tail}) == 1


def _failure_of(
    placed: Sequence[_Placed], dropped: Sequence[tuple[Place, Failure]], scan: Scan
) -> tuple[Failure | None, frozenset[str]]:
    flags = frozenset({"edge"} if any(p.is_cut for p in placed) else ())
    if scan.is_cut:
        return (Failure.REPEAT if _is_loop(placed) else Failure.TRUNCATED), flags
    if dropped:
        return dropped[0][1], flags
    return (Failure.OUT_OF_RANGE if flags else None), flags


def _nothing(
    text: str,
    clean: str,
    scan: Scan,
    dropped: Sequence[tuple[Place, Failure]],
    *,
    dialect: str,
    asked: Kind,
) -> NativeAnswer:
    """An answer without a place, and the reason."""
    return NativeAnswer(
        None,
        None,
        asked,
        False,
        _reason(clean, scan, dropped),
        False,
        text,
        (0, len(text)),
        (),
        dropped=tuple((text[slice(*place.span)], str(why)) for place, why in dropped),
        dialect=dialect,
    )


def _reason(clean: str, scan: Scan, dropped: Sequence[tuple[Place, Failure]]) -> Failure:
    if scan.is_cut:
        return Failure.TRUNCATED
    if not clean.strip():
        return Failure.EMPTY
    if dropped:
        return dropped[0][1]
    if scan.problem is not None:
        return scan.problem
    if parse(clean[:_LOOKED_AT], _OWN).failure is Failure.REFUSAL:
        return Failure.REFUSAL
    return Failure.NO_STRUCTURE if _DIGIT.search(clean) else Failure.NO_BOX


def _outlines(
    placed: Sequence[_Placed], frame: Frame
) -> tuple[tuple[NDArray[np.float64], ...], ...]:
    """Outlines in pixels; empty where no place has any."""
    if not any(p.place.outlines for p in placed):
        return ()
    return tuple(
        tuple(
            np.array([frame.point(frame_xy)[0] or (np.nan, np.nan) for frame_xy in outline])
            for outline in p.place.outlines
        )
        for p in placed
    )
