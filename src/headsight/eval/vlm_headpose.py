"""Head pose by asking a vision-language model about the whole picture (arXiv 2406.01914).

Poses are asked for in the true boxes ("gt") or in the model's own ("own"). Errors are told of the
answers that could be read, with the share that could not beside them, and again with each of those
(and each missed head) counted as 90 degrees: refusing to answer can never win.
"""

from __future__ import annotations

__all__ = [
    "BoxChoice",
    "HeadsAsked",
    "PoseJudged",
    "PoseModel",
    "ask_heads",
    "evaluate",
    "judge_poses",
    "mae_reduction",
    "pose_items",
    "summarise_poses",
]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.heads import HeadSample, picture_name, whole_heads
from headsight.detections import Detections, Exchange
from headsight.eval.bootstrap import Ratios, bootstrap_intervals, ratios
from headsight.eval.format_report import answer_of, format_report
from headsight.eval.headpose_metrics import PENALTY_DEG, angle_errors_deg, headpose_metrics
from headsight.eval.heads import judge
from headsight.eval.item_scores import Scores, box_scores, pose_scores
from headsight.geometry.boxes import box_iou
from headsight.geometry.rotations import geodesic_deg, matrix_to_ypr
from headsight.picture import Picture, open_picture

Array = NDArray[np.float64]
BoxChoice = Literal["gt", "own"]


@runtime_checkable
class PoseModel(Protocol):
    """What is asked: a `Grounder`."""

    def heads(self, source: Picture, *, poses: bool = True, constrain: bool = False) -> Detections:
        """Every head with its box and, where asked for, its pose."""

    def pose(self, source: Picture, box: Any, *, constrain: bool = False) -> Detections:
        """The pose of the head in each box."""


@dataclass(frozen=True)
class HeadsAsked:
    """What a model said about one picture."""

    boxes: Detections | None
    """The heads it found; None where it was not asked."""
    poses: Detections | None
    """Poses, a row a true head whose pose is labelled ("gt") or a found head ("own")."""


@dataclass(frozen=True)
class PoseJudged:
    """One picture's answers against its truth (N heads)."""

    image: str
    ious: Float[Array, " n"] | None
    """IoU of each true head with the box that found it, 0 = missed; None where boxes were not
    asked for; NaN of found heads whose true box is of landmarks, or wide around the head."""
    shown: int
    """Boxes that count."""
    is_found: NDArray[np.bool_]
    """Heads that a pose was asked for."""
    true_rotations: Float[Array, "n 3 3"]
    read_rotations: Float[Array, "n 3 3"]
    exchanges: tuple[Exchange, ...]


def evaluate(
    model: PoseModel,
    dataset: Sequence[HeadSample],
    *,
    boxes: BoxChoice = "gt",
    constrain: bool = False,
    finds_boxes: bool = True,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """`pose`, `boxes`, `invalid` and `confusion` of a model on labelled pictures.

    Args:
        model: what is asked, such as `headsight.load()`.
        dataset: the labelled pictures.
        boxes: whose boxes the poses are asked for in: the true ones or the model's own.
        constrain: allow well-formed answers only.
        finds_boxes: False for a model that cannot be asked where heads are.
        resamples: bootstrap resamples over pictures; 0 = no intervals.
        seed: seed of the resampling.

    Raises:
        HeadsightError: a picture or an answer that cannot be had; see the command for one that
            goes on.
    """
    judged = [
        judge_poses(
            ask_heads(model, s, boxes=boxes, constrain=constrain, finds_boxes=finds_boxes),
            s,
            boxes=boxes,
        )
        for s in dataset
    ]
    return summarise_poses(judged, resamples=resamples, seed=seed)


def ask_heads(
    model: PoseModel,
    sample: HeadSample,
    *,
    boxes: BoxChoice,
    constrain: bool = False,
    finds_boxes: bool = True,
    asks_poses: bool = True,
) -> HeadsAsked:
    """Ask about one picture: where heads are, and how they are turned."""
    picture = open_picture(sample.image)
    if boxes == "own" or not asks_poses:
        own = model.heads(picture, poses=asks_poses, constrain=constrain)
        return HeadsAsked(own, own if asks_poses else None)
    found = model.heads(picture, poses=False, constrain=constrain) if finds_boxes else None
    asked = whole_heads(sample)[_has_pose(sample)]
    return HeadsAsked(found, model.pose(picture, asked, constrain=constrain))


def judge_poses(asked: HeadsAsked, sample: HeadSample, *, boxes: BoxChoice) -> PoseJudged:
    """Compare what was said about one picture with its truth."""
    number = len(sample.boxes)
    ious, shown, is_found = None, 0, np.zeros(number, bool)
    read = np.full((number, 3, 3), np.nan)
    exchanges: tuple[Exchange, ...] = ()
    if asked.boxes is not None:
        seen = judge(asked.boxes, sample)
        shown = int((~seen.match.is_ignored).sum())
        ious = _matched_ious(asked.boxes, sample, seen.match.truth)
        exchanges += asked.boxes.exchanges
        if boxes == "own":
            is_found, read = seen.is_found, seen.read_rotations
    if boxes == "gt" and asked.poses is not None:
        is_found = _has_pose(sample)
        read[is_found] = asked.poses.rotations
        exchanges += asked.poses.exchanges
    truth = np.asarray(sample.rotations, np.float64)
    return PoseJudged(picture_name(sample), ious, shown, is_found, truth, read, exchanges)


def summarise_poses(
    judged: Sequence[PoseJudged], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """All figures of the protocol; NaN where there is nothing to measure.

    `pose` holds `full` and `narrow` (|true yaw| < 90) as `headpose_metrics` gives them, `missed`
    (heads that no box found) and `unread` (answers that could not be read); `boxes` recall,
    precision and the mean IoU of matches, one to one at IoU 0.5, and with 0 for a miss; `invalid`
    the answers by kind. Intervals: 95 %, bootstrap over pictures.
    """
    return {
        "pictures": len(judged),
        "pose": _poses(judged, resamples, seed),
        "boxes": _boxes(judged, resamples, seed),
        **_answers([e for j in judged for e in j.exchanges]),
    }


def pose_items(judged: Sequence[PoseJudged]) -> dict[str, Scores]:
    """Scores of every head and picture, for a comparison in pairs."""
    names = [j.image for j in judged]
    result = pose_scores(
        names, [j.read_rotations for j in judged], [j.true_rotations for j in judged]
    )
    asked = [j for j in judged if j.ious is not None]
    ious = [j.ious for j in asked if j.ious is not None]
    wrong = [j.shown - int((i != 0).sum()) for j, i in zip(asked, ious, strict=True)]
    return result | box_scores([j.image for j in asked], ious, wrong)


def mae_reduction(ours: float, baseline: float) -> float:
    """Share by which an error is lower than a baseline's; NaN for a baseline of 0.

    Example:
        >>> round(mae_reduction(6.85, 10.0), 3)
        0.315
    """
    return (baseline - ours) / baseline if baseline else float("nan")


def _has_pose(sample: HeadSample) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(sample.rotations).all((1, 2)))


def _matched_ious(
    found: Detections, sample: HeadSample, matched: NDArray[np.int64]
) -> Float[Array, " n"]:
    """Of each true head with the box that was matched to it; `matched` goes by falling score."""
    order = np.argsort(-found.scores.astype(np.float64), kind="stable")
    iou = np.asarray(box_iou(found.boxes.astype(np.float64)[order], sample.boxes))
    result = np.zeros(len(sample.boxes))
    for row, truth in enumerate(matched):
        if truth >= 0:
            result[truth] = iou[row, truth] if sample.box_kind == "head" else np.nan
    return result


def _poses(judged: Sequence[PoseJudged], resamples: int, seed: int) -> dict[str, Any]:
    truth = np.concatenate([np.zeros((0, 3, 3)), *(j.true_rotations for j in judged)])
    read = np.concatenate([np.zeros((0, 3, 3)), *(j.read_rotations for j in judged)])
    found = np.concatenate([np.zeros(0, bool), *(j.is_found for j in judged)])
    groups = [j.image for j in judged for _ in j.is_found]
    known = np.isfinite(truth).all((1, 2))
    truth, read, found = truth[known], read[known], found[known]
    table = headpose_metrics(read, truth)
    parts = _error_ratios(read, truth)
    kept = [groups[i] for i in np.flatnonzero(known)]
    is_read = np.isfinite(read).all((1, 2))
    return {
        "heads": len(truth),
        "missed": int((~found).sum()),
        "unread": int((found & ~is_read).sum()),
        "full": table["full"],
        "narrow": table["narrow"],
        "interval": bootstrap_intervals(parts, kept, resamples=resamples, seed=seed),
    }


def _error_ratios(read: Float[Array, "n 3 3"], truth: Float[Array, "n 3 3"]) -> Ratios:
    """The mean errors of `headpose_metrics` as sums over heads."""
    angles = np.asarray(angle_errors_deg(matrix_to_ypr(read)[0], matrix_to_ypr(truth)[0]))
    geodesic = np.asarray(geodesic_deg(read, truth))
    is_read = np.isfinite(geodesic)
    mae = np.where(is_read, angles.mean(-1), 0)
    turn = np.where(is_read, geodesic, 0)
    every, penalty = np.ones(len(truth)), PENALTY_DEG * ~is_read
    return {
        "mae": (mae, is_read),
        "geodesic_mean": (turn, is_read),
        "mae_penalised": (mae + penalty, every),
        "geodesic_penalised": (turn + penalty, every),
    }


def _boxes(judged: Sequence[PoseJudged], resamples: int, seed: int) -> dict[str, Any] | None:
    """None where no model was asked for boxes."""
    ious = [(j, j.ious) for j in judged if j.ious is not None]
    if not ious:
        return None
    hits = np.array([(i != 0).sum() for _, i in ious], np.float64)
    heads = np.array([len(i) for _, i in ious], np.float64)
    shown = np.array([j.shown for j, _ in ious], np.float64)
    total = np.array([i.sum() for _, i in ious], np.float64)
    parts = {
        "recall": (hits, heads),
        "precision": (hits, shown),
        "mean_iou": (total, hits),
        "mean_iou_penalised": (total, heads),
    }
    spans = bootstrap_intervals(parts, [j.image for j, _ in ious], resamples=resamples, seed=seed)
    return {"heads": int(heads.sum()), **ratios(parts), "interval": spans}


def _answers(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """`invalid`: a format report of each kind of question; `confusion`: asked against answered."""
    answers = [answer_of(e) for e in exchanges]
    kinds = sorted({a.asked for a in answers})
    reports = {k: format_report(a for a in answers if a.asked == k).to_dict() for k in kinds}
    return {
        "invalid": {
            kind: {n: v for n, v in report.items() if n not in ("schema", "confusion")}
            for kind, report in reports.items()
        },
        "confusion": format_report(answers).to_dict()["confusion"],
    }
