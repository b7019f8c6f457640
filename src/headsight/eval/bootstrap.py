"""Figures that are a sum over a sum, and their 95 % bootstrap intervals over pictures.

Every share, mean and cumulative IoU of the referring protocols is such a ratio. So a resample of
pictures is one row of a matrix of counts times the sums of each picture.
"""

from __future__ import annotations

__all__ = ["Ratios", "bootstrap_intervals", "ratios"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ratios = Mapping[str, tuple[NDArray[Any], NDArray[Any]]]
"""Of each figure: numerator and denominator of every item, (S,) each."""

_CHUNK = 128


def ratios(parts: Ratios, rows: Bool[NDArray[np.bool_], " s"] | None = None) -> dict[str, float]:
    """Each figure over all items, or over the chosen ones; NaN where nothing is below the line."""
    chosen = slice(None) if rows is None else rows
    return {
        name: float(_divide(above[chosen].sum(dtype=float), below[chosen].sum(dtype=float)))
        for name, (above, below) in parts.items()
    }


def bootstrap_intervals(
    parts: Ratios, groups: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> dict[str, list[float]]:
    """The 2.5th and 97.5th percentile of each figure when whole groups (pictures) are redrawn.

    Resamples in which a figure has nothing below the line are left out; a figure that never has
    gets no interval.

    Args:
        parts: numerators and denominators of S items.
        groups: the picture of each item.
        resamples: how often all pictures are drawn anew.
        seed: seed of the drawing.
    """
    if not len(groups) or not parts or resamples < 1:
        return {}
    names, index = np.unique(np.array(groups), return_inverse=True)
    above, below = (_by_group([pair[k] for pair in parts.values()], index) for k in (0, 1))
    rng = np.random.default_rng(seed)
    drawn = []
    for start in range(0, resamples, _CHUNK):  # memory: a chunk of counts at a time
        counts = _counts(rng, len(names), min(_CHUNK, resamples - start))
        drawn.append(_divide(counts @ above, counts @ below))  # (R, K)
    values = np.concatenate(drawn)
    result = {}
    for name, column in zip(parts, values.T, strict=True):
        finite = column[np.isfinite(column)]
        if len(finite):
            result[name] = [float(v) for v in np.percentile(finite, [2.5, 97.5])]
    return result


def _counts(rng: np.random.Generator, number: int, resamples: int) -> Float[Array, "r g"]:
    """How often each of `number` groups is drawn in each resample."""
    rows = [
        np.bincount(rng.integers(0, number, number), minlength=number) for _ in range(resamples)
    ]
    return np.stack(rows).astype(float)


def _by_group(columns: Sequence[NDArray[Any]], index: NDArray[np.int64]) -> Float[Array, "g k"]:
    """Sums of each group."""
    return np.stack([np.bincount(index, weights=c.astype(float)) for c in columns], 1)


def _divide(above: Any, below: Any) -> Any:
    return np.where(below > 0, above, np.nan) / np.where(below > 0, below, 1)
