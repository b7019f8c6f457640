"""Object keypoint similarity and COCO's average precision of poses (cocodataset/cocoapi).

Lengths are in units of the root of the annotated area, which is not the box's. Detections are
judged by picture: each takes the free truth of highest similarity, in the order of the scores.
"""

from __future__ import annotations

__all__ = [
    "COCO_SIGMAS",
    "FoundPoses",
    "KeypointAp",
    "TruePoses",
    "keypoint_ap",
    "oks",
    "oks_matrix",
    "sigmas_of",
]

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.eval.average_precision import COCO_THRESHOLDS, PictureMatch, average_precision
from headsight.eval.coco_matching import greedy_match

COCO_SIGMAS: dict[str, float] = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
}
"""How much labellers disagree about a part of a person, of either side."""
MOST_DETECTIONS = 20
_AREAS = np.array([(0.0, 1e10), (32.0**2, 96.0**2), (96.0**2, 1e10)])
"""All, medium, large: square px, both ends included."""
_RULES = np.tile(np.array(COCO_THRESHOLDS), len(_AREAS))
"""Thresholds of every rule, range of areas by range of areas."""

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TruePoses:
    """The labelled objects (M) of one category in one picture."""

    points: Float[Array, "m k 2"]
    visible: Bool[NDArray[np.bool_], "m k"]
    areas: Float[Array, " m"]
    """Annotated, square px."""
    boxes: Float[Array, "m 4"]
    """xyxy px."""
    is_ignored: Bool[NDArray[np.bool_], " m"]
    """Counts neither way; one without a labelled point never counts."""
    is_crowd: Bool[NDArray[np.bool_], " m"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundPoses:
    """The predicted poses (N) of one category in one picture."""

    points: Float[Array, "n k 2"]
    """NaN where a point was not predicted."""
    scores: Float[Array, " n"]


@dataclass(frozen=True, kw_only=True)
class KeypointAp:
    """COCO's ten figures of poses; -1 where no truth is of that range of areas."""

    ap: float
    """Mean over similarities 0.50, 0.55 ... 0.95."""
    ap50: float
    ap75: float
    ap_medium: float
    ap_large: float
    ar: float
    """Recall with the 20 best detections of a picture."""
    ar50: float
    ar75: float
    ar_medium: float
    ar_large: float

    def to_dict(self) -> dict[str, float]:
        """The figures by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def sigmas_of(names: Sequence[str]) -> Float[Array, " k"]:
    """COCO's constants of keypoints by name, such as `left_eye` or `Right Eye`.

    Raises:
        InputError: a name that is no part of COCO's person.
    """
    parts = [name.lower().replace("_", " ").replace("-", " ").split() for name in names]
    found = [next((COCO_SIGMAS[w] for w in words if w in COCO_SIGMAS), None) for words in parts]
    unknown = [n for n, s in zip(names, found, strict=True) if s is None]
    if unknown:
        raise InputError(
            f"No constant of similarity is known for the keypoint {unknown[0]!r} ({len(unknown)} of"
            f" {len(names)} unknown). Known parts: {', '.join(COCO_SIGMAS)}. Give one for all"
            " points (--sigma 0.05), or leave similarity out."
        )
    return np.array(found, np.float64)


def oks(
    pred: Float[NDArray[Any], "n k 2"],
    gt: Float[NDArray[Any], "n k 2"],
    visible: Bool[NDArray[np.bool_], "n k"],
    area: Float[NDArray[Any], " n"],
    sigmas: Float[NDArray[Any], " k"],
) -> Float[Array, " n"]:
    """Similarity of each prediction to the truth in its row; NaN where no point is labelled.

    Args:
        pred: px; a point that is NaN is infinitely far.
        gt: px.
        visible: labelled, be it hidden or not.
        area: annotated area of the object, square px.
        sigmas: constant of each keypoint.
    """
    near = _nearness(pred - gt, area[:, None], sigmas) * visible
    number = visible.sum(1)
    return np.asarray(np.where(number > 0, near.sum(1), np.nan) / np.maximum(number, 1))


def oks_matrix(
    found: Float[Array, "n k 2"], truth: TruePoses, sigmas: Float[NDArray[Any], " k"]
) -> Float[Array, "n m"]:
    """Similarity of every pose to every truth.

    Where a truth has no labelled point, distances are to its box grown by its own size on each
    side.
    """
    if not len(found) or not len(truth.points):
        return np.zeros((len(found), len(truth.points)))
    apart = found[:, None] - truth.points[None]  # (N, M, K, 2)
    unlabelled = np.asarray(~truth.visible.any(1))
    if unlabelled.any():
        low, high = truth.boxes[unlabelled, :2], truth.boxes[unlabelled, 2:]
        size = high - low
        points = found[:, None]
        below = (low - size)[None, :, None] - points
        above = points - (high + size)[None, :, None]
        # NaN stays NaN
        apart[:, unlabelled] = np.maximum(below, 0) + np.maximum(above, 0)
    counted = truth.visible | unlabelled[:, None]
    near = _nearness(apart, truth.areas[:, None], sigmas) * counted
    return np.asarray(near.sum(-1) / counted.sum(-1))


def keypoint_ap(
    found: Sequence[FoundPoses], truths: Sequence[TruePoses], sigmas: Float[NDArray[Any], " k"]
) -> KeypointAp:
    """The ten figures of one category over all pictures.

    Equal scores are taken in the order in which they come, so that the order of the pictures then
    decides: give scores that differ.

    Args:
        found: predicted poses of every picture.
        truths: labelled objects of the same pictures, in the same order.
        sigmas: constant of each keypoint.

    Raises:
        InputError: the two are not of the same pictures.
    """
    if len(found) != len(truths):
        raise InputError(
            f"There are poses of {len(found)} pictures and truths of {len(truths)}. Pass one of"
            " each for every picture; without poses, one with empty arrays."
        )
    matches = _all_pictures([_match(f, t, sigmas) for f, t in zip(found, truths, strict=True)])
    shape = (len(_AREAS), len(COCO_THRESHOLDS))
    precision = np.array([average_precision([m]) for m in matches]).reshape(shape)
    recall = np.array([_recall(m) for m in matches]).reshape(shape)
    return KeypointAp(
        ap=_mean(precision[0]),
        ap50=float(precision[0, 0]),
        ap75=float(precision[0, 5]),
        ap_medium=_mean(precision[1]),
        ap_large=_mean(precision[2]),
        ar=_mean(recall[0]),
        ar50=float(recall[0, 0]),
        ar75=float(recall[0, 5]),
        ar_medium=_mean(recall[1]),
        ar_large=_mean(recall[2]),
    )


def _nearness(
    apart: Float[NDArray[Any], "*batch k 2"], areas: NDArray[Any], sigmas: Float[NDArray[Any], " k"]
) -> Float[Array, "*batch k"]:
    """exp(-d^2 / (2 area (2 sigma)^2)); 0 where a point was not predicted."""
    unit = 2 * (areas + np.spacing(1)) * (2 * sigmas) ** 2
    near: Array = np.exp(-(apart**2).sum(-1) / unit)
    return np.nan_to_num(near, nan=0.0)


class _Matched(NamedTuple):
    """One picture under every rule: ranges of areas, and thresholds within them."""

    scores: Float[Array, " n"]
    truth: Int[NDArray[np.int64], "rules n"]
    is_ignored: Bool[NDArray[np.bool_], "rules n"]
    number: Int[NDArray[np.int64], " rules"]
    """Truths that count."""


def _match(found: FoundPoses, truth: TruePoses, sigmas: Float[NDArray[Any], " k"]) -> _Matched:
    order = np.argsort(-found.scores, kind="stable")[:MOST_DETECTIONS]
    points = found.points[order]
    steps = len(COCO_THRESHOLDS)
    low, high = np.repeat(_AREAS, steps, 0).T[..., None]  # (R, 1) each
    never = truth.is_ignored | truth.is_crowd | ~truth.visible.any(1)
    counts = ~never & (truth.areas >= low) & (truth.areas <= high)  # (R, M)
    matched = greedy_match(
        oks_matrix(points, truth, sigmas), _RULES, counts, np.asarray(truth.is_crowd)
    )
    sizes = _extents(points)
    strange = (sizes < low) | (sizes > high)  # (R, N)
    # an extra column, of no truth, for what is not matched
    padded = np.concatenate([counts, np.zeros((len(counts), 1), bool)], 1)
    ignored = np.where(matched >= 0, ~np.take_along_axis(padded, matched, 1), strange)
    return _Matched(found.scores[order], matched, ignored, counts.sum(1))


def _all_pictures(matched: Sequence[_Matched]) -> list[PictureMatch]:
    """Of each rule, all pictures as one."""
    rules = len(_RULES)
    scores = np.concatenate([np.zeros(0), *(m.scores for m in matched)])
    truth = np.concatenate([np.zeros((rules, 0), np.int64), *(m.truth for m in matched)], 1)
    ignored = np.concatenate([np.zeros((rules, 0), bool), *(m.is_ignored for m in matched)], 1)
    number = sum((m.number for m in matched), np.zeros(rules, np.int64))
    return [
        PictureMatch(scores, truth[rule], ignored[rule], int(number[rule])) for rule in range(rules)
    ]


def _extents(points: Float[Array, "n k 2"]) -> Float[Array, " n"]:
    """Area of the box around each pose's points; 0 where it has none."""
    known = np.isfinite(points)
    high = np.where(known, points, -np.inf).max(1, initial=-np.inf)
    low = np.where(known, points, np.inf).min(1, initial=np.inf)
    return np.asarray(np.where(known.any(1), high - low, 0.0).prod(-1))


def _recall(match: PictureMatch) -> float:
    hits = int(((match.truth >= 0) & ~match.is_ignored).sum())
    return hits / match.number if match.number else -1.0


def _mean(values: Float[Array, " n"]) -> float:
    known = values[values >= 0]
    return float(known.mean()) if len(known) else -1.0
