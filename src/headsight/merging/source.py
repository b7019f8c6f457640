"""What is merged: a checkpoint, or a checkpoint with an adapter that is folded while it is read."""

from __future__ import annotations

__all__ = ["Source", "open_source"]

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from headsight.errors import CheckpointError, InputError
from headsight.merging.adapter import Adapter, LowRank, is_adapter, open_adapter
from headsight.merging.checkpoint import Checkpoint, Stored, open_checkpoint
from headsight.merging.numbers import Floats, widen


@dataclass(frozen=True, eq=False)
class Source:
    """One model that takes part."""

    name: str
    """As it was given."""
    checkpoint: Checkpoint
    adapter: Adapter | None = None

    @cached_property
    def tensors(self) -> Mapping[str, Stored]:
        """Where each tensor lies; those that the adapter holds whole lie in its file."""
        replaced = self.adapter.replaced if self.adapter else {}
        return {**self.checkpoint.tensors, **replaced}

    @property
    def stamp(self) -> str:
        """Differs where any file differs."""
        own = self.adapter.stamp if self.adapter else ""
        return hashlib.sha256(f"{self.checkpoint.stamp} {own}".encode()).hexdigest()

    def change(self, name: str) -> LowRank | None:
        """What the adapter adds to a tensor; None where it adds nothing."""
        found = self.adapter.low_rank.get(name) if self.adapter else None
        return None if found is None or found.is_nothing else found

    def reader(self, name: str) -> TensorReader:
        """Reads the tensor `name` piece by piece."""
        return TensorReader(self.tensors[name], self.change(name))


class TensorReader:
    """Pieces of one tensor, with its low-rank change where there is one."""

    def __init__(self, stored: Stored, change: LowRank | None = None) -> None:
        self.stored = stored
        self.is_plain = change is None
        """Whether its values are just the bytes of the file."""
        self.row = 1
        """Numbers of a row: pieces start and end at whole ones."""
        if change is not None:
            self._left, self._right = change.factors()
            self._scale = np.float32(change.scale)
            self.row = self._right.shape[1]

    def is_one_with(self, other: TensorReader) -> bool:
        """Whether both read the same place of the same file, and nothing is changed there."""
        return self.stored == other.stored and self.is_plain and other.is_plain

    def raw(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The bytes of the file, without the change."""
        return self.stored.read(start, stop)

    def values(self, start: int, stop: int) -> Float32[Floats, " n"]:
        """Numbers `start` to `stop` in float32, unrounded."""
        plain = widen(self.stored.read(start, stop), self.stored.dtype)
        if self.is_plain:
            return plain
        rows = self._left[start // self.row : stop // self.row]
        change: Float32[Floats, "rows columns"] = rows @ self._right
        change *= self._scale
        plain += change.reshape(-1)
        return plain


def open_source(text: str | Path, *, base: Checkpoint | None = None) -> Source:
    """`folder`, `folder+adapter`, or an adapter folder alone, which is put on `base`.

    Raises:
        InputError: an adapter alone without a base.
        CheckpointError: what cannot be opened, or an adapter for another base.
    """
    name = str(text)
    first, plus, second = name.rpartition("+")
    if plus and not Path(name).exists():
        checkpoint = _same_or_open(Path(first), base)
        return Source(name, checkpoint, open_adapter(Path(second), checkpoint))
    folder = Path(name)
    if not is_adapter(folder):
        return Source(name, _same_or_open(folder, base))
    if base is None:
        raise InputError(
            f"{name} is an adapter, which needs a model to be put on. Give --base FOLDER, or write"
            " FOLDER+ADAPTER."
        )
    if any(folder.glob("model*.safetensors")):
        raise CheckpointError(
            f"{name} holds an adapter and a whole model. Write FOLDER+ADAPTER to say what is meant."
        )
    return Source(name, base, open_adapter(folder, base))


def _same_or_open(folder: Path, base: Checkpoint | None) -> Checkpoint:
    if base is not None and folder.is_dir() and folder.samefile(base.folder):
        return base
    return open_checkpoint(folder)
