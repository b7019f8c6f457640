"""The size of the k-th largest change of a tensor, exactly, without sorting or holding it."""

from __future__ import annotations

__all__ = ["smallest_kept"]

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from headsight.merging.blocks import Blocks
from headsight.merging.numbers import Floats

_SAMPLE = 1 << 17
"""Numbers that are looked at first: they tell about where the k-th is."""
_MARGIN = 0.02
"""Share of all numbers on either side of that guess that are then compared exactly."""


def smallest_kept(blocks: Blocks, densities: Sequence[float]) -> list[float]:
    """For each model the size of its k-th largest change against the base, k = density * n.

    k is at least 1. A density of 1 gives 0: everything stays.
    """
    counts = [max(int(density * blocks.size), 1) for density in densities]
    wanted = {i: k for i, k in enumerate(counts) if densities[i] < 1 and blocks.size}
    sizes = _sampled(blocks, sorted(wanted))
    found = dict.fromkeys(range(len(densities)), 0.0)
    margin = _MARGIN if blocks.size > _SAMPLE else 1.0
    while wanted:
        bounds = {i: _bounds(sizes[i], k / blocks.size, margin) for i, k in wanted.items()}
        above, between = _counted(blocks, bounds)
        for index, k in list(wanted.items()):
            rank = k - above[index]  # among those between, from the largest down
            if 1 <= rank <= len(between[index]):
                place = len(between[index]) - rank
                found[index] = float(np.partition(between[index], place)[place])
                del wanted[index]
        margin *= 8  # the guess was too far off; at last everything is compared
    return [found[i] for i in range(len(densities))]


def _sampled(blocks: Blocks, indices: Sequence[int]) -> dict[int, Float32[Floats, " m"]]:
    """Sizes of some changes, in ascending order."""
    parts: dict[int, list[Floats]] = {i: [] for i in indices}
    for block in blocks.sample(_SAMPLE):
        for index in indices:
            assert block.base is not None
            parts[index].append(np.abs(block.tensors[index] - block.base))
    return {i: np.sort(np.concatenate(p)) for i, p in parts.items() if p}


def _bounds(sizes: Float32[Floats, " m"], share: float, margin: float) -> tuple[float, float]:
    """Sizes below and above the one that `share` of all are larger than."""
    low, high = 1 - share - margin, 1 - share + margin
    last = len(sizes) - 1
    return (
        float(sizes[int(low * last)]) if low > 0 else -1.0,
        float(sizes[int(np.ceil(high * last))]) if high < 1 else float("inf"),
    )


def _counted(
    blocks: Blocks, bounds: dict[int, tuple[float, float]]
) -> tuple[dict[int, int], dict[int, Float32[Floats, " m"]]]:
    """For each model how many changes are above its bounds, and the sizes of those between."""
    above = dict.fromkeys(bounds, 0)
    between: dict[int, list[Floats]] = {i: [] for i in bounds}
    for block in blocks:
        for index, (low, high) in bounds.items():
            assert block.base is not None
            size = block.tensors[index] - block.base
            np.abs(size, out=size)
            is_above = size > np.float32(high)
            above[index] += int(np.count_nonzero(is_above))
            inside = size >= np.float32(low)
            inside ^= is_above
            between[index].append(size[inside])
    return above, {i: np.concatenate(parts) for i, parts in between.items()}
