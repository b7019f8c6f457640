"""The head protocol: are the heads found, and how far off are their poses?

Boxes: AP at IoU 0.5, recall by head size, one-to-one matching. Poses: of matched heads, wrapped
Euler errors and geodesic angles, over all yaws and within 99 degrees; beside them the same with a
miss counted as 90 degrees, so that refusing to answer never wins. Where the truth is a box of
facial landmarks, a head is found if the best prediction covers 70 % of it and is not more than
eight times its area. Intervals: bootstrap over pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from headsight.data.heads import HeadSample
from headsight.detections import Detections
from headsight.eval.average_precision import PictureMatch, average_precision, match_picture
from headsight.eval.headpose_metrics import angle_errors_deg, headpose_metrics
from headsight.geometry.boxes import box_area
from headsight.geometry.rotations import geodesic_deg, matrix_to_ypr

__all__ = ["SIZES", "Judged", "judge", "summarise"]

SIZES: dict[str, tuple[float, float]] = {
    "all": (0, 1e9),
    "under 24 px": (0, 24),
    "24-48 px": (24, 48),
    "48-96 px": (48, 96),
    "96 px and more": (96, 1e9),
}
"""Head sizes by the square root of the box area, px of the original picture."""
NARROW_DEG = 99.0
PENALTY_DEG = 90.0
_COVER, _MOST_AREA = 0.7, 8.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """One picture's result against its truth (N heads)."""

    match: PictureMatch
    is_found: NDArray[np.bool_]
    sizes: Array
    true_rotations: Float[Array, "n 3 3"]
    read_rotations: Float[Array, "n 3 3"]
    """NaN where the head was missed or its pose not read."""
    failures: tuple[tuple[str, str], ...]
    """(asked kind, failure or `ok`) of every answer."""


def judge(found: Detections, sample: HeadSample, *, min_size: int | float = 0) -> Judged:
    """Compare one picture's detections with its truth.

    A detection without a match whose smaller side is under `min_size` px counts neither way, as in
    the size ranges of COCO; truths of that size are for the caller to put into `sample.ignore`.
    """
    boxes, scores = found.boxes.astype(np.float64), found.scores.astype(np.float64)
    order = np.argsort(-scores, kind="stable")
    if sample.box_kind != "head":
        is_around = sample.box_kind == "around"
        match = _match_places(boxes[order], scores[order], sample.boxes, is_around=is_around)
    else:
        match = match_picture(boxes, scores, sample.boxes, ignore=sample.ignore)
    is_small = (boxes[order, 2:] - boxes[order, :2]).min(1, initial=np.inf) < min_size
    match = replace(match, is_ignored=match.is_ignored | ((match.truth < 0) & is_small))
    number = len(sample.boxes)
    is_found = np.zeros(number, bool)
    read = np.full((number, 3, 3), np.nan)
    for row, truth in enumerate(match.truth):
        if truth >= 0:
            is_found[truth] = True
            if found.rotations is not None:
                read[truth] = found.rotations[order[row]]
    answers = tuple(
        (str(e.reading.get("asked", "")), str(e.reading.get("failure") or "ok"))
        for e in found.exchanges
    )
    sizes = np.sqrt(np.asarray(box_area(sample.boxes), np.float64)).reshape(-1)
    return Judged(match, is_found, sizes, sample.rotations, read, answers)


def summarise(judged: Sequence[Judged], *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """All figures of the protocol; `interval` holds 95 % bootstrap intervals of the chief ones.

    Args:
        judged: one record a picture.
        resamples: bootstrap resamples over pictures; 0 = no intervals.
        seed: seed of the resampling.
    """
    result: dict[str, Any] = {"pictures": len(judged), **_figures(judged)}
    result["recall_by_size"] = _recall_by_size(judged)
    result["answers"] = _answers(judged)
    if resamples and judged:
        rng = np.random.default_rng(seed)
        errors = [_pose_errors(one) for one in judged]
        drawn = [
            _chief_figures(judged, errors, rng.integers(0, len(judged), len(judged)))
            for _ in range(resamples)
        ]
        result["interval"] = {
            name: [float(v) for v in np.nanpercentile([d[name] for d in drawn], [2.5, 97.5])]
            for name in ("ap50", "recall", "mae", "geodesic_median")
            if np.isfinite(result[name])
        }
    return result


def _pose_errors(judged: Judged) -> Float[Array, "n 2"]:
    """Mean angle error and geodesic error, degrees, of every head whose pose was read."""
    truth, read = judged.true_rotations, judged.read_rotations
    is_read = np.isfinite(truth).all((1, 2)) & np.isfinite(read).all((1, 2))
    angles = [matrix_to_ypr(rotations[is_read])[0] for rotations in (read, truth)]
    mean = np.asarray(angle_errors_deg(*angles)).mean(-1)
    return np.stack([mean, np.asarray(geodesic_deg(read[is_read], truth[is_read]))], 1)


def _chief_figures(
    judged: Sequence[Judged],
    errors: Sequence[Float[Array, "_ 2"]],
    chosen: Int[NDArray[np.int64], " pictures"],
) -> dict[str, float]:
    """The figures that have intervals, of a resample; what is needed of poses is known."""
    parts = [judged[i] for i in chosen]
    heads = sum(len(one.is_found) for one in parts)
    found = sum(int(one.is_found.sum()) for one in parts)
    table = np.concatenate([errors[i] for i in chosen])
    return {
        "ap50": average_precision([one.match for one in parts]),
        "recall": found / heads if heads else float("nan"),
        "mae": float(table[:, 0].mean()) if len(table) else float("nan"),
        "geodesic_median": float(np.median(table[:, 1])) if len(table) else float("nan"),
    }


def _figures(judged: Sequence[Judged]) -> dict[str, float]:
    found = sum(int(j.is_found.sum()) for j in judged)
    heads = sum(len(j.is_found) for j in judged)
    shown = sum(int((~j.match.is_ignored).sum()) for j in judged)
    result = {
        "heads": float(heads),
        "ap50": average_precision([j.match for j in judged]),
        "recall": found / heads if heads else float("nan"),
        "precision": found / shown if shown else float("nan"),
    }
    return result | _pose_figures(judged)


def _pose_figures(judged: Sequence[Judged]) -> dict[str, float]:
    truth = np.concatenate([j.true_rotations for j in judged]) if judged else np.zeros((0, 3, 3))
    read = np.concatenate([j.read_rotations for j in judged]) if judged else np.zeros((0, 3, 3))
    labelled = np.isfinite(truth).all((1, 2))
    truth, read = truth[labelled], read[labelled]
    is_read = np.isfinite(read).all((1, 2))
    table = headpose_metrics(read[is_read], truth[is_read])
    full = table["full"]
    names = (
        "yaw",
        "pitch",
        "roll",
        "mae",
        "geodesic_mean",
        "geodesic_median",
        "geodesic_p90",
        "over_90",
    )
    result = {name: full[name] for name in names}
    yaw = np.abs(np.asarray(matrix_to_ypr(truth)[0])[:, 0])
    narrow = headpose_metrics(
        read[is_read & (yaw < NARROW_DEG)], truth[is_read & (yaw < NARROW_DEG)]
    )
    result["narrow_mae"] = narrow["full"]["mae"]
    result["posed_heads"] = float(len(truth))
    missed = len(truth) - int(is_read.sum())
    if len(truth):
        known = full["mae"] * is_read.sum() if is_read.any() else 0.0
        result["mae_penalised"] = float((known + PENALTY_DEG * missed) / len(truth))
    else:
        result["mae_penalised"] = float("nan")
    return result


def _recall_by_size(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    sizes = np.concatenate([j.sizes for j in judged]) if judged else np.zeros(0)
    found = np.concatenate([j.is_found for j in judged]) if judged else np.zeros(0, bool)
    table = {}
    for name, (low, high) in SIZES.items():
        chosen = (sizes >= low) & (sizes < high)
        recall = float(found[chosen].mean()) if chosen.any() else float("nan")
        table[name] = {"heads": float(chosen.sum()), "recall": recall}
    return table


def _answers(judged: Sequence[Judged]) -> dict[str, dict[str, Any]]:
    """Per asked kind: how many, the share not to be used, and each failure's count."""
    table: dict[str, Counter[str]] = {}
    for record in judged:
        for asked, failure in record.failures:
            table.setdefault(asked, Counter())[failure] += 1
    return {
        kind: {
            "asked": sum(counts.values()),
            "not_strict": 1 - counts["ok"] / sum(counts.values()),
            "failures": {k: v for k, v in counts.items() if k != "ok"},
        }
        for kind, counts in table.items()
    }


def _match_places(
    boxes: Float[Array, "n 4"],
    scores: Float[Array, " n"],
    places: Float[Array, "m 4"],
    *,
    is_around: bool,
) -> PictureMatch:
    """Each place takes the free prediction that covers it best, or that lies in it best."""
    matched = np.full(len(boxes), -1, np.int64)
    areas = np.asarray(box_area(boxes), np.float64)
    for truth, place in enumerate(places):
        low = np.maximum(boxes[:, :2], place[:2])
        high = np.minimum(boxes[:, 2:], place[2:])
        area = float(box_area(place))
        inner, outer = (areas, area) if is_around else (area, areas)
        cover = (high - low).clip(0).prod(1) / np.maximum(inner, 1e-9)
        usable = (matched < 0) & (cover >= _COVER) & (outer <= _MOST_AREA * inner)
        if usable.any():
            matched[_best(cover, scores, usable)] = truth
    return PictureMatch(scores, matched, np.zeros(len(boxes), bool), len(places))


def _best(cover: Array, scores: Array, usable: NDArray[np.bool_]) -> int:
    keys: Int[NDArray[np.int64], " n"] = np.lexsort((scores, cover.round(1), usable))
    return int(keys[-1])
