"""Referring expressions by masks: are the pixels found that the words name?

`ciou` is the sum of intersections over the sum of unions (also called oIoU), in which large objects
weigh more; `giou_mask` is the mean of the IoUs (also mIoU; not the generalised IoU of boxes). An
expression with an empty union counts 1 in `giou_mask` and adds nothing to `ciou`; but 0 where the
answer could not be read, so that garbage never wins. Pixels to be ignored are taken from both masks
first. Of several masks the first counts where the words name one place, else their union. A result
without masks is judged by its filled boxes, and `mask_kinds` says so.
"""

from __future__ import annotations

__all__ = [
    "FILLED",
    "RULE",
    "THRESHOLDS",
    "SegmentJudged",
    "judge_segment",
    "mask_figures",
    "summarise_segment",
]

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from headsight.data.ref_sample import RefSample
from headsight.detections import Detections
from headsight.errors import AnnotationError
from headsight.eval.bootstrap import Ratios, bootstrap_intervals, ratios
from headsight.eval.expressions import Asked, answer_table, ask_about, figure_tables
from headsight.geometry.masks import boxes_to_masks, mask_counts

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
RULE = "first mask where one place is named, else the union; pixels to be ignored left out"
FILLED = "coarse-box"
"""The `mask_kind` of filled boxes."""

Array = NDArray[np.float64]
Mask = Bool[NDArray[np.bool_], "height width"]


@dataclass(frozen=True)
class SegmentJudged:
    """One expression's result: pixels of its masks, and of its filled boxes."""

    asked: Asked
    intersection: int
    union: int
    iou: float
    box_intersection: int
    """The same before there was a mask: of the filled boxes."""
    box_union: int
    box_iou: float
    mask_kind: str
    """`mask`, or what `attributes["mask_kind"]` says; `none`: nothing found."""


def judge_segment(found: Detections, sample: RefSample) -> SegmentJudged:
    """Compare the masks found with the true mask of one expression.

    Raises:
        AnnotationError: the sample has no mask, or one that cannot be drawn.
    """
    if not sample.has_mask:
        raise AnnotationError(
            f"The expression '{sample.text}' has no true mask. Use boxes: headsight eval refer."
        )
    truth, ignore = sample.masks()
    asked = ask_about(found, sample)
    counting = found[:1] if asked.target == "one" else found
    filled = _union((boxes_to_masks(b[None], sample.image_wh)[0] for b in counting.boxes), truth)
    mask = filled if counting.masks is None else _union(counting.masks, truth)
    counts = mask_counts(mask, truth, ignore)
    box_counts = mask_counts(filled, truth, ignore)
    is_read = asked.is_read or asked.says_nothing
    return SegmentJudged(
        asked,
        *counts,
        _iou(*counts, is_read=is_read),
        *box_counts,
        _iou(*box_counts, is_read=is_read),
        _mask_kind(found),
    )


def summarise_segment(
    judged: Sequence[SegmentJudged],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of the protocol; NaN where no expression is of that kind.

    Args:
        judged: one record an expression.
        thresholds: smallest IoU of each `p@...`, over expressions that refer to something.
        resamples: bootstrap resamples over pictures; 0 = no `interval`.
        seed: seed of the resampling.
    """
    asked = [j.asked for j in judged]
    parts = _parts(judged, thresholds)
    brief = {name: parts[name] for name in ("ciou", "giou_mask")}
    return {
        "expressions": len(judged),
        "pictures": len({a.image for a in asked}),
        "no_target": sum(a.target == "none" for a in asked),
        **ratios(parts),
        **figure_tables(brief, asked),
        "answers": answer_table(asked),
        "mask_kinds": dict(Counter(j.mask_kind for j in judged)),
        "interval": bootstrap_intervals(
            parts, [a.image for a in asked], resamples=resamples, seed=seed
        ),
    }


def mask_figures(
    intersections: Int[NDArray[Any], " n"], unions: Int[NDArray[Any], " n"]
) -> tuple[float, float]:
    """The cIoU and gIoU of N samples, by their pixels.

    A sample with an empty union counts 1 in gIoU and adds nothing to cIoU; NaN where nothing is.

    Example:
        >>> ciou, giou = mask_figures(np.array([50, 0, 900]), np.array([100, 80, 1000]))
        >>> f"{ciou:.6f} {giou:.6f}"
        '0.805085 0.466667'
    """
    pairs = zip(intersections.tolist(), unions.tolist(), strict=True)
    ious = np.array([_iou(i, u) for i, u in pairs], np.float64)
    whole = {"ciou": (intersections, unions), "giou": (ious, np.ones(len(ious)))}
    figures = ratios(whole)
    return figures["ciou"], figures["giou"]


def _iou(intersection: int, union: int, *, is_read: bool = True) -> float:
    return intersection / union if union else float(is_read)


def _union(masks: Iterable[Mask], like: Mask) -> Mask:
    whole = np.zeros_like(like)
    for mask in masks:
        whole |= mask
    return whole


def _mask_kind(found: Detections) -> str:
    if not len(found):
        return "none"
    if found.masks is None:
        return FILLED
    return str(found.attributes.get("mask_kind", ("mask",))[0])


def _parts(judged: Sequence[SegmentJudged], thresholds: Sequence[float]) -> Ratios:
    def column(name: str) -> Array:
        return np.array([getattr(j, name) for j in judged], np.float64)

    every = np.ones(len(judged))
    none = np.array([j.asked.target == "none" for j in judged], bool)
    silent = np.array([j.asked.says_nothing for j in judged], bool)
    iou = column("iou")
    parts: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        "ciou": (column("intersection"), column("union")),
        "giou_mask": (iou, every),
        **{f"p@{t:g}": (~none & (iou >= t), ~none) for t in thresholds},
        "n_acc": (none & silent, none),
        "t_acc": (~none & ~silent, ~none),
    }
    if any(j.mask_kind not in (FILLED, "none") for j in judged):  # what the masks added
        parts["ciou_of_boxes"] = (column("box_intersection"), column("box_union"))
        parts["giou_of_boxes"] = (column("box_iou"), every)
    return parts
