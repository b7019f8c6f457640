"""Greedy non-maximum suppression, for numpy and torch alike.

Boxes are taken in blocks of the best that are left: within a block one after another, and the block
then removes from the rest at once. The work is that of the plain method, a box that stays against
all that are left, in few calls; memory is linear in n.
"""
# mypy: disable-error-code="no-any-return"
# (the array module is numpy or torch, so what it returns is typed by the signatures alone)

from __future__ import annotations

__all__ = ["nms"]

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from headsight.errors import InputError
from headsight.geometry.arrays import ArrayT, namespace
from headsight.geometry.boxes import box_area

_BLOCK, _STRIP = 64, 250


def nms(
    boxes: Float[ArrayT, "n 4"], scores: Float[ArrayT, " n"], iou_threshold: int | float = 0.5
) -> Int[ArrayT, " kept"]:
    """Indices of the boxes that stay, best score first; equal scores keep their order.

    A box goes when its IoU with a better box that stays is greater than `iou_threshold`.

    Raises:
        InputError: a threshold outside [0, 1].
    """
    if not 0 <= iou_threshold <= 1:
        raise InputError(
            f"iou_threshold is {iou_threshold}, but must lie in [0, 1]. Use 0.5 if in doubt."
        )
    xp = namespace(boxes, scores)
    rest = xp.argsort(-scores, stable=True)
    sides = [boxes[rest, i] for i in range(4)]
    sides.append(box_area(boxes)[rest])
    kept = []
    while len(rest):
        best, rest = rest[:_BLOCK], rest[_BLOCK:]
        block, sides = [s[:_BLOCK] for s in sides], [s[_BLOCK:] for s in sides]
        stays = _stays(_overlaps(xp, block, block, iou_threshold))
        kept.append(best[stays])
        if len(rest):
            is_left = _is_left(xp, [s[stays] for s in block], sides, iou_threshold)
            rest, sides = rest[is_left], [s[is_left] for s in sides]
    return xp.concatenate(kept) if kept else rest


def _is_left(xp: Any, block: list[Any], sides: list[Any], iou_threshold: int | float) -> Any:
    """Boxes that no box of the block removes; in strips, whose tables stay in the cache."""
    strips = ([s[i : i + _STRIP] for s in sides] for i in range(0, len(sides[0]), _STRIP))
    return xp.concatenate([~_overlaps(xp, block, strip, iou_threshold).any(0) for strip in strips])


def _overlaps(xp: Any, a: list[Any], b: list[Any], iou_threshold: int | float) -> Any:
    """(n, m) of x1, y1, x2, y2, areas of n and m boxes: whether the IoU is greater."""
    x1, y1, x2, y2, area = (side[:, None] for side in a)
    overlap = xp.minimum(x2, b[2])
    overlap -= xp.maximum(x1, b[0])
    xp.clip(overlap, 0, None, out=overlap)
    height = xp.minimum(y2, b[3])
    height -= xp.maximum(y1, b[1])
    overlap *= height  # below 0 where they lie apart
    union = area + b[4]
    union -= overlap
    union *= iou_threshold  # not a division: without area nothing overlaps
    return overlap > union


def _stays(removes: Any) -> list[int]:
    """Rows that no better row that stays removes; a row has a bit for each box that it removes."""
    if not isinstance(removes, np.ndarray):
        removes = removes.cpu().numpy()
    rows = np.packbits(removes, axis=-1, bitorder="little")
    stays, removed = [], 0
    for i, row in enumerate(rows):
        if not removed >> i & 1:
            stays.append(i)
            removed |= int.from_bytes(row.tobytes(), "little")
    return stays
