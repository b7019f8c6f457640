"""A box that a user typed, in pixels: the opposite of an answer, so wrong text is an error here."""

from __future__ import annotations

__all__ = ["parse_box_text"]

import re

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.geometry.boxes import clip_boxes

_NUMBER = r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})"
_SEPARATOR = r"(?: ?, ?| )"
_BOX = re.compile(_SEPARATOR.join([f"({_NUMBER})"] * 4))
_SHOWN = 60


def parse_box_text(
    text: str, *, image_wh: tuple[int, int] | None = None
) -> Float[NDArray[np.float64], 4]:
    """Edges x0, y0, x1, y1 in pixels, cut at the border of a picture of `image_wh`.

    Commas or spaces may stand between the numbers, brackets around them.

    Raises:
        InputError: not four numbers, a box without area, or one wholly outside the picture.

    Example:
        >>> parse_box_text("120, 40, 180, 110").tolist()
        [120.0, 40.0, 180.0, 110.0]
    """
    match = _BOX.fullmatch(" ".join(text.strip(" \t\n[](){}").split()))
    if match is None:
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
        raise InputError(
            f"The box {shown!r} is not four numbers; expected x0,y0,x1,y1 in pixels, for instance"
            " 120,40,180,110."
        )
    box = np.array([float(number) for number in match.groups()])
    if not (box[0] < box[2] and box[1] < box[3]):
        raise InputError(
            f"The box {text.strip()!r} has no area; expected x0 < x1 and y0 < y1 (left, top, right,"
            " bottom). Check the order of its numbers."
        )
    if image_wh is None:
        return box
    inside = clip_boxes(box, image_wh)
    if not (inside[0] < inside[2] and inside[1] < inside[3]):
        raise InputError(
            f"The box {text.strip()!r} lies outside the picture, which is {image_wh[0]} pixels wide"
            f" and {image_wh[1]} high. Give pixels of the original picture."
        )
    return inside
