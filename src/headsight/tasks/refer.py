"""Words to boxes: a referring expression, or every head."""

from __future__ import annotations

import numpy as np

from headsight.detections import Detections
from headsight.geometry.boxes import clip_boxes
from headsight.language import prompts
from headsight.models.base import VLM
from headsight.picture import Picture
from headsight.tasks.asking import BOXES, ask

__all__ = ["ask_boxes", "ground"]


def ground(vlm: VLM, picture: Picture, words: str, *, constrain: bool = False) -> Detections:
    """The places that `words` name; none where the model answers `none`.

    Raises:
        InputError: no words, thousands of them, or control characters.
    """
    expression = prompts.clean_expression(words)
    return ask_boxes(vlm, picture, prompts.refer(expression), label=expression, constrain=constrain)


def ask_boxes(
    vlm: VLM, picture: Picture, prompt: str, *, label: str, constrain: bool = False
) -> Detections:
    """The boxes that the answer to `prompt` holds, cut at the border; the answer's confidence is their score."""
    [(answer, exchange)] = ask(vlm, picture, [prompt], BOXES, constrain=constrain)
    is_usable = answer.is_valid and answer.value is not None
    boxes = np.asarray(answer.value, np.float64) if is_usable else np.zeros((0, 4))
    boxes = np.asarray(clip_boxes(boxes, picture.image_wh))
    scores = np.array(answer.item_confidences or [answer.confidence or 1.0] * len(boxes))
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    number = int(has_area.sum())
    return Detections(
        boxes[has_area],
        scores[: len(boxes)][has_area].clip(0, 1),
        np.zeros(number, np.int64),
        (label,),
        picture.image_wh,
        exchanges=(exchange,),
        picture=picture,
    )
