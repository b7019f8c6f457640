"""Old samples mixed into new ones at an exact ratio: how many, which, and in what order.

Rehearsal keeps old skills alive while a new one is taught (HPE-CogVLM, arXiv 2406.01914). Nothing
is left to chance but which samples are drawn: counts are exact, and old samples are spread over an
epoch evenly, so that no batch is without them or full of them. Everything is a function of the
seed and the place, so that a run that was killed goes on with the same batches.
"""

from __future__ import annotations

__all__ = ["Epoch", "Rehearsal", "draw_epoch", "old_count", "quotas", "spread"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from headsight.errors import ConfigError

Indices: TypeAlias = Int[NDArray[np.int64], " _"]


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """How much of the old is mixed in."""

    ratio: int | float = 0
    """Share of old samples, 0 = none; see `relative_to` for its meaning."""
    relative_to: str = "new"
    """`new`: so many old samples for each new one. `mixture`: share of the epoch. `old`: share of
    the old samples, always the same ones (a memory)."""
    fixed_memory: bool = False
    """The same old samples in every epoch, rather than others until all were seen."""

    def __post_init__(self) -> None:
        most = 1.0 if self.relative_to != "mixture" else 0.99
        if self.relative_to not in ("new", "mixture", "old"):
            raise ConfigError(
                f"relative_to is {self.relative_to!r}, but must be new, mixture or old."
            )
        if not 0 <= self.ratio <= most:
            raise ConfigError(
                f"The rehearsal ratio is {self.ratio}, but must be in [0, {most:g}] (relative to"
                f" {self.relative_to}). 0.1 mixes in one old sample for ten new ones."
            )


@dataclass(frozen=True)
class Epoch:
    """One pass over the new samples with old ones among them (N in all)."""

    source: Indices
    """0 = new; k = the k-th old source, from 1."""
    item: Indices
    """Index of the sample in its source."""

    def __len__(self) -> int:
        return len(self.source)


def old_count(rehearsal: Rehearsal, num_new: int, num_old: int) -> int:
    """Old samples in one epoch, rounded half to even; 0 where there are none to draw.

    Example:
        >>> [old_count(Rehearsal(ratio=r), 105_046, 10**6) for r in (0.01, 0.10, 0.25)]
        [1050, 10505, 26262]
        >>> old_count(Rehearsal(ratio=0.25, relative_to="mixture"), 105_046, 10**6)
        35015
    """
    if not num_old:
        return 0
    ratio = rehearsal.ratio
    if rehearsal.relative_to == "new":
        return round(ratio * num_new)
    if rehearsal.relative_to == "mixture":
        return round(ratio / (1 - ratio) * num_new)
    return round(ratio * num_old)


def quotas(weights: Sequence[float], total: int) -> list[int]:
    """`total` divided by `weights`, whole numbers by the largest remainder (earlier ones first)."""
    exact = np.array(weights, np.float64) / sum(weights) * total if sum(weights) else np.zeros(0)
    counts = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    return [int(c) for c in counts]


def spread(num_new: int, num_old: int) -> NDArray[np.bool_]:
    """True where an old sample stands, so that every stretch holds its share to within one.

    Example:
        >>> spread(6, 2).astype(int).tolist()
        [0, 0, 0, 1, 0, 0, 0, 1]
    """
    total = num_new + num_old
    if not total:
        return np.zeros(0, bool)
    before = np.arange(total + 1, dtype=np.int64) * num_old // total
    return np.asarray(np.diff(before) > 0)


def draw_epoch(
    rehearsal: Rehearsal,
    num_new: int,
    old_sizes: Sequence[int],
    *,
    old_weights: Sequence[float] | None = None,
    seed: int,
    epoch: int,
) -> Epoch:
    """The samples of one epoch, in the order in which they are trained on.

    Args:
        rehearsal: how much of the old.
        num_new: new samples; each is seen once.
        old_sizes: samples of each old source.
        old_weights: share of each old source; by default its size.
        seed: of the run.
        epoch: number of the pass, from 0.
    """
    rng = np.random.default_rng([seed, 1, epoch])
    wanted = old_count(rehearsal, num_new, sum(old_sizes))
    shares = quotas(old_weights or [float(n) for n in old_sizes], wanted) if wanted else []
    source, item = [], []
    is_fixed = rehearsal.fixed_memory or rehearsal.relative_to == "old"
    for number, (count, size) in enumerate(zip(shares, old_sizes, strict=False), 1):
        chosen = _draw_old(size, count, seed=seed, number=number, epoch=0 if is_fixed else epoch)
        source.append(np.full(len(chosen), number, np.int64))
        item.append(chosen)
    old_source = np.concatenate(source) if source else np.zeros(0, np.int64)
    old_item = np.concatenate(item) if item else np.zeros(0, np.int64)
    order = rng.permutation(len(old_source))
    is_old = spread(num_new, len(old_source))
    epoch_source, epoch_item = np.zeros(len(is_old), np.int64), np.zeros(len(is_old), np.int64)
    epoch_item[~is_old] = rng.permutation(num_new)
    epoch_source[is_old], epoch_item[is_old] = old_source[order], old_item[order]
    return Epoch(epoch_source, epoch_item)


def _draw_old(size: int, count: int, *, seed: int, number: int, epoch: int) -> Indices:
    """`count` of `size` samples, where the epoch before stopped: all are seen before any twice."""
    if not size:
        return np.zeros(0, np.int64)
    places = np.arange(epoch * count, (epoch + 1) * count, dtype=np.int64)
    passes = places // size
    chosen = np.empty(count, np.int64)
    for one in np.unique(passes):
        order = np.random.default_rng([seed, 2, number, int(one)]).permutation(size)
        chosen[passes == one] = order[places[passes == one] % size]
    return chosen
