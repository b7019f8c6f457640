"""COCO average precision of one class, in numpy.

Greedy matching, 101 recall points (cocodataset/cocoapi).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.geometry.boxes import box_area, box_iou

__all__ = ["COCO_THRESHOLDS", "PictureMatch", "average_precision", "coco_ap", "match_picture"]

COCO_THRESHOLDS = tuple(np.arange(0.5, 1.0, 0.05).round(2).tolist())
_RECALLS = np.linspace(0, 1, 101)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PictureMatch:
    """What became of one picture's detections, best score first."""

    scores: Array
    truth: NDArray[np.int64]
    """Row of the truth each detection was matched with; -1 = none."""
    is_ignored: NDArray[np.bool_]
    """Counts neither way."""
    number: int
    """Truths that count."""


def match_picture(
    boxes: Float[Array, "n 4"],
    scores: Float[Array, " n"],
    truth: Float[Array, "m 4"],
    *,
    threshold: float = 0.5,
    ignore: Float[Array, "k 4"] | None = None,
    max_detections: int = 100,
) -> PictureMatch:
    """One-to-one matching in the order of the scores.

    Each detection takes the free truth of highest IoU >= `threshold`. A detection left over is
    ignored where at least `threshold` of its own area lies in an ignored place.
    """
    order = np.argsort(-scores, kind="stable")[:max_detections]
    boxes, scores = boxes[order], scores[order]
    iou = np.asarray(box_iou(boxes, truth))
    free = np.ones(len(truth), bool)
    matched = np.full(len(boxes), -1, np.int64)
    for row in range(len(boxes)):
        candidates = np.where(free, iou[row], -1.0)
        if len(truth) and candidates.max() >= min(threshold, 1 - 1e-10):
            # the last of equals, as the reference does
            best = len(truth) - 1 - int(candidates[::-1].argmax())
            matched[row] = best
            free[best] = False
    is_ignored = np.zeros(len(boxes), bool)
    if ignore is not None and len(ignore):
        inside = _share_inside(boxes, ignore).max(1)
        is_ignored = (matched < 0) & (inside >= threshold)
    return PictureMatch(scores, matched, is_ignored, len(truth))


def average_precision(matches: Sequence[PictureMatch]) -> float:
    """Mean of the right-monotone precision at 101 recalls; -1 where no truth counts at all."""
    number = sum(m.number for m in matches)
    if number == 0:
        return -1.0
    scores = np.concatenate([m.scores[~m.is_ignored] for m in matches])
    hits = np.concatenate([(m.truth >= 0)[~m.is_ignored] for m in matches])
    order = np.argsort(-scores, kind="stable")
    true_positives = np.cumsum(hits[order])
    recall = true_positives / number
    precision = true_positives / np.arange(1, len(order) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.where(at < len(envelope), np.append(envelope, 0)[at], 0).mean())


def coco_ap(
    predictions: Sequence[tuple[Float[Array, "_ 4"], Float[Array, " _"]]],
    truths: Sequence[Float[Array, "_ 4"]],
    *,
    ignores: Sequence[Float[Array, "_ 4"]] | None = None,
    thresholds: Sequence[float] = COCO_THRESHOLDS,
) -> dict[str, float]:
    """`ap` (mean over `thresholds`), and `ap50`, `ap75` where those are among them.

    Args:
        predictions: boxes xyxy and scores of every picture.
        truths: true boxes of every picture.
        ignores: places of every picture where a detection counts neither way.
        thresholds: IoU thresholds.
    """
    empty = np.zeros((0, 4))
    places = ignores if ignores is not None else [empty] * len(truths)
    by_threshold = {
        t: average_precision(
            [
                match_picture(b, s, truth, threshold=t, ignore=i)
                for (b, s), truth, i in zip(predictions, truths, places, strict=True)
            ]
        )
        for t in thresholds
    }
    result = {"ap": float(np.mean(list(by_threshold.values())))}
    return result | {
        f"ap{round(100 * t)}": by_threshold[t] for t in (0.5, 0.75) if t in by_threshold
    }


def _share_inside(boxes: Float[Array, "n 4"], places: Float[Array, "k 4"]) -> Float[Array, "n k"]:
    low = np.maximum(boxes[:, None, :2], places[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], places[None, :, 2:])
    area = np.asarray(box_area(boxes))[:, None]
    return np.asarray((high - low).clip(0).prod(-1) / np.where(area > 0, area, 1))
