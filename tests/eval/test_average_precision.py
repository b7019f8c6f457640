from __future__ import annotations

import contextlib
import io
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headsight.eval.average_precision import (
    COCO_THRESHOLDS,
    average_precision,
    coco_ap,
    match_picture,
)

NONE = np.zeros((0, 4))


def boxes(*xywh: tuple[float, float, float, float]) -> Any:
    array = np.array(xywh, dtype=float).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], 1)


TARGET = (10, 10, 40, 40)
CASES: dict[str, tuple[Any, Any, list[float], Any, tuple[float, float, float]]] = {
    # the false positive comes first: precision 1/2 at recall 1
    "A": (boxes(TARGET), boxes(TARGET, (120, 120, 40, 40)), [0.5, 0.9], NONE, (0.5, 0.5, 0.5)),
    # IoU 30 / 50 = 0.6 exactly: good at .50, .55 and .60, 3 of 10 thresholds
    "B": (boxes(TARGET), boxes((20, 10, 40, 40)), [0.5], NONE, (0.3, 1, 0)),
    # recall 1/2 at precision 1: 51 of 101 points
    "C": (boxes(TARGET, (100, 100, 40, 40)), boxes(TARGET), [0.5], NONE, (51 / 101,) * 3),
    # the better-scored detection lies in the crowd and counts neither way
    "D": (
        boxes(TARGET),
        boxes(TARGET, (110, 110, 20, 20)),
        [0.5, 0.9],
        boxes((100, 100, 80, 80)),
        (1, 1, 1),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_known_answers(case: str) -> None:
    truth, found, scores, ignore, (ap, ap50, ap75) = CASES[case]
    result = coco_ap([(found, np.array(scores))], [truth], ignores=[ignore])
    assert result == pytest.approx({"ap": ap, "ap50": ap50, "ap75": ap75}, abs=1e-12)


def test_without_the_crowd_the_same_detection_is_false() -> None:
    truth, found, scores, _, _ = CASES["D"]
    assert coco_ap([(found, np.array(scores))], [truth])["ap50"] == pytest.approx(0.5)


def test_a_head_is_found_even_where_it_lies_in_an_ignored_place() -> None:
    match = match_picture(
        boxes(TARGET), np.array([0.5]), boxes(TARGET), ignore=boxes((0, 0, 99, 99))
    )
    assert match.truth.tolist() == [0]
    assert match.is_ignored.tolist() == [False]


def test_one_truth_is_found_once_by_the_best_score() -> None:
    match = match_picture(boxes(TARGET, TARGET), np.array([0.4, 0.8]), boxes(TARGET))
    assert match.scores.tolist() == [0.8, 0.4]
    assert match.truth.tolist() == [0, -1]


def test_each_takes_the_free_truth_of_highest_iou() -> None:
    truth = boxes((0, 0, 10, 10), (2, 0, 10, 10))
    match = match_picture(boxes((1, 0, 10, 10), (2, 0, 10, 10)), np.array([0.5, 0.9]), truth)
    assert match.truth.tolist() == [1, 0]


def test_only_the_best_detections_count() -> None:
    match = match_picture(
        boxes(TARGET, TARGET), np.array([0.1, 0.2]), boxes(TARGET), max_detections=1
    )
    assert match.scores.tolist() == [0.2]


def test_a_detection_without_area_in_an_ignored_place() -> None:
    match = match_picture(boxes((5, 5, 0, 0)), np.array([0.1]), NONE, ignore=boxes((0, 0, 9, 9)))
    assert match.is_ignored.tolist() == [False]


def test_nothing_to_find_is_minus_one() -> None:
    assert average_precision([]) == -1
    assert average_precision([match_picture(boxes(TARGET), np.array([0.5]), NONE)]) == -1
    assert coco_ap([], [])["ap"] == -1


def test_nothing_found_is_zero() -> None:
    assert coco_ap([(NONE, np.zeros(0))], [boxes(TARGET)]) == {"ap": 0, "ap50": 0, "ap75": 0}


def test_only_asked_thresholds_are_named() -> None:
    assert coco_ap([(boxes(TARGET), np.ones(1))], [boxes(TARGET)], thresholds=[0.6]) == {"ap": 1}


# -- properties -----------------------------------------------------------------------------------

Picture = tuple[Any, Any, Any]
side = st.integers(1, 40)
place = st.tuples(st.integers(0, 60), st.integers(0, 60), side, side)


@st.composite
def pictures(draw: st.DrawFn) -> list[Picture]:
    """Detections with scores that are all different, and truths."""
    counts = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=4))
    total = sum(n for n, _ in counts)
    scores = iter(draw(st.permutations(range(1, total + 1))))
    return [
        (
            boxes(*draw(st.lists(place, min_size=n, max_size=n))),
            np.array([next(scores) / (total + 1) for _ in range(n)]),
            boxes(*draw(st.lists(place, min_size=m, max_size=m))),
        )
        for n, m in counts
    ]


def ap_of(data: list[Picture]) -> dict[str, float]:
    return coco_ap([(b, s) for b, s, _ in data], [t for _, _, t in data])


@settings(max_examples=25, deadline=None)
@given(pictures())
def test_only_the_order_of_the_scores_counts(data: list[Picture]) -> None:
    assert ap_of([(b, s**3 / 2, t) for b, s, t in data]) == ap_of(data)


@settings(max_examples=25, deadline=None)
@given(pictures(), st.randoms(use_true_random=False))
def test_the_order_of_pictures_and_detections_does_not_count(
    data: list[Picture], random: Any
) -> None:
    turned = [(b[::-1].copy(), s[::-1].copy(), t) for b, s, t in data]
    random.shuffle(turned)
    assert ap_of(turned) == pytest.approx(ap_of(data), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(pictures())
def test_a_false_positive_of_lowest_score_changes_nothing_for_the_better(
    data: list[Picture],
) -> None:
    found, scores, truth = data[0]
    worse = (np.concatenate([found, boxes((500, 500, 9, 9))]), np.append(scores, 0.0), truth)
    assert ap_of([worse, *data[1:]])["ap"] <= ap_of(data)["ap"] + 1e-12


@settings(max_examples=25, deadline=None)
@given(pictures())
def test_truth_as_detections_is_perfect(data: list[Picture]) -> None:
    truths = [np.unique(t, axis=0) for _, _, t in data]
    result = coco_ap([(t, np.full(len(t), 0.5)) for t in truths], truths)
    assert set(result.values()) == ({1.0} if any(map(len, truths)) else {-1.0})


# -- parity ---------------------------------------------------------------------------------------


def random_pictures(seed: int, number: int, crowds: bool) -> list[tuple[Any, Any, Any, Any]]:
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(number):
        truth = boxes(*rng.integers(1, 100, (rng.integers(0, 8), 4)))
        near = truth + rng.normal(0, 4, truth.shape)
        far = boxes(*rng.integers(1, 100, (rng.integers(0, 6), 4)))
        found = np.concatenate([near[rng.random(len(near)) < 0.8], far])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        # scores on a coarse grid: ties are part of the protocol
        scores = rng.integers(0, 50, len(found)) / 50
        # crowds lie apart from the truths' own detections or over them alike
        crowd = boxes(*rng.integers(20, 100, (rng.integers(0, 2), 4))) if crowds else NONE
        result.append((found, scores, truth, crowd))
    return result


def pycocotools_stats(data: list[tuple[Any, Any, Any, Any]]) -> Any:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is in the bench extra")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    number = itertools.count(1)

    def entry(image: int, box: Any, **more: Any) -> dict[str, Any]:
        x1, y1, x2, y2 = box
        wh = [x2 - x1, y2 - y1]
        return {
            "id": next(number), "image_id": image, "category_id": 1, "bbox": [x1, y1, *wh],
            "area": wh[0] * wh[1], "iscrowd": 0, **more,
        }  # fmt: skip

    truth, found = [], []
    for image, (detections, scores, heads, crowds) in enumerate(data):
        truth += [entry(image, b) for b in heads.tolist()]
        truth += [entry(image, b, iscrowd=1) for b in crowds.tolist()]
        pairs = zip(detections.tolist(), scores.tolist(), strict=True)
        found += [entry(image, b, score=s) for b, s in pairs]
    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco.COCO()
        reference.dataset = {
            "images": [{"id": i} for i in range(len(data))],
            "annotations": truth,
            "categories": [{"id": 1}],
        }
        reference.createIndex()
        answers = coco.COCO()
        answers.dataset = {**reference.dataset, "annotations": found}
        answers.createIndex()
        judge = evaluation.COCOeval(reference, answers, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats[:3]


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_parity_with_pycocotools(seed: int, crowds: bool) -> None:
    data = random_pictures(seed, 60, crowds)
    expected = pycocotools_stats(data)
    result = coco_ap(
        [(b, s) for b, s, _, _ in data], [t for _, _, t, _ in data], ignores=[c for *_, c in data]
    )
    # only the order of the sums differs
    np.testing.assert_allclose([result["ap"], result["ap50"], result["ap75"]], expected, atol=1e-9)


def test_the_thresholds_are_cocos() -> None:
    assert COCO_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
