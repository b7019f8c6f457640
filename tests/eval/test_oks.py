"""Similarity of keypoints and COCO's average precision of poses: by hand, and against pycocotools."""

from __future__ import annotations

import contextlib
import io
import itertools
from typing import Any

import numpy as np
import pytest

from headsight.errors import InputError
from headsight.eval.oks import (
    COCO_SIGMAS,
    FoundPoses,
    TruePoses,
    keypoint_ap,
    oks,
    oks_matrix,
    sigmas_of,
)

NAMES = ["nose"] + [
    f"{side}_{part}" for part in list(COCO_SIGMAS)[1:] for side in ("left", "right")
]
SIGMAS = sigmas_of(NAMES)


def true(points: Any, visible: Any, areas: Any, **more: Any) -> TruePoses:
    points = np.asarray(points, float)
    number = len(points)
    parts = {
        "boxes": np.concatenate([points.min(1), points.max(1)], 1).reshape(-1, 4),
        "is_ignored": np.zeros(number, bool),
        "is_crowd": np.zeros(number, bool),
    }
    return TruePoses(
        points=points,
        visible=np.asarray(visible, bool),
        areas=np.asarray(areas, float),
        **parts | more,
    )


def test_by_hand() -> None:
    """5 px off at 2 s = 0.2 and area 10000: exp(-25 / (2 * 10000 * 0.04)); the other exact."""
    truth = np.array([[[10.0, 10], [50, 50], [0, 0]]])
    said = truth + np.array([[[3, 4], [0, 0], [70, 70]]])
    seen = np.array([[True, True, False]])
    found = oks(said, truth, seen, np.array([10000.0]), np.array([0.1, 0.05, 0.05]))
    assert np.exp(-25 / 800) == pytest.approx(0.969233, abs=5e-7)
    assert found == pytest.approx([(np.exp(-25 / 800) + 1) / 2], abs=1e-12)
    assert found == pytest.approx([0.984617], abs=5e-7)


def test_nothing_labelled_and_nothing_predicted() -> None:
    truth = np.zeros((2, 2, 2))
    said = np.array([[[0.0, 0], [0, 0]], [[np.nan, np.nan], [0, 0]]])
    seen = np.array([[False, False], [True, True]])
    found = oks(said, truth, seen, np.ones(2), np.array([0.1, 0.1]))
    np.testing.assert_array_equal(found, [np.nan, 0.5])


def test_without_labelled_points_the_grown_box_counts() -> None:
    """Box 10..20: grown 0..30; inside it is no distance, 3 px beyond it is."""
    truth = true(np.zeros((1, 1, 2)), [[False]], [100.0], boxes=np.array([[10.0, 10, 20, 20]]))
    said = np.array([[[0.0, 30]], [[33, 15]], [[np.nan, np.nan]]])
    found = oks_matrix(said, truth, np.array([0.5]))
    assert found[:, 0] == pytest.approx([1, np.exp(-9 / 200), 0], abs=1e-12)


def test_names_tell_the_constants() -> None:
    assert SIGMAS.tolist() == [
        0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
        0.087, 0.087, 0.089, 0.089,
    ]  # fmt: skip
    assert sigmas_of(["Right Eye", "left-hip"]).tolist() == [0.025, 0.107]
    with pytest.raises(InputError, match="keypoint 'tail' \\(1 of 2 unknown\\)"):
        sigmas_of(["nose", "tail"])


def test_one_person_found_at_seven_of_ten_similarities() -> None:
    """Similarity 0.82 by a single point: thresholds 0.50 to 0.80."""
    distance = np.sqrt(-np.log(0.82) * 2 * 5000 * 0.04)
    truth = true([[[50.0, 50]]], [[True]], [5000.0])
    said = FoundPoses(points=np.array([[[50 + distance, 50]]]), scores=np.array([0.3]))
    figures = keypoint_ap([said], [truth], np.array([0.1])).to_dict()
    expected = dict.fromkeys(("ap", "ap_medium", "ar", "ar_medium"), 0.7)
    expected |= dict.fromkeys(("ap50", "ap75", "ar50", "ar75"), 1.0)
    expected |= {"ap_large": -1, "ar_large": -1}
    assert figures == pytest.approx(expected, abs=1e-12)


def test_no_picture_at_all() -> None:
    assert set(keypoint_ap([], [], SIGMAS).to_dict().values()) == {-1.0}


def test_pictures_must_agree() -> None:
    with pytest.raises(InputError, match="poses of 0 pictures and truths of 1"):
        keypoint_ap([], [true(np.zeros((1, 17, 2)), np.ones((1, 17)), [1])], SIGMAS)


def random_people(seed: int, pictures: int) -> list[tuple[FoundPoses, TruePoses]]:
    """Crowds, unlabelled people, false alarms, ties of scores, more than 20 detections."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(pictures):
        count = int(rng.integers(0, 6))
        corner, side = rng.uniform(0, 200, (count, 1, 2)), rng.uniform(15, 150, (count, 1, 1))
        points = corner + side * rng.random((count, 17, 2))
        visible = rng.random((count, 17)) < 0.7
        visible[rng.random(count) < 0.2] = False
        boxes = np.concatenate([corner[:, 0], corner[:, 0] + side[:, 0]], 1)
        crowd = rng.random(count) < 0.15
        truth = true(
            points, visible, (side[:, 0, 0] ** 2) * rng.uniform(0.3, 1, count), boxes=boxes,
            is_crowd=crowd,
        )  # fmt: skip
        near = np.repeat(points, 2, 0)
        near = near + rng.normal(0, 1, near.shape) * rng.uniform(0, 12, (len(near), 1, 1))
        far = rng.uniform(0, 250, (int(rng.integers(0, 25)), 17, 2))
        said = np.concatenate([near, far])
        scores = rng.integers(0, 30, len(said)) / 30
        result.append((FoundPoses(points=said, scores=scores), truth))
    return result


def reference(data: list[tuple[FoundPoses, TruePoses]]) -> Any:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is in the bench extra")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    number = itertools.count(1)
    labelled: list[Any] = []
    results: list[Any] = []
    for image, (found, truth) in enumerate(data):
        for row, points in enumerate(truth.points):
            seen = truth.visible[row]
            x1, y1, x2, y2 = truth.boxes[row].tolist()
            triples = np.concatenate([points, 2.0 * seen[:, None]], 1)
            labelled.append({
                "id": next(number), "image_id": image, "category_id": 1,
                "iscrowd": int(truth.is_crowd[row]), "area": float(truth.areas[row]),
                "bbox": [x1, y1, x2 - x1, y2 - y1], "num_keypoints": int(seen.sum()),
                "keypoints": triples.reshape(-1).tolist(),
            })  # fmt: skip
        for points, score in zip(found.points, found.scores, strict=True):
            triples = np.concatenate([points, np.ones((17, 1))], 1)
            results.append({
                "image_id": image, "category_id": 1, "score": float(score),
                "keypoints": triples.reshape(-1).tolist(),
            })  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        base = coco.COCO()
        base.dataset = {
            "images": [{"id": i} for i in range(len(data))],
            "annotations": labelled,
            "categories": [{"id": 1}],
        }
        base.createIndex()
        judge = evaluation.COCOeval(base, base.loadRes(results), "keypoints")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_same_ten_numbers_as_pycocotools(seed: int) -> None:
    data = random_people(seed, 25)
    judge = reference(data)
    ours = keypoint_ap([f for f, _ in data], [t for _, t in data], SIGMAS)
    # only the order of the sums differs
    np.testing.assert_allclose(list(ours.to_dict().values()), judge.stats, atol=1e-9, rtol=0)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_the_same_similarities_as_pycocotools() -> None:
    data = random_people(7, 12)
    judge = reference(data)
    compared = 0
    for image, (found, truth) in enumerate(data):
        order = np.argsort(-found.scores, kind="stable")[:20]
        matrix = np.asarray(judge.ious[image, 1])
        if matrix.size:
            ours = oks_matrix(found.points[order], truth, SIGMAS)
            np.testing.assert_allclose(ours, matrix, atol=1e-12, rtol=0)
            compared += matrix.size
    assert compared > 100
