"""Greedy non-maximum suppression, for numpy and torch alike."""
# mypy: disable-error-code="no-any-return"
# (the array module is numpy or torch, so what it returns is typed by the signatures alone)

from __future__ import annotations

__all__ = ["nms"]

from jaxtyping import Float, Int

from headsight.errors import InputError
from headsight.geometry.arrays import ArrayT, namespace
from headsight.geometry.boxes import box_iou


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
    order = xp.argsort(-scores, stable=True)
    rest, kept = order, []
    while len(rest):  # one row of the IoU matrix at a time: memory stays linear in n
        best, rest = rest[:1], rest[1:]
        kept.append(best)
        rest = rest[box_iou(boxes[best], boxes[rest])[0] <= iou_threshold]
    return xp.concatenate(kept) if kept else order
