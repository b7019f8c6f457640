from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headsight.errors import InputError
from headsight.geometry.masks import (
    boxes_to_masks,
    mask_counts,
    mask_iou,
    mask_to_box,
    mask_to_rle,
    polygons_to_mask,
    rle_to_mask,
)

coco = pytest.importorskip("pycocotools.mask")

# pycocotools' arrays do not know numpy 2's copy keyword yet
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def polygon(*corners: tuple[float, float]) -> Any:
    return np.array(corners, np.float64)


def coco_mask(polygons: list[Any], image_wh: tuple[int, int]) -> Any:
    """The union as pycocotools draws it."""
    width, height = image_wh
    rles = coco.frPyObjects([p.ravel().tolist() for p in polygons], height, width)
    return coco.decode(coco.merge(rles)).astype(bool)


RECTANGLE = polygon((2, 2), (8, 2), (8, 6), (2, 6))


def test_a_rectangle_by_hand() -> None:
    """Columns 2 to 7, rows 2 to 5 of a picture 12 wide and 10 high: 24 pixels."""
    mask = polygons_to_mask([RECTANGLE], (12, 10))
    expected = np.zeros((10, 12), bool)
    expected[2:6, 2:8] = True
    np.testing.assert_array_equal(mask, expected)


def test_overlapping_polygons_are_united() -> None:
    """24 + 24 pixels, 3 x 4 of them shared."""
    shifted = RECTANGLE + np.array([3, 0])
    assert polygons_to_mask([RECTANGLE, shifted], (12, 10)).sum() == 24 + 24 - 12


def test_no_polygons_no_pixels() -> None:
    assert not polygons_to_mask([], (3, 2)).any()
    assert polygons_to_mask([], (3, 2)).shape == (2, 3)
    assert not polygons_to_mask([polygon((1, 1), (1, 1), (1, 1))], (3, 3)).any()


def test_a_polygon_beyond_the_border_is_cut() -> None:
    assert polygons_to_mask([polygon((-50, -50), (99, -50), (99, 99), (-50, 99))], (7, 5)).all()


@settings(max_examples=60)
@given(
    wh=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    parts=st.lists(
        st.lists(st.tuples(*[st.floats(-20, 70, width=32)] * 2), min_size=3, max_size=6),
        min_size=1,
        max_size=2,
    ),
)
def test_any_polygons_cover_what_pycocotools_covers(wh: Any, parts: Any) -> None:
    polygons = [polygon(*p) for p in parts]
    np.testing.assert_array_equal(polygons_to_mask(polygons, wh), coco_mask(polygons, wh))


def test_many_outlines_cover_what_pycocotools_covers() -> None:
    """Round, spiky, with repeated corners, on whole and on broken pixels, at a real size."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        number = int(rng.integers(3, 120))
        turn = np.sort(rng.uniform(0, 2 * np.pi, number))
        reach = rng.uniform(20, 200, number)[:, None]
        corners = rng.uniform(0, 300, 2) + reach * np.stack([np.cos(turn), np.sin(turn)], 1)
        corners = np.repeat(corners.round(int(rng.integers(0, 3))), rng.integers(1, 3), 0)
        np.testing.assert_array_equal(
            polygons_to_mask([corners], (320, 240)), coco_mask([corners], (320, 240))
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e12])
def test_an_impossible_corner_is_an_error(value: float) -> None:
    with pytest.raises(InputError, match="no picture holds"):
        polygons_to_mask([polygon((0, 0), (5, 0), (value, 5))], (9, 9))


def test_an_endless_outline_is_an_error() -> None:
    zigzag = np.tile([[0.0, 0.0], [3e6, 1.0]], (4, 1))
    with pytest.raises(InputError, match="px long"):
        polygons_to_mask([zigzag], (9, 9))


masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda hw: st.lists(st.booleans(), min_size=hw[0] * hw[1], max_size=hw[0] * hw[1]).map(
        lambda bits: np.array(bits, bool).reshape(hw)
    )
)


@settings(max_examples=50)
@given(mask=masks)
def test_run_lengths_are_pycocotools(mask: Any) -> None:
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = mask_to_rle(mask, as_text=True)
    assert text == {"size": list(mask.shape), "counts": theirs["counts"].decode()}
    for rle in (mask_to_rle(mask), text, theirs):
        np.testing.assert_array_equal(rle_to_mask(rle), mask)


def test_long_runs_need_several_characters() -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.0003, 0.02, 1.0):
        mask = rng.random((700, 900)) < share
        theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert mask_to_rle(mask, as_text=True)["counts"] == theirs["counts"].decode()
        np.testing.assert_array_equal(rle_to_mask(theirs), mask)


@pytest.mark.parametrize(
    "counts", [[3], [-1, 5], [5], "", "4!", b"T", "o", "ooooooooo1", "4" * 3, [2**62] * 4]
)
def test_runs_that_do_not_fill_the_mask(counts: Any) -> None:
    with pytest.raises(InputError, match=r"Check|Expected"):
        rle_to_mask({"size": [2, 2], "counts": counts})


def test_boxes_are_filled_by_the_middles_of_pixels() -> None:
    filled = boxes_to_masks(
        np.array([[1.0, 0, 3, 2], [0.4, 0.6, 1.6, 1.4], [9, 9, 12, 12]]), (4, 3)
    )
    np.testing.assert_array_equal(
        filled.astype(int),
        [
            [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]],
            [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        ],
    )
    assert boxes_to_masks(np.zeros((0, 4)), (4, 3)).shape == (0, 3, 4)


@settings(max_examples=50)
@given(mask=masks)
def test_the_box_of_a_mask_is_pycocotools(mask: Any) -> None:
    x, y, width, height = coco.toBbox(coco.encode(np.asfortranarray(mask.astype(np.uint8))))
    expected = [x, y, x + width, y + height]
    np.testing.assert_array_equal(mask_to_box(mask), expected)
    np.testing.assert_array_equal(mask_to_box(np.stack([mask, ~mask]))[0], expected)


def test_a_whole_box_comes_back() -> None:
    boxes = np.array([[1.0, 2, 5, 7], [0, 0, 9, 8]])
    np.testing.assert_array_equal(mask_to_box(boxes_to_masks(boxes, (9, 8))), boxes)
    assert mask_to_box(np.zeros((0, 4, 4), bool)).shape == (0, 4)


def test_counts_leave_ignored_pixels_out() -> None:
    """Target 10 px; found: those and 5 px that count neither way: 10 of 10."""
    truth, found, ignore = (np.zeros((5, 5), bool) for _ in range(3))
    truth[:2] = found[:3] = ignore[2] = True
    assert mask_counts(found, truth) == (10, 15)
    assert mask_counts(found, truth, ignore) == (10, 10)


def test_mask_iou_is_pairwise_and_that_of_pycocotools() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 20, 30)) < 0.5, rng.random((2, 20, 30)) < 0.3
    rles = [[coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in part] for part in (a, b)]
    np.testing.assert_allclose(mask_iou(a, b), coco.iou(*rles, [0, 0]), rtol=1e-12)
    assert mask_iou(a[:0], b).shape == (0, 2)
    assert mask_iou(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 2), bool)).tolist() == [[0]]
