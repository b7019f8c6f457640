"""Old samples among new ones: exact counts, even spread, the same again for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsight.errors import ConfigError
from headsight.teach.rehearsal import Rehearsal, draw_epoch, old_count, quotas, spread

AGORA = 105_046


@pytest.mark.parametrize(
    ("ratio", "relative_to", "expected"),
    [
        (0.10, "new", 10_505),
        (0.10, "mixture", 11_672),
        (0.01, "new", 1_050),
        (0.25, "new", 26_262),
        (0.25, "mixture", 35_015),
        (0.0, "new", 0),
        (0.5, "old", 500_000),
    ],
)
def test_known_counts(ratio: float, relative_to: str, expected: int) -> None:
    rehearsal = Rehearsal(ratio=ratio, relative_to=relative_to)
    assert old_count(rehearsal, AGORA, 1_000_000) == expected


def test_nothing_old_gives_nothing() -> None:
    assert old_count(Rehearsal(ratio=0.5), 100, 0) == 0


def test_every_batch_of_64_at_one_eleventh_holds_5_or_6() -> None:
    is_old = spread(6400, 640)
    counts = [int(is_old[s : s + 64].sum()) for s in range(0, len(is_old), 64)]
    assert set(counts) <= {5, 6}
    share = np.arange(1, len(is_old) + 1) / 11
    assert np.abs(np.cumsum(is_old) - share).max() < 1


@given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 70))
def test_any_stretch_holds_its_share_to_within_one(new: int, old: int, window: int) -> None:
    is_old = spread(new, old)
    assert is_old.sum() == old
    assert len(is_old) == new + old
    for start in range(0, len(is_old) - window, 7):
        held = int(is_old[start : start + window].sum())
        assert abs(held - window * old / (new + old)) <= 1


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8), st.integers(0, 1000))
def test_quotas_sum_up_and_stay_near_their_share(weights: list[float], total: int) -> None:
    parts = quotas(weights, total)
    assert sum(parts) == total
    exact = np.array(weights) / sum(weights) * total
    assert np.abs(np.array(parts) - exact).max() < 1 + 1e-6


def test_largest_remainders_win() -> None:
    assert quotas([1.0, 1.0, 1.0], 4) == [2, 1, 1]
    assert quotas([0.5, 0.3, 0.2], 5) == [3, 1, 1]


def test_an_epoch_holds_every_new_sample_once_and_old_ones_without_repeats() -> None:
    epoch = draw_epoch(Rehearsal(ratio=0.2), 100, [50, 30], seed=1, epoch=0)
    assert len(epoch) == 120
    assert sorted(epoch.item[epoch.source == 0]) == list(range(100))
    for number, size in ((1, 50), (2, 30)):
        drawn = epoch.item[epoch.source == number]
        assert len(set(drawn)) == len(drawn)
        assert set(drawn) <= set(range(size))
    assert (epoch.source == 1).sum() == 13  # by size: 12.5 and 7.5, the first of equal remainders
    assert (epoch.source == 2).sum() == 7


def test_all_old_samples_are_seen_before_any_twice() -> None:
    seen: list[int] = []
    for number in range(5):
        epoch = draw_epoch(Rehearsal(ratio=0.1), 100, [50], seed=3, epoch=number)
        seen += epoch.item[epoch.source == 1].tolist()
    assert sorted(seen) == list(range(50))


def test_more_old_than_there_are_repeats_whole_passes() -> None:
    epoch = draw_epoch(Rehearsal(ratio=1.0), 25, [10], seed=0, epoch=0)
    counts = np.bincount(epoch.item[epoch.source == 1], minlength=10)
    assert counts.sum() == 25
    assert set(counts) == {2, 3}


def test_a_fixed_memory_is_the_same_in_every_epoch() -> None:
    def old(epoch: int) -> set[int]:
        fixed = Rehearsal(ratio=0.1, fixed_memory=True)
        drawn = draw_epoch(fixed, 100, [50], seed=3, epoch=epoch)
        return set(drawn.item[drawn.source == 1].tolist())

    assert old(0) == old(1) == old(7)
    assert len(old(0)) == 10


def test_the_seed_decides() -> None:
    def drawn(seed: int, epoch: int) -> list[int]:
        return draw_epoch(Rehearsal(ratio=0.1), 40, [50], seed=seed, epoch=epoch).item.tolist()

    assert drawn(0, 0) == drawn(0, 0)
    assert drawn(0, 0) != drawn(1, 0)
    assert drawn(0, 0) != drawn(0, 1)


@pytest.mark.parametrize("ratio", [-0.1, 1.5])
def test_ratios_outside_0_to_1_are_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match="ratio is"):
        Rehearsal(ratio=ratio)
