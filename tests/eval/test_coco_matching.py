"""Greedy matching, by hand and against a plain loop over thresholds, detections and truths."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headsight.eval.coco_matching import greedy_match


def test_the_best_free_truth_and_one_that_counts_first() -> None:
    overlaps = np.array([[0.6, 0.9], [0.7, 0.8], [0.55, 0.52]])
    thresholds = np.array([0.5, 0.75])
    every = np.ones((2, 2), bool)
    nobody = np.zeros(2, bool)
    # 0 takes truth 1; 1 what is left, if it reaches; 2 nothing
    matched = greedy_match(overlaps, thresholds, every, nobody)
    assert matched.tolist() == [[1, 0, -1], [1, -1, -1]]
    counts = np.array([[True, False]] * 2)
    assert greedy_match(overlaps, thresholds, counts, nobody).tolist() == [[0, 1, -1], [1, -1, -1]]
    crowd = np.array([False, True])
    assert greedy_match(overlaps, thresholds, counts, crowd).tolist() == [[0, 1, 1], [1, 1, -1]]


def test_no_truth_and_no_detection() -> None:
    for n, m in ((2, 0), (0, 2), (0, 0)):
        found = greedy_match(
            np.zeros((n, m)), np.array([0.5]), np.ones((1, m), bool), np.zeros(m, bool)
        )
        assert found.tolist() == [[-1] * n]


@settings(max_examples=30)
@given(st.integers(0, 9999))
def test_the_same_as_a_plain_loop(seed: int) -> None:
    """Overlaps on a coarse grid, so that equal ones are common."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 6, 2)
    overlaps = rng.integers(0, 11, (n, m)) / 10
    thresholds = np.array([0.5, 0.7, 1.0])
    crowd = rng.random(m) < 0.3
    counts = (rng.random((3, m)) < 0.6) & ~crowd
    expected = [loop(overlaps, t, c, crowd) for t, c in zip(thresholds, counts, strict=True)]
    assert greedy_match(overlaps, thresholds, counts, crowd).tolist() == expected


def loop(
    overlaps: np.ndarray, threshold: float, counts: np.ndarray, crowd: np.ndarray
) -> list[int]:
    """As the reference writes it: truths that count come first, the walk ends at the others."""
    taken: set[int] = set()
    result = []
    for row in overlaps:
        best, found = min(threshold, 1 - 1e-10), -1
        for truth in sorted(range(len(row)), key=lambda g: not counts[g]):
            if truth in taken and not crowd[truth]:
                continue
            if found >= 0 and counts[found] and not counts[truth]:
                break
            if row[truth] >= best:
                best, found = row[truth], truth
        if found >= 0:
            taken.add(found)
        result.append(found)
    return result


def test_a_perfect_overlap_reaches_one() -> None:
    nobody = np.zeros(1, bool)
    assert greedy_match(np.ones((1, 1)), np.ones(1), ~nobody[None], nobody).tolist() == [[0]]
