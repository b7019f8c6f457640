from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headsight.attention.localization import (
    attention_sum,
    elbow_threshold,
    fuse_maps,
    map_centroid,
    merge_views,
    select_low_entropy,
    spatial_entropy,
    valid_cells,
)
from headsight.errors import InputError
from headsight.geometry.heatmaps import map_to_box
from headsight.models.image_views import ImageView

SORTED = np.array([0.01, 0.02, 0.02, 0.03, 0.05, 0.08, 0.30, 0.45, 0.60, 0.75])
SHUFFLED = np.array([0.75, 0.01, 0.02, 0.60, 0.02, 0.03, 0.45, 0.05, 0.30, 0.08])


def peaks(height: int, width: int, values: dict[tuple[int, int], float]) -> np.ndarray:
    heat = np.zeros((height, width))
    for place, value in values.items():
        heat[place] = value
    return heat


def view(grid_hw: tuple[int, int], region: tuple[float, float, float, float]) -> ImageView:
    x0, y0, x1, y1 = map(float, region)
    return ImageView(grid_hw, np.arange(grid_hw[0] * grid_hw[1]), (x0, y0, x1, y1))


def test_the_elbow() -> None:
    # chord from .01 to .75: below it by .3411 at index 5 (.4211 - .08), by .2033 at index 6
    assert elbow_threshold(SORTED) == pytest.approx(0.19)
    assert (elbow_threshold(SORTED) <= SORTED).sum() == 4
    assert elbow_threshold(1000 * SORTED) == pytest.approx(190)


def test_the_elbow_is_a_value_not_a_place() -> None:
    kept = np.flatnonzero(elbow_threshold(SHUFFLED) <= SHUFFLED)
    assert kept.tolist() == [0, 3, 6, 8]


@pytest.mark.parametrize(
    "values",
    [[0.2] * 6, [0.0, 0.5, 0.8, 0.9, 1.0], [0.0, 0.25, 0.5, 0.75, 1.0], [0.1, 0.9], [], [1]],
)
def test_no_elbow_keeps_all(values: list[float]) -> None:
    assert elbow_threshold(np.array(values, float)) == -math.inf


def test_elbows_of_many_and_of_tensors() -> None:
    table = np.stack([SORTED, SHUFFLED, np.full(10, 0.3), 2 * SORTED])
    expected = [0.19, 0.19, -math.inf, 0.38]
    np.testing.assert_allclose(elbow_threshold(table), expected)
    found = elbow_threshold(torch.as_tensor(table, dtype=torch.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_sums_that_are_not_numbers() -> None:
    with pytest.raises(InputError, match="not finite"):
        elbow_threshold(np.array([0.1, math.nan, 0.3]))


@settings(max_examples=40)
@given(
    hnp.arrays(np.float64, st.integers(3, 30), elements=st.integers(0, 1000)),
    st.integers(1, 64),
    st.randoms(use_true_random=False),
)
def test_elbow_properties(values: np.ndarray, scale: int, random: Any) -> None:
    tau = float(elbow_threshold(values))
    shuffled = values.tolist()
    random.shuffle(shuffled)
    assert elbow_threshold(np.array(shuffled)) == tau
    assert elbow_threshold(values * scale) == tau * scale
    assert (values >= tau).any()
    if math.isfinite(tau):
        assert values.min() < tau <= values.max()


def test_area_and_mass() -> None:
    heat = peaks(4, 4, {(0, 0): 0.6, (3, 2): 0.2, (3, 3): 0.2})
    # cells: 1/3 and 2/3; attention above the mean of .0625: .5375 and .275, shares .6615 and .3385
    assert spatial_entropy(heat) == pytest.approx(0.636514, abs=1e-6)
    assert spatial_entropy(heat, weighting="mass") == pytest.approx(0.640010, abs=1e-6)


def test_a_constant_map_is_the_worst_not_the_best() -> None:
    assert spatial_entropy(np.full((24, 24), 0.1)) == math.inf
    assert spatial_entropy(np.zeros((4, 4)), weighting="mass") == math.inf
    assert spatial_entropy(torch.full((3, 24, 24), 0.1)).tolist() == [math.inf] * 3


def test_min_excess_cuts_higher() -> None:
    heat = peaks(5, 5, {(0, 0): 8, (0, 4): 4, (4, 0): 4})  # mean 0.64
    assert spatial_entropy(heat, min_excess=1) == pytest.approx(math.log(3))
    assert spatial_entropy(heat, min_excess=10) == 0


@settings(max_examples=40)
@given(
    hnp.arrays(np.float64, (3, 6, 5), elements=st.integers(0, 50)),
    st.integers(1, 32),
    st.integers(0, 64),
    st.sampled_from(["area", "mass"]),
)
def test_entropy_properties(maps: np.ndarray, scale: int, offset: int, weighting: Any) -> None:
    entropy = spatial_entropy(maps, weighting=weighting)
    cells = maps[0].size
    assert ((entropy >= 0) & ((entropy <= math.log(cells)) | np.isinf(entropy))).all()
    changed = spatial_entropy(scale * maps + offset, weighting=weighting)
    np.testing.assert_allclose(changed, entropy, atol=1e-9)
    padded = np.pad(maps, ((0, 0), (2, 1), (0, 3)), constant_values=77)
    valid = np.pad(np.ones(maps.shape[1:], bool), ((2, 1), (0, 3)))
    np.testing.assert_allclose(
        spatial_entropy(padded, valid=valid, weighting=weighting), entropy, atol=1e-9
    )
    np.testing.assert_allclose(attention_sum(padded, valid=valid), maps.sum((1, 2)))
    np.testing.assert_allclose(map_centroid(maps[:, ::-1])[:, 1], 1 - map_centroid(maps)[:, 1])


def test_the_lowest_finite_candidates_are_taken() -> None:
    entropy = np.array([[0.5, 0.1, math.inf], [0.1, 0.0, 0.1]])
    candidates = np.array([[True, True, True], [True, False, True]])
    two = select_low_entropy(entropy, candidates, count=2)  # of three at 0.1 the first two
    assert two.tolist() == [[False, True, False], [True, False, False]]
    assert select_low_entropy(entropy, candidates).sum() == 4  # the infinite one never
    tensors = select_low_entropy(torch.as_tensor(entropy), torch.as_tensor(candidates), count=2)
    assert tensors.tolist() == two.tolist()
    assert not select_low_entropy(entropy, np.zeros((2, 3), bool)).any()


@given(hnp.arrays(np.float64, (2, 3, 4), elements=st.floats(0, 9)), st.permutations(range(4)))
def test_permuting_heads_permutes_what_is_taken(entropy: np.ndarray, order: list[int]) -> None:
    unique = entropy + np.arange(entropy.size).reshape(entropy.shape) * 1e-3
    everyone = np.ones(entropy.shape[1:], bool)
    if len(np.unique(unique)) < unique.size:
        return
    taken = select_low_entropy(unique, everyone, count=5)
    assert taken.sum((1, 2)).tolist() == [5, 5]
    permuted = select_low_entropy(unique[..., order], everyone, count=5)
    np.testing.assert_array_equal(permuted, taken[..., order])


def test_centres() -> None:
    assert map_centroid(peaks(4, 8, {(0, 0): 1})).tolist() == [1 / 16, 1 / 8]
    assert map_centroid(peaks(4, 8, {(0, 7): 1, (3, 7): 1})).tolist() == [15 / 16, 0.5]
    assert map_centroid(np.zeros((4, 8))).tolist() == [0.5, 0.5]
    valid = np.arange(8)[None] < 4
    spilt = peaks(4, 8, {(0, 0): 1, (3, 7): 9})
    assert map_centroid(spilt, valid=np.broadcast_to(valid, (4, 8))).tolist() == [1 / 16, 1 / 8]
    tensor = map_centroid(torch.as_tensor(peaks(4, 8, {(0, 0): 1})))
    assert tensor.tolist() == [1 / 16, 1 / 8]


def test_cells_of_padding_and_without_token_do_not_count() -> None:
    # 640 x 480 padded to a square of 640: 80 px above and below are 3 rows of 26.67 px each
    padded = view((24, 24), (0, -80, 640, 560))
    inside = valid_cells(padded, (640, 480))
    assert inside[3:21].all()
    assert not inside[:3].any()
    assert not inside[21:].any()
    positions = np.where(np.arange(6) == 4, -1, np.arange(6))
    holes = ImageView((2, 3), positions, (0.0, 0.0, 3.0, 2.0))
    assert valid_cells(holes, (3, 2)).tolist() == [[True] * 3, [True, False, True]]


def test_a_sink_in_the_padding_hides_nothing() -> None:
    padded = view((24, 24), (0, -80, 640, 560))
    heat = peaks(24, 24, {(0, 0): 50.0, (1, 1): 50.0})
    heat[6:15, 6:12] = 1
    valid = valid_cells(padded, (640, 480))
    assert spatial_entropy(heat, valid=valid) == 0
    fused = fuse_maps(heat[None], sigma=0, valid=valid)
    found = map_to_box(fused, padded.region, image_wh=(640, 480), valid=valid)
    assert found.box == pytest.approx((160, 80, 320, 320))


def test_maps_are_smoothed_and_added() -> None:
    maps = np.zeros((3, 9, 9))
    maps[:, 4, 4] = [1, 2, 3]
    assert fuse_maps(maps)[4, 4] == pytest.approx(6 * 0.159241, abs=1e-5)
    assert fuse_maps(maps, kernel=1, sigma=0)[4, 4] == 6
    assert fuse_maps(maps).sum() == pytest.approx(6)


def test_tiles_are_pasted_where_they_lie() -> None:
    whole = view((2, 2), (0.0, 0.0, 80.0, 80.0))
    tiles = [view((2, 2), (x, y, x + 40.0, y + 40.0)) for y in (0.0, 40.0) for x in (0.0, 40.0)]
    maps = [np.zeros((1, 2, 2)) for _ in range(5)]
    maps[4][0, 1, 0] = 0.3  # last tile, lower left: canvas cell row 3, column 2
    maps[0][0, 1, 1] = 0.1  # the whole picture's lower right quarter, a share of 1/4
    merged, region = merge_views(maps, [whole, *tiles])
    assert region == (0, 0, 80, 80)
    expected = np.zeros((4, 4))
    expected[2:, 2:] = 0.25 * 0.1 / 4
    expected[3, 2] += 0.3
    np.testing.assert_allclose(merged[0], expected)
    as_tensors, _ = merge_views([torch.as_tensor(m) for m in maps], [whole, *tiles])
    np.testing.assert_allclose(as_tensors[0], expected)


def test_merging_needs_tiles() -> None:
    with pytest.raises(InputError, match="1 maps of 1 views"):
        merge_views([np.zeros((2, 2))], [view((2, 2), (0.0, 0.0, 2.0, 2.0))])
