"""Boxes as x1, y1, x2, y2 in continuous pixels of the original picture.

The width is `x2 - x1`, never `+ 1`. Every function takes numpy arrays and torch tensors alike and
works for no boxes at all.
"""
# mypy: disable-error-code="no-any-return"
# (the array module is numpy or torch, so what it returns is typed by the signatures alone)

from __future__ import annotations

__all__ = ["box_area", "box_iou", "clip_boxes", "grow_boxes", "xywh_to_xyxy", "xyxy_to_xywh"]

from jaxtyping import Float

from headsight.geometry.arrays import ArrayT, namespace


def box_area(boxes: Float[ArrayT, "*batch 4"]) -> Float[ArrayT, "*batch"]:
    """Areas in square pixels; 0 where a box is turned inside out."""
    xp = namespace(boxes)
    sides = xp.clip(boxes[..., 2:] - boxes[..., :2], 0, None)
    return sides[..., 0] * sides[..., 1]


def box_iou(a: Float[ArrayT, "n 4"], b: Float[ArrayT, "m 4"]) -> Float[ArrayT, "n m"]:
    """Pairwise intersection over union; 0 where a box has no area."""
    xp = namespace(a, b)
    top_left = xp.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = xp.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = xp.clip(bottom_right - top_left, 0, None)  # (n, m, 2)
    overlap = sides[..., 0] * sides[..., 1]
    union = box_area(a)[:, None] + box_area(b)[None, :] - overlap
    return overlap / xp.where(union > 0, union, xp.ones_like(union))


def xyxy_to_xywh(boxes: Float[ArrayT, "*batch 4"]) -> Float[ArrayT, "*batch 4"]:
    """Corner, width, height of boxes given by two corners."""
    xp = namespace(boxes)
    return xp.concatenate((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), -1)


def xywh_to_xyxy(boxes: Float[ArrayT, "*batch 4"]) -> Float[ArrayT, "*batch 4"]:
    """Two corners of boxes given by corner, width, height."""
    xp = namespace(boxes)
    return xp.concatenate((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), -1)


def clip_boxes(
    boxes: Float[ArrayT, "*batch 4"], image_wh: tuple[int, int]
) -> Float[ArrayT, "*batch 4"]:
    """Boxes cut at the picture's border; one that lies outside keeps no area."""
    xp = namespace(boxes)
    width, height = image_wh
    limits = xp.asarray((width, height, width, height), dtype=boxes.dtype, device=boxes.device)
    return xp.minimum(xp.clip(boxes, 0, None), limits)


def grow_boxes(
    boxes: Float[ArrayT, "*batch 4"], shares: tuple[float, float, float, float]
) -> Float[ArrayT, "*batch 4"]:
    """Boxes with each edge x1, y1, x2, y2 moved by a share of the width or the height."""
    xp = namespace(boxes)
    sides = boxes[..., 2:] - boxes[..., :2]
    moves = xp.asarray(shares, dtype=boxes.dtype, device=boxes.device)
    return boxes + xp.concatenate((sides, sides), -1) * moves
