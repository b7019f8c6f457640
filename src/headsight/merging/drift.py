"""How far the weights of a model moved from another's, module by module, read piece by piece."""

from __future__ import annotations

__all__ = ["ModuleDrift", "weight_drift"]

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headsight.errors import CheckpointError
from headsight.merging.checkpoint import Stored, open_checkpoint
from headsight.merging.moments import Moments, exact_moments
from headsight.merging.numbers import widen

_CHUNK = 1 << 22  # numbers widened at once, so that memory stays flat


@dataclass(frozen=True)
class ModuleDrift:
    """One module: the tensors that share all but the last part of their name."""

    module: str
    numbers: int
    """How many weights."""
    norm_ratio: float
    """Norm of the change over norm of what was there; 0 = untouched, infinite from nothing."""
    cosine: float
    """Of old and new weights; NaN where one of them is all zero."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def weight_drift(before: Path, after: Path) -> list[ModuleDrift]:
    """Drift of every module that both folders have, the most changed first.

    Sums are taken in float64. Tensors that are not floating point are no weights.

    Raises:
        CheckpointError: a folder without safetensors, or models of different architecture.
    """
    old, new = open_checkpoint(before), open_checkpoint(after)
    odd = sorted(set(old.tensors) ^ set(new.tensors))
    if odd:
        raise CheckpointError(
            f"{before} and {after} hold different tensors ({len(odd)} in one only, such as"
            f" {odd[0]}), so their weights cannot be compared. Compare two states of one model."
        )
    sums: dict[str, Moments] = {}
    numbers: dict[str, int] = {}
    for name, first in old.tensors.items():
        second = new.tensors[name]
        if first.shape != second.shape:
            raise CheckpointError(
                f"{name} has {first.size} numbers in {before} and {second.size} in {after}. Compare"
                " two states of one model."
            )
        if first.is_float and second.is_float:
            module = name.rpartition(".")[0] or name
            sums[module] = sums.get(module, Moments()) + _sums(first, second)
            numbers[module] = numbers.get(module, 0) + first.size
    drifts = [_drift(module, numbers[module], found) for module, found in sums.items()]
    return sorted(drifts, key=lambda d: (-d.norm_ratio, d.module))


def _sums(first: Stored, second: Stored) -> Moments:
    total = Moments()
    for start in range(0, first.size, _CHUNK):
        stop = min(start + _CHUNK, first.size)
        one, two = (widen(t.read(start, stop), t.dtype) for t in (first, second))
        total += exact_moments(one, two)
    return total


def _drift(module: str, numbers: int, found: Moments) -> ModuleDrift:
    is_empty = found.first == 0 or found.second == 0
    cosine = math.nan if is_empty else found.cosine
    return ModuleDrift(module, numbers, found.relative_norm, cosine)
