"""COCO's twelve figures for boxes of any number of categories, in numpy (cocodataset/cocoapi).

Matching is greedy in the order of the scores; each detection takes the free truth of highest IoU,
and a truth that counts before one that does not (a crowd, or one outside the range of areas).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.eval.average_precision import COCO_THRESHOLDS, PictureMatch, average_precision
from headsight.eval.coco_matching import greedy_match
from headsight.geometry.boxes import box_area, box_iou

__all__ = ["AREAS", "CocoFigures", "CocoFound", "CocoTruth", "coco_summary"]

AREAS: dict[str, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""Ranges of the truth's area, square px, both ends included."""
MOST_DETECTIONS = (1, 10, 100)

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CocoTruth:
    """The labelled objects (M) of one picture."""

    boxes: Float[Array, "m 4"]
    """xyxy px."""
    labels: Int[NDArray[np.int64], " m"] | None = None
    """Category of each; absent: all are of one."""
    areas: Float[Array, " m"] | None = None
    """Area of each (of the mask, where there is one); absent: the box's."""
    is_crowd: Bool[NDArray[np.bool_], " m"] | None = None


@dataclass(frozen=True, kw_only=True)
class CocoFound:
    """The detections (N) of one picture."""

    boxes: Float[Array, "n 4"]
    """xyxy px."""
    scores: Float[Array, " n"]
    labels: Int[NDArray[np.int64], " n"] | None = None
    """Category of each; absent: all are of one."""


@dataclass(frozen=True, kw_only=True)
class CocoFigures:
    """COCO's figures; -1 where no truth is of that range of areas."""

    ap: float
    """Mean over IoU 0.50, 0.55 ... 0.95 and categories."""
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar_1: float
    """Recall with the best detection of each picture and category, mean over the thresholds."""
    ar_10: float
    ar_100: float
    ar_small: float
    ar_medium: float
    ar_large: float

    def to_dict(self) -> dict[str, float]:
        """The figures by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def coco_summary(found: Sequence[CocoFound], truths: Sequence[CocoTruth]) -> CocoFigures:
    """The twelve figures over all pictures.

    Args:
        found: detections of every picture.
        truths: labelled objects of the same pictures, in the same order.

    Raises:
        InputError: the two are not of the same pictures.
    """
    if len(found) != len(truths):
        raise InputError(
            f"There are detections of {len(found)} pictures and truths of {len(truths)}. Pass one"
            " of each for every picture; without detections, one with empty arrays."
        )
    pictures = [_by_label(f, t) for f, t in zip(found, truths, strict=True)]
    labels = sorted({label for picture in pictures for label in picture})
    at = {
        area: [
            list(zip(*(_match(p[label], area) for p in pictures if label in p), strict=True))
            for label in labels
        ]
        for area in AREAS
    }
    every = at["all"]
    return CocoFigures(
        ap=_precision(every),
        ap50=_precision([m[:1] for m in every]),
        ap75=_precision([m[5:6] for m in every]),
        ap_small=_precision(at["small"]),
        ap_medium=_precision(at["medium"]),
        ap_large=_precision(at["large"]),
        ar_1=_recall(every, 1),
        ar_10=_recall(every, 10),
        ar_100=_recall(every, 100),
        ar_small=_recall(at["small"], 100),
        ar_medium=_recall(at["medium"], 100),
        ar_large=_recall(at["large"], 100),
    )


@dataclass(frozen=True)
class _Category:
    """One category in one picture: detections best first, and their overlaps with the truths."""

    scores: Array
    found_areas: Array
    truth_areas: Array
    is_crowd: NDArray[np.bool_]
    overlaps: Array
    """(n, m): IoU; for a crowd the share of the detection's own area."""


def _by_label(found: CocoFound, truth: CocoTruth) -> dict[int, _Category]:
    labels = _or_zeros(found.labels, len(found.boxes))
    true_labels = _or_zeros(truth.labels, len(truth.boxes))
    areas = np.asarray(box_area(truth.boxes)) if truth.areas is None else truth.areas
    crowd = np.zeros(len(truth.boxes), bool) if truth.is_crowd is None else truth.is_crowd
    result = {}
    for label in np.union1d(labels, true_labels).tolist():
        rows, true_rows = np.flatnonzero(labels == label), np.flatnonzero(true_labels == label)
        order = np.argsort(-found.scores[rows], kind="stable")[: MOST_DETECTIONS[-1]]
        boxes, places = found.boxes[rows[order]], truth.boxes[true_rows]
        is_crowd = crowd[true_rows]
        iou = np.asarray(box_iou(boxes, places), np.float64)
        result[int(label)] = _Category(
            found.scores[rows[order]],
            np.asarray(box_area(boxes), np.float64),
            areas[true_rows],
            is_crowd,
            np.where(is_crowd, _shares(boxes, places), iou),
        )
    return result


def _shares(boxes: Array, places: Array) -> Array:
    """Overlap per area of the detection."""
    low = np.maximum(boxes[:, None, :2], places[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], places[None, :, 2:])
    own = np.asarray(box_area(boxes))[:, None]
    return np.asarray((high - low).clip(0).prod(-1) / np.where(own > 0, own, 1))


def _match(category: _Category, area: str) -> list[PictureMatch]:
    """One result a threshold."""
    low, high = AREAS[area]
    outside = (category.truth_areas < low) | (category.truth_areas > high)
    counts = ~(category.is_crowd | outside)
    thresholds = np.array(COCO_THRESHOLDS)
    rules = np.broadcast_to(counts, (len(thresholds), len(counts)))
    matched = greedy_match(category.overlaps, thresholds, rules, category.is_crowd)
    strange = (category.found_areas < low) | (category.found_areas > high)
    return [
        PictureMatch(category.scores, row, _is_ignored(row, counts, strange), int(counts.sum()))
        for row in matched
    ]


def _is_ignored(
    matched: Int[NDArray[np.int64], " n"],
    counts: Bool[NDArray[np.bool_], " m"],
    strange: Bool[NDArray[np.bool_], " n"],
) -> NDArray[np.bool_]:
    """Matched with what does not count, or matched with nothing and of another size."""
    if not len(counts):
        return strange.copy()
    return np.where(matched >= 0, ~counts[matched], strange)


def _precision(matches: Sequence[Sequence[Sequence[PictureMatch]]]) -> float:
    """Mean over categories and thresholds, without categories that are nowhere."""
    return _mean([average_precision(pictures) for label in matches for pictures in label])


def _recall(matches: Sequence[Sequence[Sequence[PictureMatch]]], most: int) -> float:
    shares = []
    for pictures in (p for label in matches for p in label):
        number = sum(m.number for m in pictures)
        hits = sum(int(((m.truth >= 0) & ~m.is_ignored)[:most].sum()) for m in pictures)
        shares.append(hits / number if number else -1.0)
    return _mean(shares)


def _mean(values: list[float]) -> float:
    known = [v for v in values if v >= 0]
    return float(np.mean(known)) if known else -1.0


def _or_zeros(labels: NDArray[np.int64] | None, number: int) -> NDArray[np.int64]:
    return np.zeros(number, np.int64) if labels is None else labels
