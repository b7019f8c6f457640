from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headsight.eval.bootstrap import bootstrap_intervals, ratios


def parts(above: Any, below: Any) -> Any:
    return {"share": (np.array(above, float), np.array(below, float))}


def test_a_ratio_of_sums() -> None:
    """(50 + 0 + 900) / (100 + 80 + 1000); the last two alone: 900 / 1080."""
    table = parts([50, 0, 900], [100, 80, 1000])
    assert ratios(table) == {"share": 950 / 1180}
    assert ratios(table, np.array([False, True, True])) == {"share": 900 / 1080}


def test_nothing_below_the_line_is_nan() -> None:
    assert np.isnan(ratios(parts([0, 0], [0, 0]))["share"])
    assert np.isnan(ratios(parts([], []))["share"])
    assert bootstrap_intervals(parts([0, 0], [0, 0]), ["a", "b"]) == {}
    assert bootstrap_intervals(parts([], []), []) == {}
    assert bootstrap_intervals(parts([1], [1]), ["a"], resamples=0) == {}


def test_the_spread_of_a_share_is_the_binomial_one() -> None:
    """400 pictures, half right: standard error sqrt(0.25 / 400) = 0.025, 95 % within 1.96 of it."""
    table = parts(np.arange(400) % 2, np.ones(400))
    low, high = bootstrap_intervals(table, [str(i) for i in range(400)], resamples=4000)["share"]
    assert low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.004)
    assert high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.004)


def test_pictures_are_redrawn_whole() -> None:
    """Ten sentences on each of 40 pictures, all right or all wrong: as wide as for 40, not 400."""
    right = np.repeat(np.arange(40) % 2, 10)
    names = np.repeat(np.arange(40), 10).astype(str).tolist()
    low, high = bootstrap_intervals(parts(right, np.ones(400)), names, resamples=2000)["share"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 40), rel=0.1)


def test_it_is_what_a_plain_loop_gives() -> None:
    """Ratios of whole pictures redrawn one by one; 2000 resamples each, other random numbers."""
    rng = np.random.default_rng(5)
    pictures = rng.integers(0, 30, 200)
    union = rng.integers(1, 1000, 200).astype(float)
    overlap = (union * rng.random(200)).round()
    drawn = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(pictures == p) for p in rng.integers(0, 30, 30)])
        drawn.append(overlap[rows].sum() / union[rows].sum())
    found = bootstrap_intervals(
        parts(overlap, union), pictures.astype(str).tolist(), resamples=2000
    )
    np.testing.assert_allclose(found["share"], np.percentile(drawn, [2.5, 97.5]), atol=0.006)


def test_the_seed_decides() -> None:
    table = parts(np.arange(50) % 3, np.full(50, 3))
    names = [str(i) for i in range(50)]
    first, again, other = (
        bootstrap_intervals(table, names, resamples=200, seed=s) for s in (1, 1, 2)
    )
    assert first == again != other


def test_resamples_without_the_figure_are_left_out() -> None:
    """One of two pictures has it: a quarter of the resamples never draws that one."""
    found = bootstrap_intervals(parts([1, 0], [1, 0]), ["a", "b"], resamples=100)
    assert found["share"] == [1, 1]


def test_one_picture_has_no_spread() -> None:
    assert bootstrap_intervals(parts([1, 0], [1, 1]), ["a", "a"], resamples=9)["share"] == [
        0.5,
        0.5,
    ]
