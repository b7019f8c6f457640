"""A box to a head pose: the box goes into the question, the whole picture is looked at (HPE-CogVLM, arXiv 2406.01914)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.detections import Detections
from headsight.errors import InputError
from headsight.geometry.boxes import clip_boxes
from headsight.geometry.rotations import ypr_to_matrix
from headsight.language import prompts
from headsight.language.codec import encode
from headsight.models.base import VLM
from headsight.picture import Picture
from headsight.tasks.asking import BOXES, POSE, POSE_TOKENS, ask

__all__ = ["find_poses", "with_poses"]


def find_poses(
    vlm: VLM, picture: Picture, boxes: Float[NDArray[Any], "n 4"], *, constrain: bool = False
) -> Detections:
    """The pose of the head in each box, in their order; the picture is encoded once for all of them.

    Raises:
        InputError: a box that is not four numbers, has no area or lies outside the picture.
    """
    boxes = _checked(np.asarray(boxes, np.float64), picture.image_wh)
    number = len(boxes)
    places = Detections(
        boxes, np.ones(number), np.zeros(number, np.int64), ("head",), picture.image_wh, picture=picture
    )
    asked = with_poses(vlm, places, constrain=constrain)
    return replace(asked, scores=np.array(asked.attributes["pose_confidence"], np.float64).reshape(-1))


def with_poses(vlm: VLM, places: Detections, *, constrain: bool = False) -> Detections:
    """`places` with a rotation each (NaN where the answer could not be read) and `pose_confidence`."""
    picture = places.picture
    if picture is None:
        raise InputError("These detections hold no picture to ask about. Keep their `picture`.")
    questions = [
        prompts.head_pose(encode(box[None], BOXES, image_wh=places.image_wh)) for box in places.boxes
    ]
    asked = ask(vlm, picture, questions, POSE, constrain=constrain, max_new_tokens=POSE_TOKENS)
    rotations = np.full((len(places), 3, 3), np.nan)
    confidence = []
    for row, (answer, _) in enumerate(asked):
        if answer.is_valid and answer.value is not None:
            rotations[row] = ypr_to_matrix(np.asarray(answer.value, np.float64))
        confidence.append(float(answer.confidence or 0.0) if answer.is_valid else 0.0)
    return replace(
        places,
        rotations=rotations,
        attributes={**places.attributes, "pose_confidence": tuple(confidence)},
        exchanges=places.exchanges + tuple(exchange for _, exchange in asked),
    )


def _checked(boxes: NDArray[np.float64], image_wh: tuple[int, int]) -> NDArray[np.float64]:
    if boxes.ndim == 1 and boxes.shape == (4,):
        boxes = boxes[None]
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise InputError(
            f"The boxes have shape {boxes.shape} or hold NaN, but n x 4 numbers x0, y0, x1, y1 in pixels are needed."
        )
    inside = np.asarray(clip_boxes(boxes, image_wh))
    for box, rest in zip(boxes, inside, strict=True):
        corners = ", ".join(f"{v:g}" for v in box)
        if not (box[0] < box[2] and box[1] < box[3]):
            raise InputError(
                f"The box ({corners}) has no area; expected x0 < x1 and y0 < y1. Check the order of its numbers."
            )
        if not (rest[0] < rest[2] and rest[1] < rest[3]):
            raise InputError(
                f"The box ({corners}) lies outside the picture, which is {image_wh[0]} pixels wide and"
                f" {image_wh[1]} high. Give pixels of the original picture."
            )
    return inside
