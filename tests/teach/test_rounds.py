"""Groups of keypoints: the cases of the paper's code, and those in which it crashes."""

from __future__ import annotations

import numpy as np
import pytest

from headsight.teach.rounds import dynamic_groups, fixed_groups


@pytest.mark.parametrize(
    ("count", "sizes", "fillers"), [(17, [4] * 5, 3), (8, [4, 4], 0), (3, [3], 0), (1, [1], 0)]
)
def test_fixed_groups(count: int, sizes: list[int], fillers: int) -> None:
    for seed in range(20):
        groups = fixed_groups(range(count), 4, np.random.default_rng(seed))
        assert [len(group) for group in groups] == sizes
        said = [i for group in groups for i in group]
        assert set(said) == set(range(count))
        assert len(said) - count == fillers
        assert all(len(set(group)) == len(group) for group in groups)


def test_dynamic_groups() -> None:
    seen = set()
    for seed in range(200):
        groups = dynamic_groups([2, 3, 5, 7, 11, 13, 17, 19, 23], 8, np.random.default_rng(seed))
        assert sorted(i for group in groups for i in group) == [2, 3, 5, 7, 11, 13, 17, 19, 23]
        seen |= {len(group) for group in groups}
    assert seen == set(range(1, 9))
    assert dynamic_groups([], 8, np.random.default_rng(0)) == []
