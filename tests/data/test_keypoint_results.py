"""Predicted keypoints in files: COCO results and our own form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headsight.data.coco_keypoints import keypoint_set
from headsight.data.keypoint_results import (
    SCHEMA,
    prediction_from_dict,
    prediction_to_dict,
    read_predictions,
)
from headsight.data.keypoints import KeypointPrediction, KeypointSet
from headsight.errors import AnnotationError


def truth() -> KeypointSet:
    """Picture 1 has cups 11 and 12, picture 2 has cup 21 and jug 22 (of three points)."""
    rows = [(11, 1, 3, 2), (12, 1, 3, 2), (21, 2, 3, 2), (22, 2, 4, 3)]
    return keypoint_set(
        {
            "images": [
                {"id": n, "file_name": f"{n}.png", "width": 100, "height": 80} for n in (1, 2)
            ],
            "annotations": [
                {
                    "id": key, "image_id": image, "category_id": category, "bbox": [5, 5, 50, 50],
                    "keypoints": [9, 9, 2] * number,
                }
                for key, image, category, number in rows
            ],
            "categories": [{"id": 3, "name": "cup"}, {"id": 4, "name": "jug"}],
        },
        Path("labels.json"),
    )  # fmt: skip


def read(tmp_path: Path, whole: Any) -> Any:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(whole))
    return read_predictions(path, truth())


def result(**more: Any) -> dict[str, Any]:
    return {
        "image_id": 1,
        "category_id": 3,
        "keypoints": [1, 2, 0.5, 3, 4, 0.7],
        "score": 0.9,
        **more,
    }


def test_ours(tmp_path: Path) -> None:
    record = {
        "id": 22, "points": [[1, 2], None, [3.5, 4]], "scores": [0.1, None, 0.3],
        "failures": [None, "refusal", "bad_digits"], "score": 0.2,
    }  # fmt: skip
    (one,), problems = read(tmp_path, {"schema": SCHEMA, "predictions": [record]})
    assert problems == []
    assert (one.id, one.category, one.image, one.score) == ("22", "jug", Path("2.png"), 0.2)
    np.testing.assert_array_equal(one.points, [[1, 2], [np.nan, np.nan], [3.5, 4]])
    np.testing.assert_array_equal(one.scores, [0.1, np.nan, 0.3])
    assert one.failures == (None, "refusal", "bad_digits")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    said = KeypointPrediction(
        np.array([[1.0, 2], [np.nan, np.nan]]), np.array([0.5, np.nan]), 0.25, (None, "empty"), "11"
    )
    record = json.loads(json.dumps(prediction_to_dict(said)))
    again = prediction_from_dict(record, truth().instances[0])
    assert prediction_to_dict(again) == record
    plain = prediction_to_dict(KeypointPrediction(np.zeros((2, 2)), id="11"))
    assert prediction_from_dict(plain, truth().instances[0]).scores is None


def test_coco_results_are_tied_by_the_id_of_an_annotation(tmp_path: Path) -> None:
    rows = [result(id=12), result(id=21), result(id="x"), result()]
    found, problems = read(tmp_path, rows)
    assert [p.id for p in found] == ["12", None, None, None]  # 21 is of another picture
    assert problems == []
    assert found[0].points.tolist() == [[1, 2], [3, 4]]
    assert found[0].scores.tolist() == [0.5, 0.7]
    assert (found[1].category, found[1].image, found[1].score) == ("cup", Path("1.png"), 0.9)


def test_what_does_not_count_is_no_problem(tmp_path: Path) -> None:
    ignored = replace(truth().instances[0], id="13")
    path = tmp_path / "p.json"
    path.write_text(json.dumps([{"id": 13, "points": [[1, 2], [3, 4]]}]))
    (one,), problems = read_predictions(path, replace(truth(), ignored=(ignored,)))
    assert (one.id, one.image, one.category, problems) == (None, Path("1.png"), "cup", [])


@pytest.mark.parametrize("record", [{"id": 13, "points": [[1, 2], [3, 4]]}, result(id=13)])
def test_what_is_said_of_an_object_that_does_not_count_is_not_tied_to_its_neighbour(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    whole = truth()
    ignored = replace(whole.instances[0], id="13")
    path = tmp_path / "p.json"
    path.write_text(json.dumps([record]))
    alone = replace(whole, instances=whole.instances[1:], ignored=(ignored,))
    (one,), _ = read_predictions(path, alone)
    assert (one.id, one.image) == (None, Path("1.png"))


def test_what_is_alone_is_tied(tmp_path: Path) -> None:
    found, _ = read(tmp_path, [result(image_id=2, score=None), result()])
    assert [(p.id, p.score) for p in found] == [("21", None), (None, 0.9)]
    twice, _ = read(tmp_path, [result(image_id=2), result(image_id=2)])
    assert [p.id for p in twice] == [None, None]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (result(image_id=9), "Its image_id 9 is no picture of labels.json"),
        (result(category_id=9), "Its category_id 9 is no category"),
        (result(keypoints=[1, 2, 1]), "It has 1 keypoints, but 'cup' has 2"),
        (result(keypoints=[1, 2]), "not in its format: ValueError"),
        ({"category_id": 3}, "not in its format: KeyError 'image_id'"),
        ({"id": 99, "points": []}, "No instance has the id 99"),
        ({"id": 11, "points": [[1, 2]]}, "the instance has 2 keypoints"),
        ({"id": 11, "points": [[1, 2]] * 2, "scores": [1]}, "the instance has 2 keypoints"),
        ({"id": 11, "points": [[1, 2]] * 2, "failures": [None]}, "the instance has 2 keypoints"),
        ({"id": 11, "points": [[1, 2, 3]] * 2}, "the instance has 2 keypoints"),
        ({"id": 11, "points": [["x", 2]] * 2}, "not in its format: ValueError"),
        ("points", "not in its format: TypeError"),
    ],
)
def test_a_bad_record_is_a_problem_and_the_rest_go_on(
    tmp_path: Path, record: Any, message: str
) -> None:
    found, problems = read(tmp_path, [result(), record])
    assert len(found) == 1
    assert problems[0].id == "prediction 1"
    assert message in problems[0].error
    with pytest.raises(AnnotationError, match="Not one of the 1 predictions"):
        read(tmp_path, [record])


@pytest.mark.parametrize("whole", [{}, {"predictions": 5}, 7, "text"])
def test_what_holds_no_predictions(tmp_path: Path, whole: Any) -> None:
    with pytest.raises(AnnotationError, match="holds no predicted keypoints"):
        read(tmp_path, whole)
    with pytest.raises(AnnotationError, match="FileNotFoundError"):
        read_predictions(tmp_path / "gone.json", truth())


def test_an_empty_list_is_no_error(tmp_path: Path) -> None:
    assert read(tmp_path, []) == ([], [])
