"""Masks without weights: the filled box, the attention map, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import map_coordinates

from headsight.errors import InputError
from headsight.geometry.region_maps import RegionMap
from headsight.models.segmenters import (
    BoxSegmenter,
    CoarseSegmenter,
    Segmenter,
    checked_boxes,
)
from headsight.picture import Picture

PICTURE = Picture(Image.new("RGB", (12, 10)))
ALL = (0.0, 0.0, 12.0, 10.0)


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 4)


def test_filled_boxes() -> None:
    segmenter = BoxSegmenter()
    found = segmenter.from_boxes(segmenter.embed(PICTURE), boxes((2, 2, 8, 6), (-5, 8.5, 20, 99)))
    assert found.masks.shape == (2, 10, 12)
    assert found.masks[0].sum() == 24
    assert found.masks[0, 2:6, 2:8].all()
    # the middle of row 8 is at 8.5: inside, and so is row 9; columns are cut at the border
    assert found.masks[1].sum() == 2 * 12
    assert found.source == "box"
    assert found.is_coarse
    assert np.isnan(found.scores).all()


def test_the_map_draws_within_the_box() -> None:
    segmenter = CoarseSegmenter()
    # cells of 3 x 5 px; the lower right one is hot, its mean 1/8
    values = np.zeros((2, 4))
    values[1, 3] = 1
    found = segmenter.from_boxes(
        segmenter.embed(PICTURE), boxes(ALL, (6, 0, 12, 8)), maps=[RegionMap(values, ALL)] * 2
    )
    assert found.source == "attention"
    assert found.is_coarse
    assert found.masks[0, 5:, 9:].all()
    # between the middles of rows 2.5 and 7.5 and of columns 7.5 and 10.5 the map rises linearly:
    # at x = 10.5 it passes 1/8 at y = 3.125, so the row of 2.5 is out and that of 3.5 is in
    assert found.masks[0, :, 10].tolist() == [False] * 3 + [True] * 7
    # at y = 9.5 it passes 1/8 at x = 7.875
    assert found.masks[0, 9].tolist() == [False] * 8 + [True] * 4
    np.testing.assert_array_equal(found.masks[1, :8, 6:], found.masks[0, :8, 6:])
    assert not found.masks[1, 8:].any()
    assert not found.masks[1, :, :6].any()


def test_a_map_of_a_part_says_nothing_about_the_rest() -> None:
    segmenter = CoarseSegmenter()
    hot_right = RegionMap(np.array([[0.0, 1.0]]), (4.0, -3.0, 8.0, 5.0))
    found = segmenter.from_boxes(segmenter.embed(PICTURE), boxes(ALL), maps=[hot_right])
    wanted = np.zeros((10, 12), bool)
    wanted[:5, 6:8] = True
    np.testing.assert_array_equal(found.masks[0], wanted)


def test_a_constant_map_draws_nothing() -> None:
    segmenter = CoarseSegmenter()
    flat = RegionMap(np.full((3, 3), 0.1, np.float32), ALL)
    assert not flat.contrast(np.arange(12.0), np.arange(10.0)).any()
    found = segmenter.from_boxes(segmenter.embed(PICTURE), boxes(ALL), maps=[flat])
    assert not found.masks.any()


@pytest.mark.parametrize("segmenter", [BoxSegmenter(), CoarseSegmenter()])
def test_no_boxes(segmenter: Segmenter) -> None:
    assert isinstance(segmenter, Segmenter)
    found = segmenter.from_boxes(segmenter.embed(PICTURE), boxes())
    assert found.masks.shape == (0, 10, 12)
    assert found.scores.shape == (0,)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 6), columns=st.integers(1, 6))
def test_maps_are_drawn_as_scipy_does(seed: int, rows: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    values = random.random((rows, columns))
    xs, ys = np.arange(12) + 0.5, np.arange(10) + 0.5
    places = np.meshgrid(ys / 10 * rows - 0.5, xs / 12 * columns - 0.5, indexing="ij")
    wanted = map_coordinates(values, places, order=1, mode="nearest")
    wanted = (wanted - values.mean()) / (np.abs(values - values.mean()).max() or 1)
    np.testing.assert_allclose(RegionMap(values, ALL).contrast(xs, ys), wanted, atol=1e-9)


@pytest.mark.parametrize(
    "bad",
    [
        (8, 2, 2, 6),  # x1 > x2
        (2, 6, 8, 2),  # y1 > y2
        (2, 2, 2, 6),  # no width
        (20, 2, 30, 6),  # beside the picture
        (-9, -9, 0, 0),
        (np.nan, 2, 8, 6),
        (2, 2, np.inf, 6),
    ],
)
def test_boxes_that_hold_nothing(bad: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match=r"Box 1 is \[.*\], but x1 < x2 and y1 < y2 .* 12 x 10 px"):
        checked_boxes(boxes((2, 2, 8, 6), bad), (12, 10))


def test_boxes_are_cut_at_the_border() -> None:
    cut = checked_boxes(boxes((-3, 4, 50, 11)), (12, 10))
    np.testing.assert_array_equal(cut, boxes((0, 4, 12, 10)))


def test_one_map_a_box() -> None:
    segmenter = CoarseSegmenter()
    seen = segmenter.embed(PICTURE)
    for maps in (None, [RegionMap(np.eye(2), ALL)] * 2):
        with pytest.raises(InputError, match=f"{len(maps or ())} maps came with 1 boxes"):
            segmenter.from_boxes(seen, boxes(ALL), maps=maps)


@pytest.mark.parametrize(
    ("values", "region"),
    [
        (np.zeros((0, 3)), ALL),
        (np.array([[np.nan]]), ALL),
        (np.eye(2), (5.0, 0.0, 5.0, 9.0)),
        (np.eye(2), (0.0, 9.0, 5.0, 1.0)),
    ],
)
def test_bad_maps(values: np.ndarray, region: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="finite values over a region with an area"):
        RegionMap(values, region)
