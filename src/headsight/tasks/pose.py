"""A box to a head pose: the box stands in the question, the whole picture is looked at.

After HPE-CogVLM (arXiv:2406.01914); the wording is ours, because the paper's could not be read.
"""

from __future__ import annotations

__all__ = ["find_poses", "with_poses"]

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
from headsight.language.answer import Answer
from headsight.language.codec import encode
from headsight.models.base import VLM, PoseReader
from headsight.picture import Picture
from headsight.tasks.asking import BOXES, POSE, POSE_TOKENS, ask


def find_poses(vlm: VLM, picture: Picture, boxes: Any, *, constrain: bool = False) -> Detections:
    """The pose of the head in each box, in their order; the picture is encoded once for all.

    A box is four numbers x0, y0, x1, y1 in pixels; it is cut at the border. The score is how sure
    the model was of the three angles, 0 where its answer could not be read.

    Raises:
        InputError: a box that is not four numbers, has no area or lies outside the picture.
    """
    inside = _checked(boxes, picture.image_wh)
    number = len(inside)
    places = Detections(
        inside,
        np.ones(number),
        np.zeros(number, np.int64),
        ("head",),
        picture.image_wh,
        picture=picture,
    )
    asked = with_poses(vlm, places, constrain=constrain)
    return replace(asked, scores=np.array(asked.attributes["pose_confidence"], np.float64))


def with_poses(vlm: VLM, places: Detections, *, constrain: bool = False) -> Detections:
    """`places` with a rotation each, NaN where the answer could not be read.

    Adds the attributes `pose_confidence` (in [0, 1]) and `pose_reading` ("strict", "recovered", or
    why the answer could not be read; "regressed" where a model read the pixels without words).

    Raises:
        InputError: the detections hold no picture.
    """
    picture = places.picture
    if picture is None:
        raise InputError("These detections hold no picture to ask about. Keep their `picture`.")
    if isinstance(vlm, PoseReader):
        return _regressed(vlm, picture, places)
    questions = [
        prompts.head_pose(encode(box[None], BOXES, image_wh=places.image_wh))
        for box in places.boxes
    ]
    asked = ask(vlm, picture, questions, POSE, constrain=constrain, max_new_tokens=POSE_TOKENS)
    answers = [answer for answer, _ in asked]
    rotations = np.full((len(places), 3, 3), np.nan)
    for row, answer in enumerate(answers):
        if answer.is_valid and answer.value is not None:
            rotations[row] = ypr_to_matrix(np.asarray(answer.value, np.float64))
    return replace(
        places,
        rotations=rotations,
        attributes={
            **places.attributes,
            "pose_confidence": tuple(map(_confidence, answers)),
            "pose_reading": tuple(map(_reading, answers)),
        },
        exchanges=places.exchanges + tuple(exchange for _, exchange in asked),
    )


def _regressed(vlm: PoseReader, picture: Picture, places: Detections) -> Detections:
    rotations = vlm.read_poses(picture, places.boxes)
    is_told = np.isfinite(rotations).all((1, 2))
    return replace(
        places,
        rotations=rotations,
        attributes={
            **places.attributes,
            "pose_confidence": tuple(float(told) for told in is_told),
            "pose_reading": tuple("regressed" if told else "degenerate" for told in is_told),
        },
    )


def _confidence(answer: Answer) -> float:
    """In [0, 1]; 1 where the model tells no probabilities."""
    if not answer.is_valid:
        return 0.0
    return 1.0 if answer.confidence is None else min(max(float(answer.confidence), 0.0), 1.0)


def _reading(answer: Answer) -> str:
    if answer.strict:
        return "strict"
    return "recovered" if answer.is_valid else str(answer.failure)


def _checked(given: Any, image_wh: tuple[int, int]) -> Float[NDArray[Any], "n 4"]:
    """The part of each box that lies inside the picture."""
    try:
        boxes = np.atleast_2d(np.asarray(given, np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The box {given!r} is not four numbers; expected x0, y0, x1, y1 in pixels."
        ) from error
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise InputError(
            f"The boxes have shape {boxes.shape} or hold NaN, but n x 4 numbers x0, y0, x1, y1 in"
            " pixels are needed."
        )
    inside = np.asarray(clip_boxes(boxes, image_wh))
    for box, rest in zip(boxes, inside, strict=True):
        corners = ", ".join(f"{v:g}" for v in box)
        if not (box[0] < box[2] and box[1] < box[3]):
            raise InputError(
                f"The box ({corners}) has no area; expected x0 < x1 and y0 < y1. Check the order of"
                " its numbers."
            )
        if not (rest[0] < rest[2] and rest[1] < rest[3]):
            raise InputError(
                f"The box ({corners}) lies outside the picture, which is {image_wh[0]} pixels wide"
                f" and {image_wh[1]} high. Give pixels of the original picture."
            )
    return inside
