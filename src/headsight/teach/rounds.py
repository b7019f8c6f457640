"""Which keypoints of an object are asked in one conversation (CapeLLM, arXiv 2411.06869).

The paper varies the number of rounds of a row but does not tell how; ours is drawn from 1 to 8.
"""

from __future__ import annotations

__all__ = ["dynamic_groups", "fixed_groups"]

from collections.abc import Sequence

import numpy as np


def fixed_groups(ids: Sequence[int], k: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Shuffled groups of `k`; a last short one is filled up with ids of the groups before it.

    Fewer than `k` ids are one group without a filler.
    """
    order = [int(i) for i in rng.permutation(np.asarray(ids, dtype=np.int64))]
    groups = [order[start : start + k] for start in range(0, len(order), k)]
    if len(groups) > 1 and (missing := k - len(groups[-1])):
        before = order[: len(order) - len(groups[-1])]
        groups[-1] += [int(i) for i in rng.choice(before, missing, replace=False)]
    return [tuple(group) for group in groups]


def dynamic_groups(
    ids: Sequence[int], most: int, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """Shuffled groups whose sizes are drawn from 1 to `most`; the last takes what is left."""
    order = [int(i) for i in rng.permutation(np.asarray(ids, dtype=np.int64))]
    groups = []
    while order:
        size = int(rng.integers(1, most + 1))
        groups.append(tuple(order[:size]))
        order = order[size:]
    return groups
