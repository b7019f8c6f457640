"""Windows by hand, and pixels that stay where they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from headsight.models.headpose import SixDRepNetConfig
from headsight.models.headpose.crops import (
    HeadCropper,
    aflw2000_window,
    cut,
    square_windows,
    w300lp_window,
)

POINTS = np.array([[100.0, 200.0], [200.0, 300.0], [150.0, 250.0]])  # 100 px wide and high


def test_the_published_training_window() -> None:
    """k = 0.25: x0 - 15, y0 - 50; then, measured anew, x1 + 0.15 * 115, y1 + 0.15 * 150."""
    assert w300lp_window(POINTS, 0.25).tolist() == [85, 150, 217, 322]  # 217.25, 322.5


def test_the_published_test_window_has_other_margins() -> None:
    """k = 0.2: x0 - 40, y0 - 40; x1 + 0.4 * 140, y1 + 0.12 * 140."""
    assert aflw2000_window(POINTS).tolist() == [60, 160, 256, 316]  # 316.8


def test_windows_are_squares_of_the_longer_side_about_the_middle() -> None:
    boxes = np.array([[10.0, 10, 30, 50], [0, 0, 8, 8]])
    assert square_windows(boxes).tolist() == [[0, 10, 40, 50], [0, 0, 8, 8]]
    assert square_windows(boxes, margin=0.25).tolist() == [[-10, 0, 50, 60], [-2, -2, 10, 10]]
    assert square_windows(np.zeros((0, 4))).shape == (0, 4)


def stripes() -> Image.Image:
    """Red tells the column, green the row."""
    y, x = np.mgrid[0:64, 0:96].astype(np.uint8)
    return Image.fromarray(np.stack([x, y, np.full_like(x, 200)], -1))


def test_whole_pixels_are_copied() -> None:
    seen = cut(stripes(), np.array([10.0, 20, 42, 52]), 32)
    np.testing.assert_array_equal(seen, np.asarray(stripes())[20:52, 10:42])


def test_outside_the_picture_is_black() -> None:
    seen = cut(stripes(), np.array([-16.0, -16, 16, 16]), 32)
    assert (seen[:16] == 0).all()
    assert (seen[:, :16] == 0).all()
    np.testing.assert_array_equal(seen[16:, 16:], np.asarray(stripes())[:16, :16])


def test_a_window_between_pixels_is_not_rounded() -> None:
    """Twice enlarged and half a pixel on, the ramp still tells its place to a quarter of a pixel."""
    seen = cut(stripes(), np.array([10.5, 20.5, 26.5, 36.5]), 32).astype(float)
    columns = 10.5 + (np.arange(32) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(seen[16, 2:-2, 0], columns[2:-2], atol=0.5)
    assert seen[16, 2:-2, 0].mean() == pytest.approx(columns[2:-2].mean(), abs=0.3)


def test_resizing_to_256_and_keeping_224_is_a_smaller_window() -> None:
    cropper = HeadCropper.for_model(SixDRepNetConfig())
    assert (cropper.image_size, cropper.resize_size) == (224, 256)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8))
    window = np.array([20.0, 30, 276, 286])  # 256 px: nothing is resampled
    seen = cropper.cut_windows(picture, window[None])[0]
    np.testing.assert_array_equal(seen, np.asarray(picture)[46:270, 36:260])


def test_no_boxes_give_no_crops() -> None:
    cropper = HeadCropper(image_size=64)
    crops = cropper(stripes(), np.zeros((0, 4)))
    assert crops.shape == (0, 64, 64, 3)
    assert cropper.to_input(crops).shape == (0, 3, 64, 64)


def test_the_input_is_normalised_by_channel() -> None:
    cropper = HeadCropper(image_size=2, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 2.0))
    white = np.full((1, 2, 2, 3), 255, np.uint8)
    seen = cropper.to_input(white)
    torch.testing.assert_close(seen[0, :, 0, 0], torch.tensor([1.0, 1.0, 0.0]))
