"""Weak pose labels: what a teacher says of heads that only have boxes (arXiv:2406.01914, stage 1).

A label is kept where the teacher says nearly the same of the picture flipped left to right, and
counts less than a true one. The rule and its numbers are ours; the paper tells neither.
"""

from __future__ import annotations

__all__ = ["Teacher", "WeakLabels", "weak_pose_label", "weak_pose_labels"]

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image

from headsight.data.head_filter import HeadFilter, filter_heads, shorter_sides
from headsight.data.heads import HeadSample
from headsight.data.label_lines import label_record
from headsight.errors import ConfigError, InputError
from headsight.geometry.rotations import geodesic_deg, mirror
from headsight.picture import Picture, open_picture

Array = NDArray[Any]
Teacher = Callable[[Picture, Float[Array, "n 4"]], Float[Array, "n 3 3"]]
"""Rotations R_cv of the heads in boxes xyxy px of a picture; NaN where it cannot tell."""

AGREE_DEG, WEIGHT = 15.0, 0.5


@dataclass(frozen=True)
class WeakLabels:
    """One picture with the poses that a teacher told."""

    sample: HeadSample
    weights: Float[Array, " n"]
    """Trust in each pose: 1 where it was known before, `weight` where the teacher told it, 0."""
    counts: Mapping[str, int]
    """Heads whose pose was `known`, is `kept`, on which the two looks `disagreed`, that the
    teacher left `unread`, or that were too `small` to ask about."""

    def record(self, *, beside: Path, source: str = "teacher") -> dict[str, Any]:
        """The line of a label file (see `headsight.train.labels`)."""
        record = label_record(self.sample, beside=beside)
        for head, weight in zip(record["heads"], self.weights.tolist(), strict=True):
            head["pose_weight"] = weight
            if 0 < weight < 1:
                head["pose_source"] = source
        return record


def weak_pose_labels(
    samples: Iterable[HeadSample],
    teacher: Teacher,
    *,
    agree_deg: int | float = AGREE_DEG,
    weight: int | float = WEIGHT,
    rules: HeadFilter | None = None,
) -> Iterator[WeakLabels]:
    """`weak_pose_label` of each sample, one after the other."""
    for sample in samples:
        yield weak_pose_label(sample, teacher, agree_deg=agree_deg, weight=weight, rules=rules)


def weak_pose_label(
    sample: HeadSample,
    teacher: Teacher,
    *,
    agree_deg: int | float = AGREE_DEG,
    weight: int | float = WEIGHT,
    rules: HeadFilter | None = None,
) -> WeakLabels:
    """The poses that a teacher tells of the heads without one, where two looks agree.

    Args:
        sample: boxes; poses that are known stay as they are.
        teacher: is asked twice, of the picture and of its mirror image.
        agree_deg: largest geodesic angle between the first answer and the mirrored second one; the
            first is kept.
        weight: trust in a kept pose, in (0, 1).
        rules: which heads are used and asked about; None: those of HPE-CogVLM.

    Raises:
        ConfigError: `agree_deg` or `weight` out of range.
        InputError: the teacher answers in another shape.
        ImageError: the picture cannot be opened.
    """
    if not 0 < weight < 1 or not 0 < agree_deg <= 180:
        raise ConfigError(
            f"weight is {weight:g} and agree_deg {agree_deg:g}, but 0 < weight < 1 and"
            " 0 < agree_deg <= 180 must hold."
        )
    rules = rules or HeadFilter()
    kept = filter_heads(sample, rules)
    boxes = kept.boxes if kept.head_boxes is None else kept.head_boxes
    is_known = np.isfinite(kept.rotations).all((-1, -2))
    is_large = shorter_sides(boxes, kept.image_wh, rules.input_px) >= rules.min_pose_px
    asked = np.flatnonzero(~is_known & is_large)
    counts = Counter({"known": int(is_known.sum()), "small": int((~is_known & ~is_large).sum())})
    rotations = np.array(kept.rotations, np.float64)
    if len(asked):
        first, angle = _look_twice(sample.image, boxes[asked], teacher)
        agrees = angle <= agree_deg  # False for NaN
        rotations[asked[agrees]] = first[agrees]
        counts.update(
            kept=int(agrees.sum()),
            disagreed=int((angle > agree_deg).sum()),
            unread=int(np.isnan(angle).sum()),
        )
    has_pose = np.isfinite(rotations).all((-1, -2))
    weights = np.where(is_known, 1.0, np.where(has_pose, weight, 0.0))
    return WeakLabels(replace(kept, rotations=rotations), weights, dict(counts))


def _look_twice(
    path: Path, boxes: Float[Array, "n 4"], teacher: Teacher
) -> tuple[Float[Array, "n 3 3"], Float[Array, " n"]]:
    """What the teacher says, and how far the mirror image is from it in degrees."""
    picture = open_picture(path)
    flipped = Picture(
        picture.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), f"{picture.source} flipped"
    )
    width = picture.image_wh[0]
    mirrored = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    first = _ask(teacher, picture, boxes)
    second = np.asarray(mirror(_ask(teacher, flipped, mirrored)))
    return first, np.asarray(geodesic_deg(first, second))


def _ask(teacher: Teacher, picture: Picture, boxes: Array) -> Array:
    answer = np.asarray(teacher(picture, boxes), np.float64)
    if answer.shape != (len(boxes), 3, 3):
        raise InputError(
            f"The teacher answered {answer.shape} to {len(boxes)} boxes, but ({len(boxes)}, 3, 3)"
            " is expected: a rotation each, NaN where it cannot tell."
        )
    return answer
