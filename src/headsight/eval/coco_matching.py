"""COCO's greedy matching, whatever the overlap is: IoU of boxes or similarity of keypoints."""

from __future__ import annotations

__all__ = ["greedy_match"]

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def greedy_match(
    overlaps: Float[Array, "n m"],
    thresholds: Float[Array, " t"],
    counts: Bool[Flags, "t m"],
    is_crowd: Bool[Flags, " m"],
) -> Int[NDArray[np.int64], "t n"]:
    """The truth that each detection is matched with under each rule; -1 = none.

    Detections come best score first. Each takes the free truth of highest overlap that reaches the
    threshold, the last of equals; one that counts before one that does not. A crowd stays free.

    Args:
        overlaps: of N detections with M truths.
        thresholds: least overlap of each of T rules.
        counts: whether a truth counts under a rule, or counts neither way.
        is_crowd: truths that any number of detections may take; they never count.
    """
    rules, (number, truths) = len(thresholds), overlaps.shape
    matched = np.full((rules, number), -1, np.int64)
    if not truths:
        return matched
    least = np.minimum(thresholds, 1 - 1e-10)[:, None]
    free = np.ones((rules, truths), bool)
    every = np.arange(rules)
    reached = overlaps[:, None, :] >= least  # (N, T, M)
    for row in np.flatnonzero(reached.any((1, 2))):
        usable = reached[row] & (free | is_crowd)
        counted = usable & counts
        usable = np.where(counted.any(1, keepdims=True), counted, usable)
        backwards = np.where(usable, overlaps[row], -1.0)[:, ::-1]
        best = truths - 1 - backwards.argmax(1)
        hit = usable.any(1)
        matched[hit, row] = best[hit]
        free[every[hit], best[hit]] = False
    return matched
