"""Referring expressions by boxes: is the place found that the words name?

Acc@t is the share of expressions whose box has IoU >= t, over the expressions that refer to one
place. Areas are continuous; boxes are cut at the border of the picture. Of several boxes the first
counts, and `multi_box` tells how often there were several. An answer without a usable box is wrong
and stays below the line. Expressions that refer to several places or to nothing have figures of
their own, after gRefCOCO (arXiv:2306.00968): `set_acc`, every place found and no other (F1 = 1 at
IoU 0.5); `n_acc`, "nothing" answered where nothing is; `t_acc`, something answered where something
is. Unlike there, an unreadable answer does not count as "nothing". `right` is the share of all.
"""

from __future__ import annotations

__all__ = ["RULE", "THRESHOLDS", "ReferJudged", "judge_refer", "summarise_refer"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.ref_sample import RefSample
from headsight.detections import Detections
from headsight.eval.bootstrap import Ratios, bootstrap_intervals, ratios
from headsight.eval.expressions import Asked, answer_table, ask_about, figure_tables
from headsight.geometry.boxes import box_area, box_iou, clip_boxes

THRESHOLDS = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9)
RULE = "first box, cut at the border; IoU of continuous areas >= threshold"
_RIGHT_IOU = 0.5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ReferJudged:
    """One expression's result."""

    asked: Asked
    iou: float
    """Of the first box with the one true place; 0 without a box or without one true place."""
    is_right: bool
    """At IoU 0.5: the place, every place of several and no other, or nothing where nothing is."""
    boxes: int
    """How many were answered."""


def judge_refer(found: Detections, sample: RefSample) -> ReferJudged:
    """Compare the places found with the truth of one expression."""
    boxes = np.asarray(clip_boxes(found.boxes.astype(np.float64), sample.image_wh))
    boxes = boxes[np.asarray(box_area(boxes)) > 0]
    asked = ask_about(found, sample)
    iou = np.asarray(box_iou(boxes, np.asarray(sample.boxes, np.float64)))  # (N, M)
    if asked.target == "none":
        return ReferJudged(asked, 0.0, asked.says_nothing, len(boxes))
    if asked.target == "several":
        return ReferJudged(asked, 0.0, _is_same_set(iou), len(boxes))
    first = float(iou[0, 0]) if len(boxes) else 0.0
    return ReferJudged(asked, first, first >= _RIGHT_IOU, len(boxes))


def summarise_refer(
    judged: Sequence[ReferJudged],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of the protocol; NaN where no expression is of that kind.

    Args:
        judged: one record an expression.
        thresholds: smallest IoU of each `acc@...`.
        resamples: bootstrap resamples over pictures; 0 = no `interval`.
        seed: seed of the resampling.
    """
    asked = [j.asked for j in judged]
    parts = _parts(judged, thresholds)
    brief = {n: parts[n] for n in (f"acc@{_RIGHT_IOU:g}", "mean_iou", "right") if n in parts}
    return {
        "expressions": len(judged),
        "pictures": len({a.image for a in asked}),
        **{f"{kind}_target": sum(a.target == kind for a in asked) for kind in ("one", "several")},
        "no_target": sum(a.target == "none" for a in asked),
        **ratios(parts),
        **figure_tables(brief, asked),
        "answers": answer_table(asked),
        "interval": bootstrap_intervals(
            parts, [a.image for a in asked], resamples=resamples, seed=seed
        ),
    }


def _parts(judged: Sequence[ReferJudged], thresholds: Sequence[float]) -> Ratios:
    target = np.array([j.asked.target for j in judged], "U7")
    one, several, none = (target == kind for kind in ("one", "several", "none"))
    iou = np.array([j.iou for j in judged], np.float64)
    right = np.array([j.is_right for j in judged], bool)
    silent = np.array([j.asked.says_nothing for j in judged], bool)
    number = np.array([j.boxes for j in judged], np.int64)
    return {
        **{f"acc@{t:g}": (one & (iou >= t), one) for t in thresholds},
        "mean_iou": (iou * one, one),
        "set_acc": (several & right, several),
        "n_acc": (none & silent, none),
        "t_acc": (~none & ~silent, ~none),
        "right": (right, np.ones(len(judged), bool)),
        "multi_box": (one & (number > 1), one),
    }


def _is_same_set(iou: Float[Array, "n m"]) -> bool:
    """Every box has its own place and no place is left."""
    from scipy.optimize import linear_sum_assignment

    if iou.shape[0] != iou.shape[1]:
        return False
    fits = iou >= _RIGHT_IOU
    return bool(fits[linear_sum_assignment(fits, maximize=True)].all())
