from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headsight.attention.selection import (
    PRESETS,
    HeadStatistics,
    SelectionRule,
    candidate_heads,
    head_statistics,
    sample_heads,
)
from headsight.attention.selection_counts import SelectionCounts, diagnose, frequency_spread
from headsight.errors import ConfigError, InputError, ResumeError

PAPER = PRESETS["paper"]
SMALL = SelectionRule(num_low=2, skip_layers=0)


def statistics(
    sums: Any, entropies: Any, centroids: Any = 0.5, *, overlaps: Any = None
) -> HeadStatistics:
    table = np.array(sums, float)
    centres = np.broadcast_to(np.array(centroids, float), (*table.shape, 2)).copy()
    return HeadStatistics(table, np.array(entropies, float), centres, (10, 20), overlaps)


def random_maps(seed: int, layers: int = 4, heads: int = 5, side: int = 8) -> np.ndarray:
    generator = np.random.default_rng(seed)
    maps = generator.exponential(size=(layers, heads, side, side)) ** 2
    scale = generator.choice([0.05, 0.1, 0.5, 0.7], (layers, heads, 1, 1))
    return (maps / maps.sum((-2, -1), keepdims=True) * scale).astype(np.float32)


def counted(maps: list[np.ndarray], rule: SelectionRule) -> SelectionCounts:
    counts = SelectionCounts(*maps[0].shape[:2], rule)
    for sample in maps:
        counts.add(sample)
    return counts


def same(a: SelectionCounts, b: SelectionCounts) -> None:
    mine, theirs = a.selection(), b.selection()
    np.testing.assert_allclose(mine.frequency, theirs.frequency, atol=1e-12)
    np.testing.assert_allclose(mine.mean_entropy, theirs.mean_entropy, atol=1e-12)
    np.testing.assert_allclose(mine.centroid_std, theirs.centroid_std, atol=1e-6)
    assert mine.ranking == theirs.ranking
    assert mine.samples == theirs.samples


def test_frequencies_and_their_ties_by_hand() -> None:
    # candidates are heads 1, 2, 3. Two lowest entropies in turn: {1, 2}, {1, 3}, {1, 2}
    sums = [[0.1, 0.5, 0.5, 0.6]]
    counts = SelectionCounts(1, 4, replace(SMALL, tau=0.3))
    for entropies in ([[0, 0.1, 0.2, 0.3]], [[0, 0.1, 0.9, 0.3]], [[0, 0.1, 0.2, 0.3]]):
        counts.add_statistics(statistics(sums, entropies))
    found = counts.selection()
    np.testing.assert_allclose(found.frequency, [[0, 1, 2 / 3, 1 / 3]])
    assert found.tau == 0.3
    assert found.candidates.tolist() == [[False, True, True, True]]
    assert found.ranking == ((0, 1), (0, 2), (0, 3))
    assert found.top(2) == ((0, 1), (0, 2))
    np.testing.assert_allclose(found.mean_entropy, [[0, 0.1, 1.3 / 3, 0.3]])


def test_equal_frequencies_are_ranked_by_mean_entropy_then_by_place() -> None:
    counts = SelectionCounts(1, 4, replace(SMALL, tau=0.0, num_low=4))
    counts.add_statistics(statistics([[1, 1, 1, 1]], [[0.5, 0.2, 0.2, math.inf]]))
    found = counts.selection()
    assert found.ranking == ((0, 1), (0, 2), (0, 0))  # the infinite one is never taken
    assert math.isnan(found.mean_entropy[0, 3])


def test_the_mean_filter_waits_for_the_mean() -> None:
    # head 0 looks at the picture in the first sample only: no candidate by its mean sum
    counts = SelectionCounts(1, 4, replace(SMALL, tau=0.4, num_low=1))
    counts.add_statistics(statistics([[0.9, 0.5, 0.5, 0.5]], [[0.0, 0.1, 0.2, 0.3]]))
    assert counts.selection().ranking == ((0, 0),)
    counts.add_statistics(statistics([[0.0, 0.5, 0.5, 0.5]], [[0.0, 0.1, 0.2, 0.3]]))
    counts.add_statistics(statistics([[0.0, 0.5, 0.5, 0.5]], [[0.0, 0.1, 0.2, 0.3]]))
    assert counts.selection().frequency.tolist() == [[0, 1, 0, 0]]
    each = SelectionCounts(1, 4, replace(counts.rule, sum_filter="per_sample"))
    for first in (0.9, 0.0):
        each.add_statistics(statistics([[first, 0.5, 0.5, 0.5]], [[0.0, 0.1, 0.2, 0.3]]))
    assert each.selection().frequency.tolist() == [[0.5, 0.5, 0, 0]]


@pytest.mark.parametrize(
    ("criteria", "expected"), [("both", (0, 2)), ("sum", (0, 3)), ("entropy", (0, 0))]
)
def test_criteria(criteria: Any, expected: tuple[int, int]) -> None:
    rule = replace(SMALL, criteria=criteria, tau=0.3, num_low=1)
    sample = statistics([[0.1, 0.2, 0.5, 0.6]], [[0.0, 0.3, 0.1, 0.9]])
    counts = SelectionCounts(1, 4, rule)
    counts.add_statistics(sample)
    assert counts.selection().ranking == (expected,)
    assert sample_heads(sample, rule, count=1) == (expected,)


def test_greedy_heads_are_those_of_the_sample_best_first() -> None:
    sample = statistics([[0.1, 0.5, 0.5, 0.5]], [[0.0, 0.3, 0.1, 0.2]])
    assert sample_heads(sample, replace(SMALL, tau=0.3)) == ((0, 2), (0, 3), (0, 1))


def test_the_first_layers_are_never_candidates() -> None:
    sums = np.full((4, 3), 0.9)
    candidates, _ = candidate_heads(sums, replace(PAPER, tau=0.5))
    assert candidates.tolist() == [[False] * 3] * 2 + [[True] * 3] * 2
    curve = np.concatenate((np.full((2, 10), 0.9), np.linspace(0, 1, 20).reshape(2, 10) ** 8))
    kept, tau = candidate_heads(curve, PAPER)
    alone, same_tau = candidate_heads(curve[2:], replace(PAPER, skip_layers=0))
    assert tau == same_tau  # nor part of the curve
    np.testing.assert_array_equal(kept[2:], alone)
    with pytest.raises(InputError, match="Maps of 2 layers"):
        candidate_heads(sums[:2], PAPER)


def test_no_elbow_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    candidates, tau = candidate_heads(np.full((2, 3), 0.4), SMALL)
    assert candidates.all()
    assert tau == -math.inf
    assert "no elbow in the attention sums heads=6" in caplog.text


def test_statistics_of_maps() -> None:
    maps = np.zeros((3, 2, 6, 6), np.float32)
    maps[..., 0, 0] = 0.25
    maps[2, 1, :3, :3], maps[2, 1, 5, 5] = 0.05, 0.05
    truth = np.zeros((6, 6), bool)
    truth[:3, :3] = True
    found = head_statistics(maps, PAPER, truth=truth)
    assert np.isnan(found.entropies[:2]).all()  # not looked at
    assert found.entropies[2] == pytest.approx([0, 0.325083], abs=1e-6)
    assert found.sums[2] == pytest.approx([0.25, 0.5])
    assert found.overlaps is not None
    assert found.overlaps[2] == pytest.approx([1 / 9, 0.9])
    assert found.centroids[2, 0] == pytest.approx([1 / 12, 1 / 12])
    assert np.isnan(found.centroids[:2]).all()
    assert found.grid_hw == (6, 6)
    tensor = head_statistics(torch.as_tensor(maps), PAPER)
    np.testing.assert_array_equal(tensor.entropies, found.entropies)
    only = np.zeros((3, 2), bool)
    only[2, 0] = True
    some = head_statistics(maps, PAPER, wanted=only)
    assert np.isfinite(some.entropies).tolist() == only.tolist()


def test_maps_of_another_shape() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 3, 4\)"):
        head_statistics(np.zeros((2, 3, 4)))
    with pytest.raises(InputError, match="counts are of"):
        SelectionCounts(2, 3, SMALL).add(np.zeros((2, 4, 5, 5)))
    with pytest.raises(InputError, match="No sample"):
        SelectionCounts(2, 3).selection()


@pytest.mark.parametrize("criteria", ["both", "sum", "entropy"])
@pytest.mark.parametrize("sum_filter", ["mean", "per_sample"])
def test_frequencies_sum_to_the_heads_taken(criteria: Any, sum_filter: Any) -> None:
    rule = SelectionRule(
        criteria=criteria, sum_filter=sum_filter, num_low=3, skip_layers=1, tau=0.0
    )
    found = counted([random_maps(seed) for seed in range(12)], rule).selection()
    assert found.frequency.sum() == pytest.approx(3)
    assert not found.frequency[0].any()


@settings(max_examples=25)
@given(
    st.integers(1, 12),
    st.integers(0, 12),
    st.sampled_from(["mean", "per_sample"]),
    st.integers(1, 15),
)
def test_merging_and_resuming_change_nothing(
    samples: int, cut: int, sum_filter: Any, settle_after: int
) -> None:
    rule = SelectionRule(
        num_low=2, skip_layers=1, sum_filter=sum_filter, tau=0.3, settle_after=settle_after
    )
    maps = [random_maps(seed) for seed in range(samples)]
    whole = counted(maps, rule)
    saved = SelectionCounts(4, 5, rule)
    for sample in maps[:cut]:
        saved.add(sample)
    saved = SelectionCounts.from_dict(json.loads(json.dumps(saved.to_dict())))
    for sample in maps[cut:]:
        saved.add(sample)
    same(whole, saved)
    if settle_after > samples:
        parts = [counted(part, rule) for part in (maps[:cut], maps[cut:]) if part]
        same(whole, parts[0].merge(parts[1]) if len(parts) == 2 else parts[0])


def test_memory_is_bounded_once_settled() -> None:
    rule = SelectionRule(num_low=2, skip_layers=1, settle_after=3)
    sizes = [len(json.dumps(counted([random_maps(0)] * n, rule).to_dict())) for n in (3, 40)]
    assert abs(sizes[1] - sizes[0]) < 0.5 * sizes[0]
    assert not counted([random_maps(0)] * 3, rule).to_dict()["orders"]


def test_settled_counts_merge_only_on_the_same_candidates() -> None:
    rule = replace(SMALL, tau=0.3, settle_after=1)
    one, other = SelectionCounts(1, 2, rule), SelectionCounts(1, 2, rule)
    one.add_statistics(statistics([[0.5, 0.1]], [[0.1, 0.2]]))
    other.add_statistics(statistics([[0.1, 0.5]], [[0.1, 0.2]]))
    with pytest.raises(InputError, match="different candidates"):
        one.merge(other)
    given_both = np.ones((1, 2), bool)
    both = [SelectionCounts(1, 2, rule, candidates=given_both) for _ in range(2)]
    for counts, sums in zip(both, ([[0.5, 0.1]], [[0.1, 0.5]]), strict=True):
        counts.add_statistics(statistics(sums, [[0.1, 0.2]]))
    assert both[0].merge(both[1]).selection().frequency.tolist() == [[1, 1]]
    with pytest.raises(InputError, match="cannot be merged"):
        one.merge(SelectionCounts(1, 3, rule))


@pytest.mark.parametrize("spoilt", ["samples", "totals", "rule", "shape"])
def test_counts_that_cannot_be_continued(spoilt: str) -> None:
    record = counted([random_maps(0)], SelectionRule(skip_layers=1)).to_dict()
    record[spoilt] = {"nothing": 1}
    with pytest.raises(ResumeError, match="saved counts cannot be read"):
        SelectionCounts.from_dict(record)


def test_a_head_that_never_moves_is_found_out() -> None:
    rule = replace(SMALL, tau=0.3)
    counts = SelectionCounts(1, 3, rule)
    for x in (0.2, 0.8):
        centres = [[[0.1, 0.1], [x, 0.5], [x, x]]]
        overlaps = np.array([[0.01, 0.5, 0.6]])
        sums = [[0.5, 0.5, 0.5]]
        counts.add_statistics(statistics(sums, [[0, 0.1, 0.2]], centres, overlaps=overlaps))
    found = counts.selection()
    # x moves by 0.3 of 20 columns, y of the last head by 0.3 of 10 rows
    np.testing.assert_allclose(found.centroid_std, [[0, 6, math.hypot(6, 3)]], atol=1e-6)
    assert found.is_fixed.tolist() == [[True, False, False]]
    notes = diagnose(found)
    assert [note.head for note in notes] == [(0, 0), (0, 1)]
    assert "same place in every picture" in notes[0].faults[0]
    assert "mean IoU 0.01" in notes[0].faults[1]
    assert notes[1].faults == ()
    robust = SelectionCounts.from_dict(
        {**counts.to_dict(), "rule": {**counts.to_dict()["rule"], "exclude_fixed_position": True}}
    )
    assert robust.selection().top() == ((0, 1),)
    unlabelled = SelectionCounts(1, 3, rule)
    unlabelled.add_statistics(statistics([[0.5, 0.5, 0.5]], [[0, 0.1, 0.2]]))
    assert not unlabelled.selection().is_fixed.any()  # one sample tells nothing
    assert diagnose(unlabelled.selection(), [(0, 2)])[0].mean_iou is None


def test_spread_over_draws() -> None:
    rule = replace(SMALL, tau=0.3, num_low=1)
    draws = []
    for entropies in ([[0.1, 0.2]], [[0.2, 0.1]]):
        counts = SelectionCounts(1, 2, rule)
        counts.add_statistics(statistics([[0.5, 0.5]], entropies))
        draws.append(counts.selection())
    mean, std = frequency_spread(draws)
    assert mean.tolist() == std.tolist() == [[0.5, 0.5]]
    with pytest.raises(InputError, match="No selections"):
        frequency_spread([])


@pytest.mark.parametrize(
    "wrong", [{"tau": 24.0}, {"num_low": 0}, {"settle_after": 0}, {"skip_layers": -1}]
)
def test_rules_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SelectionRule(**wrong)
