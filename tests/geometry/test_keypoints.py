"""Crops of objects: the cleaned box and both directions between picture and crop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsight.errors import InputError
from headsight.geometry.keypoints import clean_box, crop_in, crop_of


def test_clean_box_and_crop_of_the_spec():
    box = np.array([100.0, 50, 180, 90])  # x y w h = 100 50 80 40
    assert clean_box(box, (640, 480)).tolist() == [100, 50, 179, 89]
    crop = crop_of(box, (640, 480))
    assert crop.center == (139.5, 69.5)
    assert crop.side == 79
    assert crop.to_crop(np.array([[120.0, 60]])).round(3).tolist() == [[0.253, 0.380]]
    assert crop.to_image(np.array([0.253, 0.380])).round(3).tolist() == [119.987, 60.02]


def test_a_box_that_begins_outside():
    box = np.array([-10.0, 0, 40, 100])  # x y w h = -10 0 50 100
    assert clean_box(box, (640, 480)).tolist() == [0, 0, 49, 99]
    crop = crop_of(box, (640, 480))
    assert (crop.center, crop.side) == ((24.5, 49.5), 99)
    assert crop.to_crop(np.array([5.0, 7])).round(3).tolist() == [0.303, 0.071]


@pytest.mark.parametrize("box", [[700.0, 10, 800, 50], [10.0, 10, 10, 10], [10.0, 10, 11, 90]])
def test_a_box_without_area_in_the_picture_is_refused(box):
    with pytest.raises(InputError, match="no area inside the picture of 640 x 480"):
        crop_of(np.array(box), (640, 480))
    with pytest.raises(InputError, match="no area inside the picture"):
        crop_in("image", np.array(box), (640, 480))


def test_the_frame_of_a_whole_picture_is_its_square():
    box = np.array([100.0, 50, 180, 90])
    assert crop_in("crop", box, (640, 480), pad=1.25) == crop_of(box, (640, 480), pad=1.25)
    assert crop_in("image", box, (640, 480), pad=1.25).xyxy == (0, -80, 640, 560)


@given(st.floats(2, 300), st.floats(2, 300), st.floats(0, 300), st.floats(1, 2))
def test_there_and_back(width, height, x, pad):
    crop = crop_of(np.array([x, 20, x + width, 20 + height]), (640, 480), pad=pad)
    points = np.array([[x, 20.0], [x + width, 40.0]])
    np.testing.assert_allclose(crop.to_image(crop.to_crop(points)), points, atol=1e-9)
    x1, _, x2, _ = crop.xyxy
    np.testing.assert_allclose(x2 - x1, crop.side)
