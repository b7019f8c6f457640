from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headsight.errors import InputError
from headsight.geometry.boxes import (
    box_area,
    box_iou,
    clip_boxes,
    grow_boxes,
    xywh_to_xyxy,
    xyxy_to_xywh,
)
from headsight.geometry.nms import nms

LIBRARIES: dict[str, Callable[[Any], Any]] = {
    "numpy": lambda values: np.asarray(values, dtype=np.float64),
    "torch": lambda values: torch.as_tensor(np.asarray(values, dtype=np.float32)),
}


@pytest.fixture(params=LIBRARIES)
def array(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return LIBRARIES[request.param]


def test_iou_of_known_boxes(array: Any) -> None:
    a = array([[0, 0, 4, 4], [5, 5, 5, 9]])
    b = array([[0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4], [0, 0, 2, 2]])
    # overlap 2x4 = 8 of 16 + 16 - 8 = 24; touching edges do not overlap; a quarter of the area
    expected = [[1, 1 / 3, 0, 0.25], [0, 0, 0, 0]]
    np.testing.assert_allclose(np.asarray(box_iou(a, b)), expected, atol=1e-6)


def test_no_boxes(array: Any) -> None:
    none, one = array(np.zeros((0, 4))), array([[0, 0, 1, 1]])
    assert tuple(box_iou(none, one).shape) == (0, 1)
    assert tuple(box_iou(one, none).shape) == (1, 0)
    assert tuple(xywh_to_xyxy(none).shape) == (0, 4)
    assert tuple(nms(none, array([])).shape) == (0,)


def test_area_of_boxes_turned_inside_out_is_zero(array: Any) -> None:
    boxes = array([[0, 0, 2, 3], [2, 0, 0, 3], [2, 3, 0, 0]])
    np.testing.assert_array_equal(np.asarray(box_area(boxes)), [6, 0, 0])


def test_clip(array: Any) -> None:
    boxes = array([[-5, -5, 5, 5], [90, 10, 200, 90], [300, 10, 400, 20]])
    expected = [[0, 0, 5, 5], [90, 10, 100, 50], [100, 10, 100, 20]]
    np.testing.assert_array_equal(np.asarray(clip_boxes(boxes, (100, 50))), expected)


def test_edges_move_by_shares_of_the_sides(array: Any) -> None:
    grown = grow_boxes(array([[10, 20, 30, 60], [0, 0, 0, 0]]), (-0.5, -0.25, 0.1, 1.0))
    np.testing.assert_allclose(np.asarray(grown), [[0, 10, 32, 100], [0, 0, 0, 0]], atol=1e-5)
    assert grow_boxes(array(np.zeros((0, 4))), (0.1, 0.1, 0.1, 0.1)).shape == (0, 4)


@given(st.lists(st.tuples(*[st.integers(-1000, 1000)] * 4), max_size=5))
def test_corners_and_sides_round_trip(rows: list[tuple[int, int, int, int]]) -> None:
    boxes = np.array(rows, dtype=np.float64).reshape(-1, 4)
    np.testing.assert_array_equal(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)


def test_nms_keeps_the_best_and_what_does_not_overlap(array: Any) -> None:
    boxes = array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [0, 0, 10, 5]])
    scores = array([0.8, 0.9, 0.1, 0.85])
    # IoU of 0 and 1 is 90/110; of 3 and 1 45/105 = 0.43; of 3 and 0 exactly 0.5
    assert nms(boxes, scores, 0.5).tolist() == [1, 3, 2]
    assert nms(boxes, scores, 0.4).tolist() == [1, 2]
    assert nms(boxes, scores, 1.0).tolist() == [1, 3, 0, 2]


def test_nms_is_stable_for_equal_scores_and_strict_at_the_threshold(array: Any) -> None:
    boxes = array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 10]])
    assert nms(boxes, array([1, 1, 1]), 0.5).tolist() == [0, 1]


def test_nms_threshold_is_checked() -> None:
    with pytest.raises(InputError, match="iou_threshold is 50"):
        nms(np.zeros((1, 4)), np.zeros(1), 50)
