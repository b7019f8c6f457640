"""Squares out of pictures: a mark lands where the geometry says, at any scale and turn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headsight.cut_out import Cut, cut_out
from headsight.geometry.keypoints import Crop


def test_a_crop_of_its_own_size_is_the_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    same = cut_out(Image.fromarray(pixels), Crop((10.0, 10.0), 20.0), side=20)
    assert np.array_equal(np.asarray(same), pixels)


def test_beyond_the_border_is_black() -> None:
    cut = np.asarray(cut_out(Image.new("RGB", (10, 10), "white"), Crop((0.0, 5.0), 10.0), side=10))
    assert (cut[:, :5] == 0).all()
    assert (cut[1:-1, 6:] == 255).all()


@pytest.mark.parametrize("turn_deg", [0.0, 30.0, -90.0])
@pytest.mark.parametrize("side", [40, 90, 300])
def test_a_mark_lands_where_the_geometry_says(turn_deg: float, side: int) -> None:
    pixels = np.zeros((200, 240, 3), np.uint8)
    pixels[80:88, 120:128] = 255  # its middle is (124, 84)
    cut = Cut(Crop((110.0, 90.0), 120.0), turn_deg)
    rows, columns = np.nonzero(np.asarray(cut_out(Image.fromarray(pixels), cut, side=side))[..., 0])
    weights = np.asarray(cut_out(Image.fromarray(pixels), cut, side=side))[rows, columns, 0]
    found = np.average(np.stack([columns, rows], 1) + 0.5, axis=0, weights=weights) / side
    np.testing.assert_allclose(found, cut.to_cut(np.array([124.0, 84.0])), atol=0.006)


def test_turned_clockwise() -> None:
    cut = Cut(Crop((50.0, 50.0), 100.0), 90.0)
    np.testing.assert_allclose(cut.to_cut(np.array([[50.0, 0.0]])), [[1.0, 0.5]], atol=1e-12)
    points = np.random.default_rng(0).uniform(0, 100, (50, 2))
    np.testing.assert_allclose(cut.to_image(cut.to_cut(points)), points, atol=1e-9)
