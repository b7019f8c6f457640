"""Which heads of a picture a model is asked about; the rules of HPE-CogVLM's first stage."""

from __future__ import annotations

__all__ = ["HeadFilter", "filter_heads", "shorter_sides"]

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.heads import HeadSample
from headsight.errors import ConfigError

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class HeadFilter:
    """Heads too small or too many for one answer become places that count neither way."""

    input_px: int = 490
    """Side of the square that the model sees (CogVLM: 490)."""
    min_box_px: int | float = 7.0
    """Shortest side of a head on that square; 7 is half a patch of CogVLM."""
    min_pose_px: int | float = 14.0
    """Shortest side of a head whose pose is asked for, on that square; 14 is one patch."""
    most_heads: int = 20
    """Heads in one answer; the largest are kept."""

    def __post_init__(self) -> None:
        if self.input_px < 1 or self.most_heads < 1:
            raise ConfigError(
                f"input_px is {self.input_px} and most_heads {self.most_heads}, but both must be 1"
                " or more."
            )
        if not 0 <= self.min_box_px <= self.min_pose_px:
            raise ConfigError(
                f"min_box_px is {self.min_box_px:g} and min_pose_px {self.min_pose_px:g}, but"
                " 0 <= min_box_px <= min_pose_px must hold."
            )


def filter_heads(sample: HeadSample, rules: HeadFilter) -> HeadSample:
    """The sample with its large enough, largest heads; the others are in `ignore`.

    `left_out` counts them as `small` and `too many`. Of equally large heads the first are kept.
    """
    boxes = _whole(sample)
    is_large = shorter_sides(boxes, sample.image_wh, rules.input_px) >= rules.min_box_px
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    order = np.argsort(-np.where(is_large, areas, -1.0), kind="stable")
    is_kept = np.zeros(len(boxes), bool)
    is_kept[order[: rules.most_heads]] = True
    is_kept &= is_large
    counts = {"small": int((~is_large).sum()), "too many": int((is_large & ~is_kept).sum())}
    return replace(
        sample,
        boxes=sample.boxes[is_kept],
        rotations=sample.rotations[is_kept],
        ignore=np.concatenate([sample.ignore, boxes[~is_kept]]),
        head_boxes=None if sample.head_boxes is None else sample.head_boxes[is_kept],
        left_out={**sample.left_out, **{k: n for k, n in counts.items() if n}},
    )


def shorter_sides(
    boxes: Float[Array, "n 4"], image_wh: tuple[int, int], input_px: int
) -> Float[Array, " n"]:
    """Shorter side of each box once the picture is resized to a square of `input_px`."""
    scale = input_px / np.array(image_wh, np.float64)
    return np.asarray(((boxes[:, 2:] - boxes[:, :2]) * scale).min(1, initial=np.inf))


def _whole(sample: HeadSample) -> Float[Array, "n 4"]:
    return sample.boxes if sample.head_boxes is None else sample.head_boxes
