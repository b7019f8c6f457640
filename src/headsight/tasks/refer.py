"""Words to boxes: a referring expression, or every head."""

from __future__ import annotations

__all__ = ["ask_boxes", "ask_native", "ground", "ground_each"]

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.detections import Detections, Exchange
from headsight.geometry.boxes import box_area, clip_boxes
from headsight.geometry.nms import nms
from headsight.language import prompts
from headsight.language.answer import Answer
from headsight.language.dialects import DIALECTS
from headsight.models.base import VLM, NativeVLM, Reply
from headsight.picture import Picture
from headsight.tasks.asking import BOXES, ask

_SAME_IOU = 0.6


def ground(vlm: VLM, picture: Picture, words: str, *, constrain: bool = False) -> Detections:
    """The places that `words` name; none where the model answers `none`.

    Raises:
        InputError: no words, thousands of them, or control characters.
    """
    [found] = ground_each(vlm, picture, [words], constrain=constrain)
    return found


def ground_each(
    vlm: VLM, picture: Picture, words: Sequence[str], *, constrain: bool = False
) -> list[Detections]:
    """The places that each expression names, all asked at once, so that they share the picture.

    Raises:
        InputError: an expression without words, of thousands, or with control characters.
    """
    expressions = [prompts.clean_expression(each) for each in words]
    if isinstance(vlm, NativeVLM) and not constrain:
        asked = [DIALECTS[vlm.dialect].prompt(each) for each in expressions]
        replies = vlm.answer(picture, asked)
        return [
            _native(vlm, picture, reply, label)
            for reply, label in zip(replies, expressions, strict=True)
        ]
    asked = [prompts.refer(each) for each in expressions]
    answers = ask(vlm, picture, asked, BOXES, constrain=constrain)
    return [
        _boxes(picture, answer, exchange, label)
        for (answer, exchange), label in zip(answers, expressions, strict=True)
    ]


def ask_native(vlm: NativeVLM, picture: Picture, words: str, *, label: str = "") -> Detections:
    """The boxes of what `words` name, asked and read in the model's own format.

    The reading is lenient: what was put right stands in `Exchange.reading`. A family that points
    gives `keypoints`, and boxes without area there.
    """
    [reply] = vlm.answer(picture, [DIALECTS[vlm.dialect].prompt(words)])
    return _native(vlm, picture, reply, label or words)


def ask_boxes(
    vlm: VLM, picture: Picture, prompt: str, *, label: str, constrain: bool = False
) -> Detections:
    """The boxes that the answer to `prompt` holds, cut at the border of the picture.

    The score of a box is how sure the model was of its four numbers. A place that is named twice
    (IoU over 0.6) counts once, with the better score.
    """
    [(answer, exchange)] = ask(vlm, picture, [prompt], BOXES, constrain=constrain)
    return _boxes(picture, answer, exchange, label)


def _native(vlm: NativeVLM, picture: Picture, reply: Reply, label: str) -> Detections:
    answer = vlm.read(picture, reply, mode="lenient")
    value = answer.value if answer.is_valid and answer.value is not None else np.zeros((0, 4))
    read = np.asarray(value, np.float64)
    points = read.reshape(-1, 2) if answer.kind in ("point", "points") else None
    if points is not None:
        read = np.concatenate([points, points], 1)
    boxes = np.asarray(clip_boxes(read, picture.image_wh))
    if points is None:
        boxes = boxes[np.asarray(box_area(boxes)) > 0]
    number = len(boxes)
    keypoints = None
    if points is not None:
        keypoints = np.concatenate([boxes[:, :2], np.full((number, 1), 2.0)], 1)[:, None]
    return Detections(
        boxes,
        np.ones(number),
        np.zeros(number, np.int64),
        (label,),
        picture.image_wh,
        keypoints=keypoints,
        exchanges=(Exchange(reply.prompt, reply.text, answer.to_dict()),),
        picture=picture,
    )


def _boxes(picture: Picture, answer: Answer, exchange: Exchange, label: str) -> Detections:
    is_usable = answer.is_valid and answer.value is not None
    read = np.asarray(answer.value, np.float64) if is_usable else np.zeros((0, 4))
    boxes = np.asarray(clip_boxes(read, picture.image_wh))
    scores = _scores(answer, len(boxes))
    has_area = np.flatnonzero(np.asarray(box_area(boxes)) > 0)
    kept = has_area[
        np.sort(np.asarray(nms(boxes[has_area], scores[has_area], _SAME_IOU), np.int64))
    ]
    return Detections(
        boxes[kept],
        scores[kept],
        np.zeros(len(kept), np.int64),
        (label,),
        picture.image_wh,
        exchanges=(exchange,),
        picture=picture,
    )


def _scores(answer: Answer, number: int) -> Float[NDArray[Any], " n"]:
    """One score a box; 1 where the model tells no probabilities."""
    each = answer.item_confidences
    if each is not None and len(each) == number:
        return np.array(each, np.float64).clip(0, 1)
    return np.full(number, 1.0 if answer.confidence is None else answer.confidence).clip(0, 1)
