"""Predicted keypoints in files: COCO results, and our own form, which can hold failed answers."""

from __future__ import annotations

__all__ = ["SCHEMA", "prediction_from_dict", "prediction_to_dict", "read_predictions"]

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headsight.data.keypoints import KeypointInstance, KeypointPrediction, KeypointSet
from headsight.data.ref_sample import Problem
from headsight.errors import AnnotationError

SCHEMA = "headsight.keypoint-predictions/1"


def read_predictions(
    path: Path, truth: KeypointSet
) -> tuple[list[KeypointPrediction], list[Problem]]:
    """The predictions of a file, tied to the instances of `truth` where that can be told.

    Ours: `{"schema", "predictions": [{"id", "points": [[x, y] or null, ...], "scores", "score",
    "failures"}]}`, where id is that of the annotation. COCO results: a list of `image_id`,
    `category_id`, `keypoints` (x, y, score triples) and `score`; a result is tied by its `id`, if
    that is an annotation of its picture, or where picture and category have one instance and one
    result. What is not tied, or is about an object that does not count, is a detection: it is used
    in average precision only.

    Raises:
        AnnotationError: the file is no JSON or of neither form.
    """
    try:
        whole = json.loads(path.read_text("utf-8"))
        records = whole if isinstance(whole, list) else whole["predictions"]
        if not isinstance(records, list):
            raise TypeError(f"predictions are a {type(records).__name__}")
    except (OSError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path} holds no predicted keypoints: {type(error).__name__} {error}. Expected COCO"
            f" results (a list), or an object with schema {SCHEMA} and predictions."
        ) from error
    by_id = {i.id: i for i in truth.instances}
    ignored = {i.id: i for i in truth.ignored}
    numbers = {i.category: len(i.visible) for i in truth.instances}
    predictions, problems = [], []
    for number, record in enumerate(records):
        try:
            if "points" in record:
                key = str(record["id"])
                said = prediction_from_dict(record, by_id.get(key) or ignored.get(key))
            else:
                said = _result(record, truth, by_id | ignored, numbers)
            predictions.append(said)
        except (AnnotationError, KeyError, TypeError, ValueError) as error:
            what = str(error) if isinstance(error, AnnotationError) else _told(error)
            problems.append(Problem(f"prediction {number}", what))
    if problems and not predictions:
        raise AnnotationError(
            f"Not one of the {len(problems)} predictions of {path} can be used. The first:"
            f" {problems[0].error}"
        )
    tied = _tie_lonely(predictions, truth.instances)
    return [replace(p, id=None) if p.id in ignored else p for p in tied], problems


def prediction_to_dict(prediction: KeypointPrediction) -> dict[str, Any]:
    """Plain values for JSON, as `read_predictions` takes them."""
    scores = prediction.scores
    return {
        "id": prediction.id,
        "points": [
            [float(x), float(y)] if np.isfinite((x, y)).all() else None
            for x, y in prediction.points
        ],
        "scores": None if scores is None else [float(s) if s == s else None for s in scores],
        "score": prediction.score,
        "failures": list(prediction.failures),
    }


def prediction_from_dict(
    record: Mapping[str, Any], instance: KeypointInstance | None
) -> KeypointPrediction:
    """The prediction of a record in our own form, about an instance.

    Raises:
        AnnotationError: there is no such instance, or it has another number of points.
    """
    if instance is None:
        raise AnnotationError(
            f"No instance has the id {record['id']!r}. Expected that of an annotation that counts."
        )
    points = np.array([(np.nan, np.nan) if p is None else p for p in record["points"]], np.float64)
    failures = tuple(record.get("failures") or ())
    given = record.get("scores")
    scores = None if given is None else np.array([np.nan if s is None else s for s in given], float)
    number = len(instance.visible)
    lengths = {"points": len(points), "scores": None if scores is None else len(scores)}
    lengths["failures"] = len(failures) or None
    if points.shape[1:] != (2,) or any(n not in (None, number) for n in lengths.values()):
        raise AnnotationError(
            f"The prediction for {instance.id} has {lengths}, but the instance has {number}"
            " keypoints. Give [x, y] or null for each, and a score and a failure (or null) for each"
            " or none at all."
        )
    score = record.get("score")
    return KeypointPrediction(
        points,
        scores,
        None if score is None else float(score),
        failures,
        instance.id,
        instance.image,
        instance.category,
    )


def _result(
    record: Mapping[str, Any],
    truth: KeypointSet,
    by_id: Mapping[str, KeypointInstance],
    numbers: Mapping[str, int],
) -> KeypointPrediction:
    """One COCO result."""
    image, category = record["image_id"], record["category_id"]
    if image not in truth.images:
        raise AnnotationError(f"Its image_id {image!r} is no picture of {truth.name}.")
    if category not in truth.categories:
        raise AnnotationError(f"Its category_id {category!r} is no category of {truth.name}.")
    triples = np.array(record["keypoints"], np.float64).reshape(-1, 3)
    name, path = truth.categories[category], truth.images[image]
    if len(triples) != numbers.get(name, len(triples)):
        raise AnnotationError(
            f"It has {len(triples)} keypoints, but {name!r} has {numbers[name]}. Give x, y, score"
            " of each."
        )
    instance = by_id.get(str(record.get("id")))
    is_his = instance is not None and (instance.image, instance.category) == (path, name)
    score = record.get("score")
    return KeypointPrediction(
        triples[:, :2],
        triples[:, 2],
        None if score is None else float(score),
        (),
        instance.id if instance is not None and is_his else None,
        path,
        name,
    )


def _tie_lonely(
    predictions: Sequence[KeypointPrediction], instances: Sequence[KeypointInstance]
) -> list[KeypointPrediction]:
    """Tie what is the only prediction and the only instance of a category in a picture."""
    said = Counter((p.image, p.category) for p in predictions)
    here = Counter((i.image, i.category) for i in instances)
    only = {(i.image, i.category): i for i in instances if here[i.image, i.category] == 1}
    return [
        replace(p, id=only[key].id)
        if p.id is None and said[key := (p.image, p.category)] == 1 and key in only
        else p
        for p in predictions
    ]


def _told(error: Exception) -> str:
    return (
        f"It is not in its format: {type(error).__name__} {error}. Expected id and points, or"
        " image_id, category_id and keypoints."
    )
