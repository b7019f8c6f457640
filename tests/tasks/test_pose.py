"""The pose of the head in a box that the user gives."""

from __future__ import annotations

import numpy as np
import pytest

from headsight.detections import Detections
from headsight.errors import InputError
from headsight.picture import Picture
from headsight.tasks.pose import find_poses, with_poses


def test_the_box_stands_in_the_question(vlm, picture: Picture) -> None:
    found = find_poses(vlm, picture, np.array([[100.0, 100, 300, 300], [500, 0, 600, 100]]))
    [(_, asked, _)] = vlm.calls
    assert "[[100,200,300,600]]" in asked[0]
    assert "[[500,000,600,200]]" in asked[1]
    np.testing.assert_allclose(found.poses, [[-45, 10, 0], [180, 0, -5]], atol=1e-9)
    np.testing.assert_allclose(found.scores, [0.8, 0.8])


def test_the_order_of_the_boxes_is_kept(vlm, picture: Picture) -> None:
    found = find_poses(vlm, picture, np.array([[500.0, 0, 600, 100], [100, 100, 300, 300]]))
    np.testing.assert_allclose(found.poses[:, 0], [180, -45])


def test_a_box_over_the_border_is_cut(vlm, picture: Picture) -> None:
    found = find_poses(vlm, picture, np.array([[-50.0, 400, 200, 700]]))
    assert found.boxes.tolist() == [[0, 400, 200, 500]]


def test_no_box(vlm, picture: Picture) -> None:
    found = find_poses(vlm, picture, np.zeros((0, 4)))
    assert found.poses.shape == (0, 3)
    assert vlm.calls == []


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([300, 100, 100, 300], "no area; expected x0 < x1"),
        ([100, 100, 100, 300], "no area"),
        ([1000, 0, 1100, 100], "outside the picture, which is 1000 pixels wide and 500 high"),
        ([-9, -9, 0, 0], "outside the picture"),
        ([100, np.nan, 200, 300], "hold NaN"),
        ([100, 100, np.inf, 300], "hold NaN"),
        ([1, 2, 3], r"shape \(1, 3\)"),
        ("100,100,300,300", "not four numbers"),
        ([[1, 2, 3, 4], [5]], "not four numbers"),
    ],
)
def test_boxes_that_cannot_be_asked_about(vlm, picture: Picture, box, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_poses(vlm, picture, box)
    assert vlm.calls == []


def test_one_bad_box_among_good_ones(vlm, picture: Picture) -> None:
    with pytest.raises(InputError, match=r"The box \(9, 9, 3, 3\) has no area"):
        find_poses(vlm, picture, [[100, 100, 300, 300], [9, 9, 3, 3]])


def test_a_single_flat_box(vlm, picture: Picture) -> None:
    assert len(find_poses(vlm, picture, np.array([100.0, 100, 300, 300]))) == 1


def test_detections_without_a_picture(vlm) -> None:
    with pytest.raises(InputError, match="no picture to ask about"):
        with_poses(vlm, Detections.empty((10, 10)))
