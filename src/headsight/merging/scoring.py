"""Layer-cosine over whole checkpoints: what is compared, and who wins each unit."""

from __future__ import annotations

__all__ = ["Segment", "Unit", "parents", "score_units", "two_parents", "units_of"]

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from headsight.errors import CheckpointError
from headsight.merging.blocks import ReadBlocks
from headsight.merging.moments import Moments, exact_moments, moments
from headsight.merging.naming import part_rows, unit_of
from headsight.merging.numbers import FLOATS, Floats, widen
from headsight.merging.plan import OutTensor, Plan
from headsight.merging.selection import CLOSE
from headsight.merging.source import TensorReader

Compare = Callable[[Floats, Floats], Moments]


@dataclass(frozen=True)
class Segment:
    """Numbers `start` to `stop` of a tensor."""

    tensor: OutTensor
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """Bytes in the result."""
        whole = int(np.prod(self.tensor.shape, dtype=np.int64))
        return self.tensor.nbytes * (self.stop - self.start) // max(whole, 1)


@dataclass(frozen=True)
class Unit:
    """What wins or loses as a whole."""

    name: str
    segments: tuple[Segment, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in the result."""
        return sum(s.nbytes for s in self.segments)


def parents(plan: Plan) -> tuple[str, str]:
    """Names of the model that is kept and of the one that must be alike to be taken."""
    names = [source.name for source in plan.sources]
    return (names[0], names[1]) if plan.job.space != "weight" else (plan.reference.name, names[0])


def units_of(plan: Plan) -> tuple[Unit, ...]:
    """All tensors of the result in units, in the order of their first tensor's name."""
    found: dict[str, list[Segment]] = {}
    config = plan.reference.checkpoint.config
    for tensor in (t for file in plan.files for t in file.tensors):
        size = int(np.prod(tensor.shape, dtype=np.int64))
        unit = unit_of(tensor.name, plan.job.granularity)
        is_split = plan.job.granularity == "part"
        parts = part_rows(tensor.name, tensor.shape, config) if is_split else ()
        row = size // max(tensor.shape[0], 1) if tensor.shape else 1
        for title, first, last in parts:
            found.setdefault(f"{unit}[{title}]", []).append(
                Segment(tensor, first * row, last * row)
            )
        if not parts:
            found.setdefault(unit, []).append(Segment(tensor, 0, size))
    return tuple(Unit(name, tuple(segments)) for name, segments in found.items())


def score_units(
    plan: Plan, units: Iterable[Unit], advance: Callable[[int], None]
) -> dict[str, Moments]:
    """How alike the two parents are in each unit; sums decide in float64 near the threshold.

    Raises:
        CheckpointError: NaN or infinity, or factors of adapters that cannot be compared.
    """
    scores = {}
    threshold = plan.job.threshold
    for unit in units:
        score = _factors(plan, unit) if plan.job.space == "factors" else _score(plan, unit, moments)
        is_close = abs(score.cosine - threshold.value) <= CLOSE and not threshold.is_quantile
        if is_close and score.difference and plan.job.space != "factors":
            score = _score(plan, unit, exact_moments)
        scores[unit.name] = score
        advance(unit.nbytes)
    return scores


def two_parents(plan: Plan, tensor: OutTensor) -> tuple[TensorReader, TensorReader]:
    """Readers of the tensor that is kept and of the one that may be taken instead."""
    by_model = {taking.index: taking.name for taking in tensor.takings}
    readers = [
        plan.sources[i].reader(by_model[i]) if i in by_model else None
        for i in range(len(plan.sources))
    ]
    base = plan.reference.reader(tensor.name)
    kept = base if plan.job.space == "weight" else readers[0] or base
    return kept, readers[-1] or kept


def _score(plan: Plan, unit: Unit, compare: Compare) -> Moments:
    pieces = [_blocks(plan, s) for s in unit.segments if s.tensor.dtype in FLOATS]
    if all(piece.is_one_file for piece in pieces):
        return Moments()  # nothing to read: the same bytes of the same file
    total = Moments()
    for piece in pieces:
        for block in piece:
            assert block.base is not None
            if plan.job.space == "weight":
                total += compare(block.base, block.tensors[0])
            else:
                kept, taken = (tensor - block.base for tensor in block.tensors)
                total += compare(kept, taken)
    return total


def _blocks(plan: Plan, segment: Segment) -> ReadBlocks:
    kept, taken = two_parents(plan, segment.tensor)
    span = (segment.start, segment.stop)
    if plan.job.space == "weight":
        return ReadBlocks(segment.tensor.name, kept, [taken], parents(plan), span)
    base = plan.reference.reader(segment.tensor.name)
    titles = (plan.reference.name, *parents(plan))
    return ReadBlocks(segment.tensor.name, base, [kept, taken], titles, span)


def _factors(plan: Plan, unit: Unit) -> Moments:
    """The factors of two adapters as they are, A and B of every weight one after the other."""
    total = Moments()
    for segment in unit.segments:
        changes = [source.change(segment.tensor.name) for source in plan.sources]
        factors = [
            (change.a, change.b) if change is not None else (None, None) for change in changes
        ]
        for one, two in zip(*factors, strict=True):
            first, second = (None if f is None else widen(f.read(), f.dtype) for f in (one, two))
            if first is None and second is None:
                continue
            if first is not None and second is not None and first.shape != second.shape:
                raise CheckpointError(
                    f"The factors of {segment.tensor.name} have the shapes {list(one.shape)} and"
                    f" {list(two.shape)}, so they cannot be compared. Give --space delta."
                )
            empty = np.zeros_like(second if first is None else first)
            total += exact_moments(
                empty if first is None else first, empty if second is None else second
            )
    return total
