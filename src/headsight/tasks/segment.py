"""Places to masks: a segmenter draws them, else the attention map or the box does, coarsely.

Method of arXiv 2503.06287: the box, and if wanted the map of the heads, prompt a model of the SAM
family. Every place says in its attributes what drew it.
"""

from __future__ import annotations

__all__ = ["REC_BOXES", "SAM_PROMPTS", "MaskMaker", "RecBox", "SamPrompt", "check_request"]

import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from headsight.detections import Detections
from headsight.errors import InputError
from headsight.geometry.boxes import box_area, clip_boxes
from headsight.geometry.masks import mask_to_box
from headsight.models.segmenters import (
    BoxSegmenter,
    CoarseSegmenter,
    PointSegmenter,
    Seen,
    Segmenter,
)
from headsight.picture import Picture

SamPrompt = Literal["box", "box+mask"]
RecBox = Literal["attention", "sam"]
SAM_PROMPTS = ("box", "box+mask")
REC_BOXES = ("attention", "sam")

_KINDS = {"segmenter": "segmenter", "attention": "coarse-attention", "box": "coarse-box"}
"""`mask_kind` of a place by what drew its mask; what begins with coarse has seen no pixel."""


def check_request(*, sam_prompt: str, rec_box: str, has_segmenter: bool, by_heads: bool) -> None:
    """Pass if such masks can be made, before any model is asked.

    Raises:
        InputError: an unknown prompt or box, or one that needs a segmenter or heads.
    """
    for name, value, known in (
        ("sam_prompt", sam_prompt, SAM_PROMPTS),
        ("rec_box", rec_box, REC_BOXES),
    ):
        if value not in known:
            raise InputError(f"{name} is {value!r}; expected one of {', '.join(known)}.")
        if value != known[0] and not has_segmenter:
            raise InputError(
                f"{name} {value!r} needs a segmenter: without one there is no model to prompt. Pass"
                " a folder of the SAM family as the segmenter."
            )
    if sam_prompt == "box+mask" and not by_heads:
        raise InputError(
            "sam_prompt 'box+mask' needs the map of attention heads, and a written answer has none."
            " Pass heads with it, or use 'box'."
        )


class MaskMaker:
    """Puts a mask to every place; a picture is looked at once, however many words ask about it."""

    def __init__(
        self,
        segmenter: Segmenter | None = None,
        *,
        sam_prompt: SamPrompt = "box",
        rec_box: RecBox = "attention",
    ) -> None:
        """Without a segmenter the masks are coarse: the map within the box, or the filled box.

        Args:
            segmenter: what draws.
            sam_prompt: what it is given: the box, or box and map.
            rec_box: which box a place keeps: its own, or that of its mask ("sam").

        Raises:
            InputError: a prompt that the segmenter has no use for.
        """
        if sam_prompt == "box+mask" and segmenter is not None and not segmenter.reads_maps:
            raise InputError(
                f"{segmenter.name} has no use for maps: it searches for what the words name. Use"
                " sam_prompt 'box', or another segmenter."
            )
        self.segmenter, self.sam_prompt, self.rec_box = segmenter, sam_prompt, rec_box
        self._seen: tuple[weakref.ref[Picture], Any] | None = None

    def add(self, found: Detections) -> Detections:
        """`found` with a mask a place; coarse ones are drawn from its `heat`.

        A place without area, but with key points (of a model that points), is drawn from these by a
        segmenter that can; without one its mask is empty.

        The attributes tell: `mask_kind` ("segmenter", "coarse-attention", "coarse-box", or "none"
        where nothing could be drawn), `box_from` ("answer", "attention" or "sam"), and of a
        segmenter's mask also `mask_by`, `mask_prompt` ("box", "box+mask" or "point") and
        `mask_score`, its own estimate of the IoU.

        Raises:
            InputError: a segmenter, but no picture; or a map as its prompt, but none.
        """
        number, (width, height) = len(found), found.image_wh
        masks, scores = np.zeros((number, height, width), bool), np.full(number, np.nan)
        kinds = np.full(number, "none", object)
        inside = np.asarray(clip_boxes(found.boxes, found.image_wh))
        has_area = np.asarray(box_area(inside)) > 0
        is_point = ~has_area & self._can_start_at(found)
        prompts = np.where(is_point, "point", self.sam_prompt)
        for rows in _by_name(found, has_area):
            masks[rows], scores[rows], kinds[rows] = self._made(found[rows])
        for rows in _by_name(found, is_point):
            masks[rows], scores[rows], kinds[rows] = self._made_from_points(found[rows])
        boxes = found.boxes.copy()
        origin = np.full(number, "answer" if found.heat is None else "attention", object)
        if self.rec_box == "sam":
            read = masks.any((1, 2))
            boxes[read], origin[read] = mask_to_box(masks[read]), "sam"
        told: dict[str, tuple[Any, ...]] = {"mask_kind": tuple(kinds)}
        if self.segmenter is not None:
            told["mask_by"] = (self.segmenter.name,) * number
            told["mask_prompt"] = tuple(prompts.tolist())
            told["mask_score"] = tuple(scores.tolist())
        told["box_from"] = tuple(origin)
        return replace(found, boxes=boxes, masks=masks, attributes={**found.attributes, **told})

    def _made(self, found: Detections) -> tuple[Any, Any, Any]:
        """Masks, scores and kinds of places of one name that all have an area."""
        maps = None if found.heat is None else [found.heat] * len(found)
        if self.segmenter is not None:
            seen = self._look(self.segmenter, found.picture)
            hints = None if self.sam_prompt == "box" else maps or ()
            made = self.segmenter.from_boxes(seen, found.boxes, maps=hints, words=found.names[0])
            return made.masks, made.scores, _KINDS[made.source]
        sizes = Seen(found.image_wh)
        filled = BoxSegmenter().from_boxes(sizes, found.boxes)
        if maps is None:
            return filled.masks, filled.scores, _KINDS[filled.source]
        drawn = CoarseSegmenter().from_boxes(sizes, found.boxes, maps=maps)
        # a box beside what the map shows, or between two of its cells, is filled
        is_drawn = np.asarray(drawn.masks.any((1, 2)))
        masks = np.where(is_drawn[:, None, None], drawn.masks, filled.masks)
        return masks, drawn.scores, np.where(is_drawn, _KINDS[drawn.source], _KINDS[filled.source])

    def _can_start_at(self, found: Detections) -> Bool[NDArray[np.bool_], " n"]:
        """Places with points in the picture, if the segmenter has a use for them."""
        if found.keypoints is None or not isinstance(self.segmenter, PointSegmenter):
            return np.zeros(len(found), bool)
        points = found.keypoints
        inside = (points[..., :2] >= 0) & (points[..., :2] <= np.array(found.image_wh))
        return np.asarray((inside.all(-1) & (points[..., 2] > 0)).all(1) & (points.shape[1] > 0))

    def _made_from_points(self, found: Detections) -> tuple[Any, Any, Any]:
        """Masks, scores and kinds of places of one name that all have points."""
        assert isinstance(self.segmenter, PointSegmenter)
        assert found.keypoints is not None
        seen = self._look(self.segmenter, found.picture)
        points = found.keypoints[..., :2]
        made = self.segmenter.from_points(seen, points, words=found.names[0])
        return made.masks, made.scores, _KINDS[made.source]

    def _look(self, segmenter: Segmenter, picture: Picture | None) -> Any:
        if picture is None:
            raise InputError(
                "These detections hold no picture, and a segmenter must look at it. Find them again"
                " in the picture, or leave the segmenter out."
            )
        if self._seen is None or self._seen[0]() is not picture:
            self._seen = (weakref.ref(picture), segmenter.embed(picture))
        return self._seen[1]


def _by_name(
    found: Detections, wanted: Bool[NDArray[np.bool_], " n"]
) -> Iterator[Int[NDArray[np.int64], " k"]]:
    """The places that are wanted, those of one name at a time."""
    for label in np.unique(found.labels[wanted]):
        yield np.flatnonzero(wanted & (found.labels == label))
