"""The numbers of one tensor in all models, walked through in pieces, as often as needed."""

from __future__ import annotations

__all__ = ["Block", "Blocks", "ReadBlocks", "WholeBlocks"]

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from headsight.errors import CheckpointError
from headsight.merging.numbers import BLOCK, Floats
from headsight.merging.source import TensorReader

_SHORT = 1 << 10
"""Numbers of a piece of a sample."""
_LARGE = 1 << 20
"""Numbers of a piece where a product of factors is formed, which pays for larger ones."""


class Block(NamedTuple):
    """A piece of a tensor."""

    start: int
    """Index of its first number in the flattened tensor."""
    base: Float32[Floats, " n"] | None
    tensors: tuple[Float32[Floats, " n"], ...]
    """Of every other model, in their order."""


@runtime_checkable
class Blocks(Protocol):
    """One tensor in all models; every walk gives the same pieces."""

    @property
    def size(self) -> int:
        """How many numbers the tensor has."""
        ...

    def __iter__(self) -> Iterator[Block]:
        """Its pieces from the first to the last."""
        ...

    def sample(self, count: int) -> Iterator[Block]:
        """Short pieces from all over the tensor, about `count` numbers; all if it is small."""
        ...


@dataclass(frozen=True, eq=False)
class WholeBlocks:
    """Tensors in memory as one piece."""

    base: Float32[Floats, " n"] | None
    tensors: tuple[Float32[Floats, " n"], ...]

    @property
    def size(self) -> int:
        """How many numbers the tensor has."""
        return len(self.tensors[0])

    def __iter__(self) -> Iterator[Block]:
        if self.size:
            yield Block(0, self.base, self.tensors)

    def sample(self, count: int) -> Iterator[Block]:
        """All of it."""
        return iter(self)


class ReadBlocks:
    """Tensors in files, read piece by piece.

    Walking raises CheckpointError, which names the tensor and the model, at NaN or infinity.
    """

    def __init__(
        self,
        name: str,
        base: TensorReader | None,
        readers: Sequence[TensorReader],
        titles: Sequence[str],
        span: tuple[int, int] | None = None,
    ) -> None:
        self.name = name
        self._first, self._last = span or (0, readers[0].stored.size)  # whole rows of the tensor
        self.size = self._last - self._first
        self._base, self.readers = base, tuple(readers)
        self._titles = titles  # of the base where there is one, then of the others
        self._row = max((r.row for r in self._all if not r.is_plain), default=1)
        self._step = BLOCK if self._row == 1 else max(_LARGE // self._row, 1) * self._row

    @property
    def _all(self) -> tuple[TensorReader, ...]:
        return (*([self._base] if self._base else []), *self.readers)

    @property
    def spans(self) -> Iterator[tuple[int, int]]:
        """Start and stop of every piece."""
        return self._spans(self._step, self._step)

    def _spans(self, length: int, step: int) -> Iterator[tuple[int, int]]:
        starts = range(self._first, self._last, step)
        return ((start, min(start + length, self._last)) for start in starts)

    @property
    def is_one_file(self) -> bool:
        """Whether all models have it in the same place of the same file, unchanged."""
        return all(r.is_one_with(self.readers[0]) for r in self._all)

    def are_equal(self) -> bool:
        """Whether all models hold the same bytes; stops at the first piece that differs."""
        first, *rest = self._all
        others = [r for r in rest if r.stored != first.stored]
        if not all(r.is_plain and r.stored.dtype == first.stored.dtype for r in self._all):
            return False
        for start, stop in self.spans if others else ():
            raw = first.raw(start, stop)
            if any(not np.array_equal(raw, r.raw(start, stop)) for r in others):
                return False
        return True

    def __iter__(self) -> Iterator[Block]:
        return self._walk(self.spans)

    def sample(self, count: int) -> Iterator[Block]:
        """Short pieces from all over the tensor, about `count` numbers; all if it is small."""
        length = -(-_SHORT // self._row) * self._row
        apart = max(self.size * length // count // length, 1) * length
        return self._walk(self._spans(length, apart))

    def _walk(self, spans: Iterable[tuple[int, int]]) -> Iterator[Block]:
        for start, stop in spans:
            values = [reader.values(start, stop) for reader in self._all]
            for title, numbers in zip(self._titles, values, strict=True):
                if not np.isfinite(numbers).all():
                    raise not_finite(self.name, title, numbers, start)
            base = values.pop(0) if self._base else None
            yield Block(start, base, tuple(values))


def not_finite(
    name: str, title: str, numbers: Float32[Floats, " n"], start: int
) -> CheckpointError:
    """What to raise where a tensor of the model `title` holds NaN or infinity."""
    place = int(np.flatnonzero(~np.isfinite(numbers))[0])
    what = "NaN" if np.isnan(numbers[place]) else "infinity"
    return CheckpointError(
        f"{name} of {title} holds {what} (number {start + place}). A model with such weights is"
        " broken; get or train it again."
    )
