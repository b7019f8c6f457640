"""Words to keypoints: an object is cut out, and every point of a schema is asked by name.

After CapeLLM (arXiv 2411.06869): no example picture, a question with a description for each point,
each by itself or behind the answers before it.
"""

from __future__ import annotations

__all__ = ["Keypoints", "find_keypoints", "find_together"]

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.cut_out import cut_out
from headsight.data.keypoints import KeypointPrediction
from headsight.detections import Detections, Exchange
from headsight.errors import InputError
from headsight.geometry.keypoints import Crop, crop_in
from headsight.language.answer import Answer
from headsight.language.codec import parse
from headsight.language.density import Density, density_mean, with_confidence
from headsight.language.rounds import ANSWER_TOKENS, first_prompt
from headsight.language.schema import KeypointSchema
from headsight.models.base import VLM, AttentiveVLM, Reply
from headsight.picture import Picture
from headsight.tasks.keypoint_asking import Asking, asking_of, order_of

_LOG = logging.getLogger(__name__)
Told = tuple[Reply, tuple[Density, ...]]
"""An answer, and the distributions of its numbers where they were asked for."""


@dataclass(frozen=True, eq=False)
class Keypoints:
    """The points (K) of objects (N) in one picture."""

    schema: KeypointSchema
    category: str
    image_wh: tuple[int, int]
    boxes: Float[NDArray[Any], "n 4"]
    points: Float[NDArray[Any], "n k 2"]
    """Px of the picture; NaN where the answer could not be used."""
    scores: Float[NDArray[Any], "n k"]
    """How sure the model was, 0 where the answer could not be used."""
    failures: tuple[tuple[str | None, ...], ...]
    """Why an answer is not as asked (see `Failure`), recovered or not."""
    crops: tuple[Crop, ...]
    densities: Float[NDArray[Any], "n k 2 b"] | None = None
    """Distribution of x, and of y given x, over steps of the crop; NaN of answers that failed."""
    exchanges: tuple[Exchange, ...] = ()
    picture: Picture | None = None

    def to_detections(self) -> Detections:
        """One place an object; a point without a usable answer has visibility 0."""
        seen = np.isfinite(self.points).all(-1)
        table = np.concatenate([np.nan_to_num(self.points), 2.0 * seen[..., None]], -1)
        number = len(self.boxes)
        return Detections(
            self.boxes,
            self.scores.mean(1) if number else np.zeros(0),
            np.zeros(number, np.int64),
            (self.category,),
            self.image_wh,
            keypoints=table * seen[..., None],
            attributes={
                "keypoint_names": (self.schema.names,) * number,
                "keypoint_scores": tuple(tuple(map(float, row)) for row in self.scores),
                "keypoint_failures": self.failures,
            },
            exchanges=self.exchanges,
            picture=self.picture,
        )

    def predictions(self, ids: Sequence[str]) -> list[KeypointPrediction]:
        """What metrics take: one an object, about the labelled objects `ids`."""
        rows = zip(ids, self.points, self.scores, self.failures, strict=True)
        return [
            KeypointPrediction(points, scores, failures=failures, id=one, category=self.category)
            for one, points, scores, failures in rows
        ]


def find_keypoints(
    vlm: VLM,
    picture: Picture,
    boxes: Float[NDArray[Any], "n 4"],
    schema: KeypointSchema,
    *,
    category: str | None = None,
    asking: Asking | None = None,
) -> Keypoints:
    """The points of `schema` on the object in every box.

    Args:
        vlm: any model; only those whose cache we hold can be asked cumulatively or tell densities.
        picture: what the objects are in.
        boxes: xyxy px.
        schema: names and descriptions.
        category: what the objects are, in words; by default the schema's only category.
        asking: by default what the model was taught with.

    Raises:
        InputError: a box without area or outside the picture, an order that is none, a mode that
            this model does not have, or a conversation too long for it.
    """
    asking = asking or asking_of(vlm)
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    found = find_together(
        vlm, [(picture, box) for box in boxes], schema, category=category, asking=asking
    )
    return _joined(found, picture, boxes, schema, category or schema.word, asking)


def find_together(
    vlm: VLM,
    objects: Sequence[tuple[Picture, Float[NDArray[Any], " 4"]]],
    schema: KeypointSchema,
    *,
    category: str | None = None,
    asking: Asking | None = None,
) -> list[Keypoints]:
    """The points of `schema` on objects of any pictures, which are asked about at once.

    Args:
        vlm: as in `find_keypoints`.
        objects: pictures and boxes, xyxy px.
        schema: names and descriptions.
        category: what the objects are, in words; by default the schema's only category.
        asking: by default what the model was taught with.

    Raises:
        InputError: as `find_keypoints`.
    """
    asking = asking or asking_of(vlm)
    word = category or schema.word
    crops = [
        crop_in(asking.frame, box, picture.image_wh, pad=asking.pad) for picture, box in objects
    ]
    shown = [
        Picture(cut_out(picture.image, crop, side=asking.side))
        for (picture, _), crop in zip(objects, crops, strict=True)
    ]
    questions = asking.form.questions(schema, word)
    order = order_of(asking.order, schema)
    if order is None and asking.mode == "independent":
        order = list(range(len(schema)))  # what is asked alone needs no order
    said = _ask(vlm, shown, questions, order, asking)
    return [
        _keypoints(picture, box, crop, row, schema, word, asking)
        for (picture, box), crop, row in zip(objects, crops, said, strict=True)
    ]


def _keypoints(
    picture: Picture,
    box: Float[NDArray[Any], " 4"],
    crop: Crop,
    said: Sequence[Told],
    schema: KeypointSchema,
    word: str,
    asking: Asking,
) -> Keypoints:
    """What the answers about one object say."""
    points, scores = np.full((len(schema), 2), np.nan), np.zeros(len(schema))
    densities = np.full((len(schema), 2, asking.form.spec.steps), np.nan)
    read = [_read(reply, asking) for reply, _ in said]
    for k, (answer, (_, numbers)) in enumerate(zip(read, said, strict=True)):
        if len(numbers) == 2:
            densities[k] = [number.bins for number in numbers]
        if not answer.is_valid or answer.value is None:
            continue
        place = np.asarray(answer.value, np.float64)
        if asking.decode != "argmax" and len(numbers) == 2:
            place = _decoded(densities[k], asking)
        points[k] = crop.to_image(place)
        scores[k] = answer.confidence if answer.confidence is not None else 1.0
    if len(schema) > 1 and np.isfinite(points).all() and not np.ptp(points, axis=0).any():
        _LOG.warning("event=degenerate box=%s: all points coincide", box.tolist())
    return Keypoints(
        schema,
        word,
        picture.image_wh,
        box[None],
        points[None],
        scores[None],
        (tuple(None if a.failure is None else str(a.failure) for a in read),),
        (crop,),
        densities[None] if asking.with_density else None,
        tuple(
            Exchange(reply.prompt, reply.text, answer.to_dict())
            for (reply, _), answer in zip(said, read, strict=True)
        ),
        picture,
    )


def _joined(
    found: Sequence[Keypoints],
    picture: Picture,
    boxes: Float[NDArray[Any], "n 4"],
    schema: KeypointSchema,
    word: str,
    asking: Asking,
) -> Keypoints:
    """Objects of one picture as one result."""
    number = len(schema)
    told = [one.densities for one in found if one.densities is not None]
    densities = None
    if asking.with_density:
        densities = np.concatenate([np.zeros((0, number, 2, asking.form.spec.steps)), *told])
    return Keypoints(
        schema,
        word,
        picture.image_wh,
        boxes,
        np.concatenate([np.zeros((0, number, 2)), *(one.points for one in found)]),
        np.concatenate([np.zeros((0, number)), *(one.scores for one in found)]),
        tuple(row for one in found for row in one.failures),
        tuple(crop for one in found for crop in one.crops),
        densities,
        tuple(exchange for one in found for exchange in one.exchanges),
        picture,
    )


def _ask(
    vlm: VLM,
    pictures: Sequence[Picture],
    questions: Sequence[str],
    order: Sequence[int] | None,
    asking: Asking,
) -> list[list[Told]]:
    """Answers by object and point; `order` None: the surest point first, for each object."""
    wants_numbers = asking.with_density or asking.decode != "argmax"
    is_ours = isinstance(vlm, AttentiveVLM)
    if asking.mode == "independent" and not wants_numbers and not (asking.constrain and is_ours):
        given = asking if asking.constrain else None
        return [_each_alone(vlm, picture, questions, given) for picture in pictures]
    if not isinstance(vlm, AttentiveVLM):
        raise InputError(
            f"{vlm.name} is asked from outside, so its answers cannot follow each other in a cache"
            " and have no distributions. Use mode='independent' and decode='argmax', without"
            " probability maps."
        )
    if order is not None:
        said: list[list[Told]] = []
        for start in range(0, len(pictures), asking.batch):
            said += _together(vlm, pictures[start : start + asking.batch], questions, order, asking)
        return said
    rows = []
    for picture in pictures:
        sure = [_confidence(reply, asking) for reply, _ in _each_alone(vlm, picture, questions)]
        own = [int(i) for i in np.argsort(-np.array(sure), kind="stable")]
        rows += _together(vlm, [picture], questions, own, asking)
    return rows


def _together(
    vlm: AttentiveVLM,
    pictures: Sequence[Picture],
    questions: Sequence[str],
    order: Sequence[int],
    asking: Asking,
) -> list[list[Told]]:
    from headsight.models.dialogue import converse

    said = converse(
        vlm,
        pictures,
        [questions[i] for i in order],
        form=asking.form,
        window=asking.window if asking.mode == "cumulative" else 0,
        constrain=asking.constrain,
        with_density=asking.with_density or asking.decode != "argmax",
    )
    back = np.argsort(order)
    return [[(row[i].reply, row[i].densities) for i in back] for row in said]


def _each_alone(
    vlm: VLM, picture: Picture, questions: Sequence[str], asking: Asking | None = None
) -> list[Told]:
    """Every question by itself, all behind one picture; constrained where `asking` is given."""
    prompts = list(questions)
    if isinstance(vlm, AttentiveVLM):
        from headsight.models.conversation import glue_of

        tokenizer, glue = vlm.processor.tokenizer, glue_of(vlm)  # type: ignore[attr-defined]
        prompts = [first_prompt(tokenizer, question, glue) for question in questions]
    grammar = None if asking is None else asking.form.spec
    replies = vlm.answer(picture, prompts, grammar=grammar, max_new_tokens=ANSWER_TOKENS)
    return [(reply, ()) for reply in replies]


def _read(reply: Reply, asking: Asking) -> Answer:
    answer = parse(reply.text, asking.form.spec, prompt=reply.prompt, hit_limit=not reply.ended)
    if reply.tokens and len(reply.tokens) == len(reply.logprobs):
        answer = with_confidence(answer, reply.tokens, reply.logprobs)
    return answer


def _confidence(reply: Reply, asking: Asking) -> float:
    answer = _read(reply, asking)
    return (answer.confidence or 0.0) if answer.is_valid else 0.0


def _decoded(bins: Float[NDArray[Any], "2 b"], asking: Asking) -> NDArray[np.float64]:
    """Mean or median of each number, in the frame."""
    if asking.decode == "mean":
        return density_mean(bins, asking.form.spec)
    below = bins.cumsum(-1)
    return np.asarray((below < 0.5).sum(-1) / bins.shape[-1], np.float64)
