"""Keypoint predictions against labelled instances, by both protocols of MP-100 and by COCO's.

`all`: every instance once, what is labelled in it counts (support-free methods). `episodes`: pairs
of a query and its supports, what is labelled in all of them counts (support-based methods). The
same predictions have different figures under the two, so that they are never to be compared.
"""

from __future__ import annotations

__all__ = [
    "Compared",
    "Protocol",
    "answer_figures",
    "compare_keypoints",
    "keypoint_scores",
    "oks_figures",
    "pck_figures",
]

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.episodes import Episodes
from headsight.data.keypoints import KeypointInstance, KeypointPrediction, KeypointSet
from headsight.errors import AnnotationError, InputError
from headsight.eval.item_scores import Scores
from headsight.eval.oks import FoundPoses, TruePoses, keypoint_ap, oks, sigmas_of
from headsight.eval.pck import THRESHOLDS, PckResult, pck, pck_scores

Protocol = Literal["all", "episodes"]
Array = NDArray[np.float64]

_CONSTANT = (
    "All detections have one score: average precision then depends on the order in which they are"
    " listed. Give each a score of its own."
)


@dataclass(frozen=True, eq=False)
class Compared:
    """Instances (N) with what was predicted for them."""

    instances: tuple[KeypointInstance, ...]
    points: tuple[Float[Array, "_ 2"], ...]
    """NaN where nothing was predicted."""
    unanswered: int
    """Instances for which there is no prediction at all: misses."""
    not_asked: int
    """Instances left out, as they have neither picture nor prediction."""

    @property
    def coverage(self) -> str:
        """How much of the set was scored, in one line; empty where all was."""
        if not self.not_asked:
            return ""
        number = len(self.instances)
        return (
            f"scored on {number} of {number + self.not_asked} instances"
            f" ({number / (number + self.not_asked):.1%}): the pictures of the others are missing."
            " Figures on a part cannot be compared with published ones."
        )


def compare_keypoints(truth: KeypointSet, predictions: Sequence[KeypointPrediction]) -> Compared:
    """Put predictions beside their instances.

    An instance without a prediction is missed as a whole; it is left out only where its picture is
    missing while others are there, so that nobody can have been asked about it.

    Raises:
        AnnotationError: two predictions for one instance, one for none of them, or none for any.
    """
    known = {i.id for i in truth.instances}
    by_id: dict[str, KeypointPrediction] = {}
    for prediction in predictions:
        if prediction.id is None:
            continue
        if prediction.id not in known:
            raise AnnotationError(
                f"There is a prediction for {prediction.id}, but {truth.name} has no such instance"
                " that counts. Predict for `instances` alone."
            )
        if prediction.id in by_id:
            raise AnnotationError(
                f"There are two predictions for the instance {prediction.id}. Keep the best one."
            )
        by_id[prediction.id] = prediction
    if not by_id and truth.instances:
        raise AnnotationError(
            f"Not one prediction is tied to an instance of {truth.name}, but PCK compares each with"
            " its own. Give the annotation's id in each prediction, or ask for --metric oks alone."
        )
    has_pictures = len(truth.without_picture) < len(truth)
    gone = truth.without_picture if has_pictures else frozenset[str]()
    chosen = tuple(i for i in truth.instances if i.id in by_id or i.id not in gone)
    return Compared(
        chosen,
        tuple(
            by_id[i.id].points if i.id in by_id else np.full((len(i.visible), 2), np.nan)
            for i in chosen
        ),
        sum(i.id not in by_id for i in chosen),
        len(truth) - len(chosen),
    )


def pck_figures(
    compared: Compared,
    episodes: Episodes | None = None,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    compat: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> PckResult:
    """The PCK family of all instances, or of the pairs of episodes.

    Intervals are over pictures; those of episodes over the pictures of the queries.
    """
    known = compared.instances
    lengths = np.array([i.box_length for i in known])
    if episodes is None:
        rows, visible = list(range(len(known))), [i.visible for i in known]
    else:
        rows, visible = [query for query, _ in episodes.pairs], episodes.visible(known)
    return pck(
        [compared.points[row] for row in rows],
        [known[row].points for row in rows],
        visible,
        lengths[rows],
        thresholds=thresholds,
        compat=compat,
        categories=[known[row].category for row in rows],
        names=[known[row].names for row in rows],
        groups=[str(known[row].image) for row in rows],
        resamples=resamples,
        seed=seed,
    )


def keypoint_scores(compared: Compared, *, threshold: float = 0.2) -> Scores:
    """PCK of each instance, so that two models can be compared in pairs."""
    known = compared.instances
    values = pck_scores(
        list(compared.points),
        [i.points for i in known],
        [i.visible for i in known],
        np.array([i.box_length for i in known]),
        threshold=threshold,
    )
    return Scores(tuple(i.id for i in known), tuple(i.image.name for i in known), values, "higher")


def answer_figures(predictions: Sequence[KeypointPrediction]) -> dict[str, Any]:
    """How many answers were asked for and how many failed, where the predictions tell."""
    told = [p for p in predictions if p.failures]
    codes = [code for p in told for code in p.failures]
    is_said = [bool(np.isfinite(point).all()) for p in told for point in p.points]
    failures = Counter(code for code in codes if code is not None)
    asked = max(len(codes), 1)
    invalid = sum(c is not None and not s for c, s in zip(codes, is_said, strict=True))
    return {
        "asked": len(codes),
        "strict_invalid": failures.total() / asked,
        "invalid": invalid / asked,
        "failures": dict(failures.most_common()),
    }


def oks_figures(
    truth: KeypointSet, predictions: Sequence[KeypointPrediction], *, sigma: float | None = None
) -> dict[str, Any]:
    """Mean similarity and COCO's ten figures, a mean over the categories that can be measured.

    Pictures that are missing, while others are there, count only if something was predicted in
    them.

    Args:
        truth: labelled objects, those that count neither way too.
        predictions: tied to instances or not; each with a picture or an instance.
        sigma: constant of all keypoints; absent: COCO's, by the keypoints' names.

    Raises:
        InputError: no category has constants, `sigma` is not above 0, or a prediction is about
            nothing.
        AnnotationError: no category has annotated areas.
    """
    if sigma is not None and not 0 < sigma < np.inf:
        raise InputError(f"sigma is {sigma:g}, but must be above 0. COCO's are 0.025 to 0.107.")
    truth, predictions = _placed(truth, predictions)
    rows, notes, problem = {}, [], None
    for category in dict.fromkeys(i.category for i in truth.instances):
        known = [i for i in truth.instances if i.category == category]
        without = sum(i.area <= 0 for i in known)
        try:
            sigmas = (
                sigmas_of(known[0].names) if sigma is None else np.full(len(known[0].names), sigma)
            )
            if without:
                raise AnnotationError(
                    f"{without} of {len(known)} instances of {category!r} have no annotated area,"
                    " which similarity is measured by. Add `area` to the annotations."
                )
        except (AnnotationError, InputError) as error:
            problem = error
            notes.append(f"{category}: {error}")
            continue
        said = [p for p in predictions if p.category == category]
        rows[category] = _category_figures(truth, category, said, sigmas)
    if not rows and problem is not None:
        raise problem
    scores = [_score(p) for p in predictions]
    if len(scores) > 1 and len(set(scores)) == 1:
        notes.append(_CONSTANT)
    names = list(next(iter(rows.values()), {}))
    return {
        **{name: _mean([row[name] for row in rows.values()], name) for name in names},
        "by_category": rows if len(rows) > 1 else {},
        "notes": notes,
    }


def _placed(
    truth: KeypointSet, predictions: Sequence[KeypointPrediction]
) -> tuple[KeypointSet, list[KeypointPrediction]]:
    """The pictures that count, and predictions that know theirs."""
    by_id = {i.id: i for i in truth.instances}
    placed = []
    for p in predictions:
        if p.image is None:
            if p.id not in by_id:
                raise InputError(
                    f"A prediction for {p.id} names no picture and no instance of {truth.name}."
                    " Give it `image` and `category`, or the id of an instance."
                )
            p = replace(p, image=by_id[p.id].image, category=by_id[p.id].category)
        placed.append(p)
    if len(truth.without_picture) == len(truth):
        return truth, placed
    gone = {by_id[key].image for key in truth.without_picture} - {p.image for p in placed}
    there, ignored = (
        tuple(i for i in part if i.image not in gone) for part in (truth.instances, truth.ignored)
    )
    return replace(truth, instances=there, ignored=ignored), placed


def _category_figures(
    truth: KeypointSet, category: str, said: Sequence[KeypointPrediction], sigmas: Array
) -> dict[str, float]:
    """Mean similarity of what is tied, and the ten figures."""
    known = [i for i in truth.instances if i.category == category]
    by_id = {p.id: p for p in said if p.id is not None}
    number = len(sigmas)
    blank = np.full((number, 2), np.nan)
    near = oks(
        np.stack([by_id[i.id].points if i.id in by_id else blank for i in known]),
        np.stack([i.points for i in known]),
        np.stack([i.visible for i in known]),
        np.array([i.area for i in known]),
        sigmas,
    )
    every = [*known, *(i for i in truth.ignored if i.category == category)]
    keys = sorted(truth.images, key=lambda key: (isinstance(key, str), key))  # as the reference
    order: dict[Path | None, int] = {truth.images[key]: place for place, key in enumerate(keys)}
    here: dict[Path | None, list[KeypointInstance]] = {}
    found: dict[Path | None, list[KeypointPrediction]] = {}
    for instance in every:
        here.setdefault(instance.image, []).append(instance)
    for p in said:
        found.setdefault(p.image, []).append(p)
    pictures = sorted({*here, *found}, key=lambda path: order.get(path, -1))
    counted = {i.id for i in known}
    figures = keypoint_ap(
        [_found(found.get(path, []), number) for path in pictures],
        [_true(here.get(path, []), number, counted, truth.crowds) for path in pictures],
        sigmas,
    )
    mean = float(near.mean()) if by_id else float("nan")
    return {"oks": mean, **figures.to_dict()}


def _found(said: Sequence[KeypointPrediction], number: int) -> FoundPoses:
    points = [p.points for p in said]
    return FoundPoses(
        points=np.stack(points) if points else np.zeros((0, number, 2)),
        scores=np.array([_score(p) for p in said], np.float64),
    )


def _true(
    here: Sequence[KeypointInstance], number: int, counted: set[str], crowds: frozenset[str]
) -> TruePoses:
    empty = np.zeros((0, number, 2))
    return TruePoses(
        points=np.stack([i.points for i in here]) if here else empty,
        visible=np.array([i.visible for i in here], bool).reshape(-1, number),
        areas=np.array([i.area for i in here], np.float64),
        boxes=np.array([i.box for i in here], np.float64).reshape(-1, 4),
        is_ignored=np.array([i.id not in counted for i in here], bool),
        is_crowd=np.array([i.id in crowds for i in here], bool),
    )


def _score(prediction: KeypointPrediction) -> float:
    """Its own, else the mean of its points', else 1."""
    if prediction.score is not None:
        return prediction.score
    scores = np.ones(1) if prediction.scores is None else prediction.scores
    known = scores[np.isfinite(scores)]
    return float(known.mean()) if len(known) else 1.0


def _mean(values: Sequence[float], name: str) -> float:
    """Of the categories that have the figure; where none has, as COCO writes it."""
    known = [v for v in values if v >= 0]
    nothing = float("nan") if name == "oks" else -1.0
    return float(np.mean(known)) if known else nothing
