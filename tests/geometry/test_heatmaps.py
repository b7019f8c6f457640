from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.spatial import ConvexHull

from headsight.errors import InputError
from headsight.geometry.boxes import box_iou
from headsight.geometry.heatmaps import (
    above_mean,
    gaussian_smooth,
    gaussian_taps,
    largest_hull,
    map_to_box,
    paint_regions,
)

whole_maps = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 40)
)


def test_taps() -> None:
    expected = [0.004433, 0.054006, 0.242036, 0.399050, 0.242036, 0.054006, 0.004433]
    np.testing.assert_allclose(gaussian_taps(7, 1.0), expected, atol=5e-7)
    assert gaussian_taps(7, 0).tolist() == [1]
    assert gaussian_taps(1, 1.0).tolist() == [1]


@pytest.mark.parametrize(
    ("kernel", "sigma"), [(4, 1.0), (0, 1.0), (7, -1.0), (7, np.nan), (7, np.inf)]
)
def test_taps_that_cannot_be(kernel: int, sigma: float) -> None:
    with pytest.raises(InputError, match=f"kernel is {kernel}"):
        gaussian_taps(kernel, sigma)


@pytest.mark.parametrize(("place", "peak"), [((4, 4), 0.159241), ((0, 0), 0.410992)])
def test_an_impulse(place: tuple[int, int], peak: float) -> None:
    impulse = np.zeros((9, 9))
    impulse[place] = 1
    smooth = gaussian_smooth(impulse)
    assert smooth[place] == pytest.approx(peak, abs=5e-7)
    assert smooth.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("kernel", "sigma"), [(7, 1.0), (3, 0.4), (11, 1.8), (9, 1.4), (1, 1.0), (7, 0)]
)
@pytest.mark.parametrize("grid", [(9, 9), (24, 17), (2, 3), (1, 5)])
def test_smoothing_is_that_of_scipy(kernel: int, sigma: float, grid: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).random((2, 3, *grid))
    expected = maps
    if sigma:
        for axis in (-2, -1):
            expected = ndimage.correlate1d(expected, gaussian_taps(kernel, sigma), axis)
    np.testing.assert_allclose(gaussian_smooth(maps, kernel=kernel, sigma=sigma), expected)
    double = gaussian_smooth(torch.as_tensor(maps), kernel=kernel, sigma=sigma)
    np.testing.assert_allclose(double, expected)
    single = maps.astype(np.float32)
    tensor = gaussian_smooth(torch.as_tensor(single), kernel=kernel, sigma=sigma)
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor, expected, rtol=1e-5)
    if (kernel, sigma) == (7, 1.0):
        gaussian = ndimage.gaussian_filter(maps, 1.0, axes=(-2, -1), truncate=3)
        np.testing.assert_allclose(gaussian_smooth(maps), gaussian)


def test_cells_that_do_not_count_give_and_take_nothing() -> None:
    valid = np.zeros((8, 8), bool)
    valid[2:6] = True
    maps = np.where(valid, 3.0, np.nan)
    smooth = gaussian_smooth(maps, valid=valid)
    np.testing.assert_allclose(smooth[2:6], 3)  # a constant stays constant up to its edge
    assert not smooth[[0, 1, 6, 7]].any()
    everywhere = gaussian_smooth(maps[2:6], valid=valid[2:6])
    np.testing.assert_allclose(everywhere, gaussian_smooth(maps[2:6]))


def test_above_the_mean_is_strict() -> None:
    assert above_mean(np.array([[0.0, 1, 2, 1]])).tolist() == [[False, False, True, False]]


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-7, -0.3, 0.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_stands_out_of_a_constant_map(value: float, dtype: Any) -> None:
    constant = np.full((3, 24, 24), value, dtype)
    assert not above_mean(constant).any()
    assert not above_mean(gaussian_smooth(constant)).any()
    assert not above_mean(torch.as_tensor(constant)).any()
    assert map_to_box(constant[0], (0, 0, 10, 10)).box is None


@given(whole_maps, st.integers(1, 8), st.integers(-64, 64))
def test_scale_and_offset_change_nothing(heat: np.ndarray, scale: int, offset: int) -> None:
    np.testing.assert_array_equal(above_mean(scale * heat + offset), above_mean(heat))


@given(whole_maps, st.data())
def test_padding_is_as_if_it_were_not_there(heat: np.ndarray, data: st.DataObject) -> None:
    before, after = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    padded = np.pad(heat, ((before, after), (0, 0)), constant_values=99)
    valid = np.pad(np.ones(heat.shape, bool), ((before, after), (0, 0)))
    expected = np.pad(above_mean(heat), ((before, after), (0, 0)))
    np.testing.assert_array_equal(above_mean(padded, valid=valid), expected)
    tensors = torch.as_tensor(padded), torch.as_tensor(valid)
    np.testing.assert_array_equal(above_mean(tensors[0], valid=tensors[1]), expected)


def test_min_excess_is_a_multiple_of_the_mean() -> None:
    heat = np.array([[0.0, 1, 2, 5]])  # mean 2
    assert above_mean(heat, min_excess=2).tolist() == [[False, False, False, True]]
    assert above_mean(heat, min_excess=0.25).tolist() == [[False, True, True, True]]


def test_the_hull_counts_not_the_cells() -> None:
    # corners of the L: (0,0) (1,0) (4,3) (4,4) (0,4): 16 minus the triangle 3 x 3 / 2 = 11.5 > 9
    mask = np.zeros((9, 9), bool)
    mask[0:4, 0] = mask[3, 0:4] = True
    mask[6:9, 6:9] = True
    assert largest_hull(mask) == (0, 0, 4, 4)
    mask[5:9, 5:9] = True  # now 16
    assert largest_hull(mask) == (5, 5, 9, 9)


def test_of_equal_hulls_the_first_is_taken() -> None:
    mask = np.zeros((7, 7), bool)
    mask[0, 3:6] = mask[3:6, 0] = mask[6, 4:] = True
    assert largest_hull(mask) == (3, 0, 6, 1)
    assert largest_hull(np.zeros((3, 3), bool)) is None
    assert largest_hull(np.zeros((0, 3), bool)) is None


def by_qhull(mask: np.ndarray) -> list[tuple[float, tuple[int, int, int, int]]]:
    """Hull area and box of each component, first component first."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    found = []
    for i in range(1, count + 1):
        ys, xs = np.nonzero(labels == i)
        corners = np.concatenate([np.stack((xs + a, ys + b), -1) for a in (0, 1) for b in (0, 1)])
        box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
        found.append((round(ConvexHull(corners).volume, 6), box))
    return found


@given(hnp.arrays(bool, st.tuples(st.integers(1, 10), st.integers(1, 10))))
def test_the_largest_hull_is_that_of_qhull(mask: np.ndarray) -> None:
    hulls = by_qhull(mask)
    expected = max(hulls, key=lambda hull: hull[0])[1] if hulls else None  # max takes the first
    assert largest_hull(mask) == expected


def cells_6_to_11_by_6_to_14() -> np.ndarray:
    heat = np.zeros((24, 24))
    heat[6:15, 6:12] = 1
    return heat


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ((0, -80, 640, 560), (160, 80, 320, 320)),  # padded to a square of 640: 26.67 px a cell
        ((0, 0, 640, 480), (160, 120, 320, 300)),  # stretched, or the padding forgotten
        ((80, 0, 560, 480), (200, 120, 320, 300)),  # cut to the middle: 20 px a cell
    ],
)
def test_cells_become_pixels_of_the_picture(
    region: tuple[float, float, float, float], expected: tuple[float, float, float, float]
) -> None:
    found = map_to_box(cells_6_to_11_by_6_to_14(), region, image_wh=(640, 480))
    assert found.cells == (6, 6, 12, 15)
    assert found.box == pytest.approx(expected)
    assert found.mask.sum() == 54
    assert not found.reason


def test_forgetting_the_padding_costs_a_quarter() -> None:
    boxes = np.array([[160.0, 80, 320, 320], [160, 120, 320, 300]])
    assert box_iou(boxes[:1], boxes[1:])[0, 0] == pytest.approx(0.75)


def test_a_box_is_clipped_at_the_picture() -> None:
    heat = np.zeros((4, 4))
    heat[0:2, 3] = 1
    padded = map_to_box(heat, (-10.0, -10.0, 30.0, 30.0), image_wh=(20, 20))
    assert padded.box is None
    assert "outside the picture" in padded.reason
    heat[:, 1:] = 1
    assert map_to_box(heat, (-10.0, -10.0, 30.0, 30.0), image_wh=(20, 20)).box == (0, 0, 20, 20)


def test_a_map_without_a_box_says_why() -> None:
    constant = np.ones((3, 3))
    assert "constant" in map_to_box(constant, (0, 0, 3, 3)).reason
    nowhere = map_to_box(constant, (0, 0, 3, 3), valid=np.zeros((3, 3), bool))
    assert nowhere.box is None
    assert "no cell of the grid lies in the picture" in nowhere.reason


def test_tensors_of_any_dtype() -> None:
    heat = torch.as_tensor(cells_6_to_11_by_6_to_14())
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert map_to_box(heat.to(dtype), (0, 0, 24, 24)).box == (6, 6, 12, 15)


def test_painted_regions_add_up() -> None:
    """6 over 6 cells, 1 over 1 cell of them, 3 over the whole 2 x 4."""
    regions = np.array([[0, 0, 3, 2], [2, 1, 3, 2], [0, 0, 4, 2]], float)
    canvas = paint_regions(np.array([6.0, 1.0, 8.0]), regions, (2, 4))
    assert canvas.tolist() == [[2, 2, 2, 1], [2, 2, 3, 1]]
    tensor = paint_regions(torch.tensor([6.0, 1.0, 8.0]), regions, (2, 4))
    assert tensor.tolist() == canvas.tolist()
    assert paint_regions(np.zeros((3, 0)), np.zeros((0, 4)), (2, 4)).shape == (3, 2, 4)


@pytest.mark.parametrize(
    ("region", "cell"),
    [
        ((1.2, 0.2, 1.4, 0.4), (0, 1)),  # holds no centre of a cell: the one it lies in
        ((1.6, 0.2, 1.9, 0.9), (0, 1)),
        ((-5, -5, -3, -2), (0, 0)),  # outside: the nearest
        ((9, 9, 12, 10), (1, 3)),
        ((2, 1, 2, 1), (1, 2)),  # without area
        ((2.6, 0, 2.9, 1), (0, 2)),  # thin: the nearest column of the row it holds
    ],
)
def test_a_region_without_a_cell_gives_to_the_nearest(
    region: tuple[float, ...], cell: tuple[int, int]
) -> None:
    canvas = paint_regions(np.ones(1), np.array([region], float), (2, 4))
    assert np.argwhere(canvas).tolist() == [list(cell)]
    assert canvas.sum() == 1


@given(
    values=hnp.arrays(np.float64, (3, 5), elements=st.integers(0, 50)),
    corners=hnp.arrays(np.float64, (5, 2, 2), elements=st.integers(-8, 30)),
    grid=st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_painting_keeps_the_sum_and_stays_in_the_region(
    values: np.ndarray, corners: np.ndarray, grid: tuple[int, int]
) -> None:
    regions = np.sort(corners / 2, 1).reshape(5, 4)
    canvas = paint_regions(values, regions, grid)
    np.testing.assert_allclose(canvas.sum((-2, -1)), values.sum(-1), atol=1e-9)
    more = values.copy()
    more[:, 2] += 7  # one region alone changes, by the same everywhere
    change = paint_regions(more, regions, grid) - canvas
    x0, y0, x1, y1 = regions[2]
    y, x = (np.argwhere(change[0] > 1e-9) + 0.5).T
    assert len(x) > 0
    for cells, low, high in ((x, x0, x1), (y, y0, y1)):
        if len(set(cells)) > 1:  # else it may be the nearest to a region without a centre
            assert (cells >= low).all() & (cells < high).all()
    inside = change[change > 1e-9]
    np.testing.assert_allclose(inside, inside[0], atol=1e-9)
