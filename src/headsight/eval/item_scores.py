"""Scores item by item (heads, pictures, expressions), so that two models can be compared in pairs.

An item has the same name whichever model answers; its group is the picture, which is what is drawn
anew in a bootstrap.
"""

from __future__ import annotations

__all__ = ["Better", "Scores", "box_scores", "head_scores", "pose_scores", "refer_scores"]

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.errors import AnnotationError
from headsight.eval.headpose_metrics import PENALTY_DEG, angle_errors_deg
from headsight.eval.heads import Judged
from headsight.eval.refer import ReferJudged
from headsight.geometry.rotations import geodesic_deg, matrix_to_ypr

Array = NDArray[np.float64]
Better = Literal["higher", "lower"]
_DIGITS = 4


@dataclass(frozen=True)
class Scores:
    """One figure of N items."""

    items: tuple[str, ...]
    groups: tuple[str, ...]
    values: Float[Array, " n"]
    """NaN where an item has none (an answer that could not be read)."""
    better: Better

    @property
    def mean(self) -> float:
        """Over the items that have a value; NaN where none has."""
        known = self.values[np.isfinite(self.values)]
        return float(known.mean()) if len(known) else float("nan")

    def without(self, names: Collection[str]) -> Scores:
        """The scores less the items of these names, and those of these groups."""
        kept = [
            row
            for row, (item, group) in enumerate(zip(self.items, self.groups, strict=True))
            if item not in names and group not in names
        ]
        return Scores(
            tuple(self.items[row] for row in kept),
            tuple(self.groups[row] for row in kept),
            self.values[kept],
            self.better,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "better": self.better,
            "items": list(self.items),
            "groups": list(self.groups),
            "values": [round(float(v), _DIGITS) if np.isfinite(v) else None for v in self.values],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scores:
        """The scores of `to_dict`.

        Raises:
            AnnotationError: not of that form.
        """
        try:
            scores = cls(
                tuple(map(str, values["items"])),
                tuple(map(str, values["groups"])),
                np.array([np.nan if v is None else v for v in values["values"]], np.float64),
                "lower" if values["better"] == "lower" else "higher",
            )
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(
                f"Scores of items cannot be read: {type(error).__name__} {error}. Expected items,"
                " groups, values and better, as the eval commands write them."
            ) from error
        if not len(scores.items) == len(scores.groups) == len(scores.values):
            raise AnnotationError(
                f"Scores hold {len(scores.items)} items, {len(scores.groups)} groups and"
                f" {len(scores.values)} values. Measure again: the file was changed."
            )
        return scores


def box_scores(
    pictures: Sequence[str],
    ious: Sequence[Float[Array, " _"]],
    false_boxes: Sequence[int],
) -> dict[str, Scores]:
    """Per head: found, and the IoU (0 where it was missed); per picture: boxes without a head.

    Args:
        pictures: name of each picture.
        ious: of each picture the IoU of every true head with its box; 0 = missed, NaN = found, but
            the true box is of another kind.
        false_boxes: of each picture.
    """
    items, groups = _head_names(pictures, [len(i) for i in ious])
    found = np.concatenate([np.zeros(0), *(i != 0 for i in ious)])
    iou = np.concatenate([np.zeros(0), *(i if np.isfinite(i).all() else i * np.nan for i in ious)])
    wrong = np.array(false_boxes, np.float64).reshape(-1)
    return {
        "recall": Scores(items, groups, found.astype(np.float64), "higher"),
        "mean_iou": Scores(items, groups, iou, "higher"),
        "false_boxes": Scores(tuple(pictures), tuple(pictures), wrong, "lower"),
    }


def pose_scores(
    pictures: Sequence[str],
    read: Sequence[Float[Array, "_ 3 3"]],
    truth: Sequence[Float[Array, "_ 3 3"]],
) -> dict[str, Scores]:
    """Per head whose pose is labelled: the mean angle error in degrees, and the geodesic angle.

    `mae` is of answers that could be read; in the `_penalised` ones each other answer counts 90.
    """
    items, groups = _head_names(pictures, [len(t) for t in truth])
    said = np.concatenate([np.zeros((0, 3, 3)), *read])
    true = np.concatenate([np.zeros((0, 3, 3)), *truth])
    known = np.isfinite(true).all((1, 2))
    angles = np.asarray(angle_errors_deg(matrix_to_ypr(said)[0], matrix_to_ypr(true)[0])).mean(-1)
    geodesic = np.asarray(geodesic_deg(said, true))
    columns: dict[str, Array] = {
        "mae": angles,
        "mae_penalised": np.where(np.isfinite(angles), angles, PENALTY_DEG),
        "geodesic_penalised": np.where(np.isfinite(geodesic), geodesic, PENALTY_DEG),
    }
    kept = np.flatnonzero(known)
    names = tuple(items[i] for i in kept), tuple(groups[i] for i in kept)
    return {name: Scores(*names, values[kept], "lower") for name, values in columns.items()}


def head_scores(judged: Sequence[Judged], pictures: Sequence[str]) -> dict[str, Scores]:
    """Scores of `eval heads`: heads found, false boxes, and poses where they are labelled."""
    ious = [np.where(j.is_found, np.nan, 0.0) for j in judged]  # which IoU was not kept
    shown = [int((~j.match.is_ignored).sum() - j.is_found.sum()) for j in judged]
    boxes = box_scores(pictures, ious, shown)
    poses = pose_scores(
        pictures, [j.read_rotations for j in judged], [j.true_rotations for j in judged]
    )
    return {name: boxes[name] for name in ("recall", "false_boxes")} | poses


def refer_scores(judged: Sequence[ReferJudged], items: Sequence[str]) -> dict[str, Scores]:
    """Per expression: answered rightly; and of those for one place the IoU of the first box."""
    groups = tuple(j.asked.image for j in judged)
    right = np.array([j.is_right for j in judged], np.float64).reshape(-1)
    iou = np.array([j.iou if j.asked.target == "one" else np.nan for j in judged], np.float64)
    return {
        "right": Scores(tuple(items), groups, right, "higher"),
        "iou": Scores(tuple(items), groups, iou.reshape(-1), "higher"),
    }


def _head_names(
    pictures: Sequence[str], numbers: Sequence[int]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`picture#row` of every head, and its picture."""
    pairs = [(p, row) for p, n in zip(pictures, numbers, strict=True) for row in range(n)]
    return tuple(f"{p}#{row}" for p, row in pairs), tuple(p for p, _ in pairs)
