from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from headsight.geometry.components import component_entropy, label_components

EIGHT = np.ones((3, 3))


def entropy_by_loop(mask: np.ndarray, weights: np.ndarray | None = None) -> float:
    """One mask at a time, by scipy and the formula."""
    labels, count = ndimage.label(mask, EIGHT)
    if count == 0:
        return math.inf
    values = np.ones(mask.shape) if weights is None else weights
    parts = np.array([values[labels == i].sum() for i in range(1, count + 1)])
    shares = parts[parts > 0] / parts.sum()
    return float(-(shares * np.log(shares)).sum())


def mask_of(height: int, width: int, *cells: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[tuple(np.array(cells).T)] = True
    return mask


def test_nine_cells_and_one() -> None:
    mask = np.zeros((6, 6), bool)
    mask[:3, :3] = mask[5, 5] = True
    # -0.9 ln 0.9 - 0.1 ln 0.1 = 0.094824 + 0.230259
    assert component_entropy(mask) == pytest.approx(0.325083, abs=1e-6)


def test_a_diagonal_is_one_component() -> None:
    assert component_entropy(mask_of(4, 4, (0, 0), (1, 1), (2, 2))) == 0
    assert component_entropy(mask_of(4, 4, (0, 3), (1, 2), (2, 1), (3, 0))) == 0


def test_four_corners() -> None:
    corners = mask_of(5, 5, (0, 0), (0, 4), (4, 0), (4, 4))
    assert component_entropy(corners) == pytest.approx(math.log(4), abs=1e-12)


def test_no_cell_is_infinite_and_all_cells_are_one_place() -> None:
    assert component_entropy(np.zeros((3, 3), bool)) == math.inf
    assert component_entropy(np.ones((3, 3), bool)) == 0


def test_area_and_mass() -> None:
    mask = mask_of(4, 4, (0, 0), (3, 2), (3, 3))
    mass = np.zeros((4, 4))
    mass[0, 0], mass[3, 2], mass[3, 3] = 0.6, 0.2, 0.2
    # cells 1/3 and 2/3; attention 0.6 and 0.4
    assert component_entropy(mask) == pytest.approx(0.636514, abs=1e-6)
    assert component_entropy(mask, mass) == pytest.approx(0.673012, abs=1e-6)


def test_leading_axes_are_kept() -> None:
    masks = np.random.default_rng(0).random((2, 3, 5, 4)) > 0.5
    assert component_entropy(masks).shape == (2, 3)
    assert component_entropy(masks[:0]).shape == (0, 3)
    assert component_entropy(masks[0, 0]).shape == ()
    assert label_components(masks)[0].shape == masks.shape
    assert label_components(masks[:0])[1] == 0


def snake(height: int, width: int) -> np.ndarray:
    """One line that winds through the whole grid."""
    mask = np.zeros((height, width), bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    return mask


def spiral(side: int) -> np.ndarray:
    """One line that winds to the middle."""
    mask = np.zeros((side, side), bool)
    top, left, bottom, right = 0, 0, side - 1, side - 1
    while top <= bottom and left <= right:
        mask[top, max(left - 1, 0) : right + 1] = True
        mask[top : bottom + 1, right] = True
        mask[bottom, left : right + 1] = True
        mask[min(top + 2, bottom) : bottom + 1, left] = True
        top, left, bottom, right = top + 2, left + 2, bottom - 2, right - 2
    return mask


@pytest.mark.parametrize("winding", [snake(24, 24), snake(17, 30), spiral(24), spiral(15)])
def test_winding_lines_among_many_masks(winding: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    masks = generator.random((200, *winding.shape)) < 0.4
    masks[::5] = winding
    masks[3], masks[4] = False, True
    expected = [entropy_by_loop(mask) for mask in masks]
    np.testing.assert_allclose(component_entropy(masks), expected, atol=1e-11)


@pytest.mark.parametrize("grid", [(24, 24), (1, 1), (1, 9), (7, 1), (15, 16), (16, 17), (33, 34)])
@pytest.mark.parametrize("density", [0.05, 0.25, 0.4, 0.6])
def test_many_masks_equal_the_loop(grid: tuple[int, int], density: float) -> None:
    masks = np.random.default_rng(1).random((150, *grid)) < density
    expected = [entropy_by_loop(mask) for mask in masks]
    np.testing.assert_allclose(component_entropy(masks), expected, atol=1e-11)
    np.testing.assert_allclose(component_entropy(masks[:9]), expected[:9], atol=1e-11)


def test_equal_divisions_compare_equal() -> None:
    masks = np.zeros((100, 24, 24), bool)
    for i, mask in enumerate(masks):
        mask[i % 20, :3] = mask[i % 20 + 2 :, 8 + i % 5] = False
        mask[2 + i % 17, 3 + i % 13] = mask[(i % 17) // 9, :2] = True
        mask[22, 20:23] = True
    _, counts = np.unique(component_entropy(masks), return_counts=True)
    expected = [round(entropy_by_loop(mask), 9) for mask in masks]
    assert len(counts) == len(set(expected))


shapes = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)


@settings(max_examples=60)
@given(hnp.arrays(bool, shapes))
def test_labels_are_those_of_each_mask_alone(masks: np.ndarray) -> None:
    labels, count = label_components(masks)
    seen: set[int] = set()
    for mask, mine in zip(masks, labels, strict=True):
        np.testing.assert_array_equal(mine > 0, mask)
        theirs, parts = ndimage.label(mask, EIGHT)
        pairs = {(int(a), int(b)) for a, b in zip(mine[mask], theirs[mask], strict=True)}
        assert len(pairs) == parts  # one to one
        numbers = {a for a, _ in pairs}
        assert len(numbers) == parts
        assert not numbers & seen
        seen |= numbers
    assert seen == set(range(1, count + 1))


@settings(max_examples=40)
@given(hnp.arrays(bool, shapes), st.integers(0, 3))
def test_turning_and_mirroring_change_nothing(masks: np.ndarray, turns: int) -> None:
    tiled = np.concatenate([masks] * 100)[:100]  # enough for the sweeps
    expected = component_entropy(masks)
    assert np.isinf(expected).tolist() == (~masks.any((1, 2))).tolist()
    turned = np.rot90(tiled, turns, (1, 2))[:, ::-1]
    np.testing.assert_array_equal(component_entropy(turned)[: len(masks)], expected[:100])


@given(st.integers(0, 10**6))
def test_mass_equals_the_loop(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mass = generator.random((4, 6, 5))
    masks = generator.random(mass.shape) < 0.4
    expected = [entropy_by_loop(*pair) for pair in zip(masks, mass, strict=True)]
    np.testing.assert_allclose(component_entropy(masks, mass), expected, atol=1e-9)
