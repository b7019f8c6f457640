"""Places written as text and read back: one grammar for boxes, head poses, points and counts.

    boxes   [[016,042,172,458;...]]   edges in steps of the width and the height; `none` for no box
    pose    {315,010,000}             yaw, pitch, roll in whole degrees modulo 360
    point   [0.253,0.380]             fractions of the frame; points: several, separated by `;`
    count   17

The kinds differ in their first two characters, so that blended answers can be told apart. `encode`
writes exactly this grammar; `parse` reads it by one compiled expression and hands everything else
to the tolerant reader. No text makes `parse` raise.
"""

from __future__ import annotations

__all__ = ["NONE", "Answer", "CodecSpec", "Failure", "encode", "parse", "sort_boxes"]

import dataclasses
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.language.answer import Answer, Failure
from headsight.language.quantize import (
    angles_to_bins,
    bins_to_angles,
    bins_to_boxes,
    bins_to_points,
    boxes_to_bins,
    points_to_bins,
)
from headsight.language.reading import NONE, pose_flags, read_tolerantly
from headsight.language.spec import CodecSpec, Kind
from headsight.language.syntax import strict_pattern

MAX_COUNT = 9_999_999
_FEW_BOXES = 8


def encode(value: Any, spec: CodecSpec, *, image_wh: tuple[int, int] | None = None) -> str:
    """`value` in the canonical grammar.

    Boxes (N, 4) and points are in pixels of `image_wh`, or in [0, 1] of the frame without it; the
    order of several boxes is kept (`sort_boxes` gives the order that models are trained on). A pose
    is yaw, pitch, roll in degrees. None is a hidden point, under `visibility="ask"`.

    Raises:
        InputError: a wrong shape, a number that is not finite, a box without area in the picture.

    Example:
        >>> encode([-45.4, 10.2, -0.4], CodecSpec("pose"))
        '{315,010,000}'
        >>> encode([[10, 20, 110, 220]], CodecSpec("boxes"), image_wh=(640, 480))
        '[[016,042,172,458]]'
    """
    if value is None and _may_be_hidden(spec):
        return NONE
    if spec.kind == "count":
        return _encode_count(value)
    array = _as_array(value, spec.kind)
    if spec.kind == "pose":
        yaw, pitch, roll = angles_to_bins(array).tolist()
        return f"{{{yaw:03d},{pitch:03d},{roll:03d}}}"
    if spec.kind == "boxes":
        if not len(array):
            return NONE
        rows = boxes_to_bins(array, spec, image_wh).tolist()
        return "[[" + ";".join(",".join(f"{q:0{spec.digits}d}" for q in row) for row in rows) + "]]"
    rows = points_to_bins(array, spec, image_wh).tolist()
    return ";".join(f"[0.{x:0{spec.digits}d},0.{y:0{spec.digits}d}]" for x, y in rows)


def parse(
    text: str,
    spec: CodecSpec,
    *,
    expect: Kind | None = None,
    image_wh: tuple[int, int] | None = None,
    prompt: str | None = None,
    hit_limit: bool = False,
) -> Answer:
    """What `text` says, exactly where it follows the grammar, else as far as it can be trusted.

    Args:
        text: what a model wrote. Never raises on it, and never invents a missing number.
        spec: the format that was asked for.
        expect: the kind that was asked for, where it is not `spec.kind`.
        image_wh: boxes and points come back in pixels of this size; without it in [0, 1].
        prompt: the question, to be passed over where the model repeats it.
        hit_limit: generation stopped at its limit of tokens, so a last number may be cut short.

    Example:
        >>> parse("{315,010,000}", CodecSpec("pose")).value.tolist()
        [-45.0, 10.0, 0.0]
        >>> parse("{315,010}", CodecSpec("pose")).failure
        <Failure.WRONG_ARITY: 'wrong_arity'>
    """
    if expect is not None and expect != spec.kind:
        spec = dataclasses.replace(spec, kind=expect)
    body = text.strip()
    if strict_pattern(spec.kind, spec.digits).fullmatch(body):
        answer = _read_strictly(text, body, spec, image_wh)
        if answer is not None and not (hit_limit and spec.kind == "count"):
            return answer
    elif body == NONE and (spec.kind == "boxes" or _may_be_hidden(spec)):
        start = text.index(NONE)
        value = np.zeros((0, 4)) if spec.kind == "boxes" else None
        return Answer(value, "none", spec.kind, True, text=text, span=(start, start + len(NONE)))
    return read_tolerantly(text, spec, image_wh=image_wh, prompt=prompt, hit_limit=hit_limit)


def sort_boxes(boxes: Float[NDArray[Any], "n 4"]) -> Float[NDArray[Any], "n 4"]:
    """Boxes from left to right, then from top to bottom: the order in which models are trained.

    Without a fixed order the loss would punish a correct set.
    """
    return boxes[np.lexsort((boxes[:, 1], boxes[:, 0]))]


def _read_strictly(
    text: str, body: str, spec: CodecSpec, image_wh: tuple[int, int] | None
) -> Answer | None:
    """The reading of a text that follows the grammar; None where its boxes have no area."""
    kind = spec.kind
    start = 0 if len(body) == len(text) else text.index(body)
    span = (start, start + len(body))
    value: Any
    if kind == "boxes":
        boxes = _box_bins(body, spec.digits)
        if boxes is None:
            return None
        return Answer(
            bins_to_boxes(boxes, spec, image_wh), kind, kind, True, None, False, text, span
        )
    if kind == "count":
        return Answer(int(body), kind, kind, True, None, False, text, span)
    if kind == "pose":
        value = bins_to_angles(np.array([int(number) for number in body[1:-1].split(",")], float))
        flags = pose_flags(value)
        return Answer(value, kind, kind, True, None, False, text, span, flags=flags)
    numbers = body[1:-1].replace("];[", ",").split(",")
    bins = np.array([int(number[2:]) for number in numbers], dtype=np.float64).reshape(-1, 2)
    value = bins_to_points(bins, spec, image_wh)
    if kind == "point":
        return Answer(value[0], kind, kind, True, None, False, text, span)
    # Points that all coincide are a warning: the text itself is exact.
    failure = Failure.DEGENERATE if len(bins) > 1 and (bins == bins[0]).all() else None
    return Answer(value, kind, kind, True, failure, failure is not None, text, span)


def _box_bins(body: str, digits: int) -> NDArray[np.float64] | None:
    """Numbers of strict box text (N, 4); None where a box has no area.

    Two ways to the same numbers: of few boxes one by one, of many all at once by their places in
    the text (each number has the same width), where one call of numpy costs more than a box.
    """
    if len(body) < _FEW_BOXES * (4 * digits + 4):
        few = list(map(int, body[2:-2].replace(";", ",").split(",")))
        for i in range(0, len(few), 4):
            if few[i] >= few[i + 2] or few[i + 1] >= few[i + 3]:
                return None
        return np.array(few, dtype=np.float64).reshape(-1, 4)
    weights, zeros = _place_values(digits)
    characters = np.frombuffer(body.encode(), np.uint8, len(body) - 3, 2)
    bins: NDArray[np.float64] = characters.reshape(-1, len(weights)).dot(weights)
    bins -= zeros
    has_area = np.logical_and.reduce(bins[:, 2:] > bins[:, :2], axis=None)
    return bins if has_area else None


@cache
def _place_values(digits: int) -> tuple[NDArray[np.float64], float]:
    """What each character of a box adds to its four numbers, and what the character codes add."""
    weights = np.zeros((4, digits + 1, 4))
    for number in range(4):
        weights[number, :digits, number] = 10.0 ** np.arange(digits - 1, -1, -1)
    return weights.reshape(-1, 4), ord("0") * float(weights[0].sum())


def _may_be_hidden(spec: CodecSpec) -> bool:
    return spec.visibility == "ask" and spec.kind in ("point", "points")


def _encode_count(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputError(f"A count is a whole number, but {value!r} was given.")
    if not 0 <= value <= MAX_COUNT:
        raise InputError(
            f"The count {value} is outside 0..{MAX_COUNT}, which the grammar can hold."
        )
    return str(int(value))


def _as_array(value: Any, kind: Kind) -> NDArray[np.float64]:
    """`value` as numbers of the shape of its kind."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{kind}: {value!r} is not a table of numbers.") from error
    if kind in ("boxes", "points") and array.size == 0:
        array = array.reshape(0, 4 if kind == "boxes" else 2)
    if kind in ("boxes", "point", "points") and array.ndim == 1:
        array = array[None]
    wanted = {"boxes": (4,), "pose": (3,), "point": (2,), "points": (2,)}[kind]
    is_fit = array.shape == wanted if kind == "pose" else array.shape[1:] == wanted
    if not is_fit or (kind == "point" and len(array) != 1) or (kind == "points" and not len(array)):
        shape = {"boxes": "(N, 4)", "pose": "(3,)", "point": "(2,)", "points": "(N, 2), N > 0"}[
            kind
        ]
        raise InputError(f"{kind}: the value has shape {np.shape(value)}, but {shape} is needed.")
    return array
