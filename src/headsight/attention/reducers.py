"""What is kept of the attention weights: small answers computed inside the call, never N x N maps.

Each reducer sees the weights of some query rows and answers with named tensors. Whole answers are
laid out (batch, layer, head, query, ...); an axis that does not apply is left out at the end or has
length 1. `<name>_valid` (batch, layer, 1, query) is False at rows that may attend to nothing, such
as left padding: their numbers are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from headsight.attention.call import QueryRows, WeightRows
from headsight.errors import InputError

__all__ = [
    "BlockSum",
    "Diagonal",
    "Entropy",
    "HeadOutputs",
    "LastQueryRow",
    "MeanOverBatch",
    "Reducer",
    "Rows",
    "TopK",
]

Indices = Sequence[int] | Sequence[Sequence[int]] | Tensor
"""(n,) for every example, or (B, n)."""


@runtime_checkable
class Reducer(Protocol):
    """Turns the weights of some rows into named tensors (B, H, R, ...).

    It gets the rows a part at a time. Its answers are joined along axis 2, or added if it `sums`.
    """

    sums: ClassVar[bool]

    @property
    def name(self) -> str:
        """Key of the answer."""
        ...

    def rows(self, queries: int, device: torch.device) -> QueryRows | None:
        """The rows that are needed of a call with so many queries; None: all."""
        ...

    def reduce(self, chunk: WeightRows) -> dict[str, Tensor]:
        """The answer for these rows."""
        ...


@dataclass(frozen=True, eq=False)
class Rows:
    """Whole rows, or some columns of them, of chosen queries.

    Gives `rows` (B, L, H, R, C), `rows_sum` (B, L, H, R), the sum over all keys, and `rows_valid`.
    """

    indices: Indices = (-1,)
    """Queries of the forward pass: 0 is its first, -1 its last. A decoding step of `generate` has
    one query, so only -1 and 0 are recorded there."""
    columns: Indices | None = None
    """Keys to keep, counted from the start of the sequence; at a negative one 0 is kept, as at the
    cells of an `ImageView` that have no token. None: all."""
    name: str = "rows"
    sums: ClassVar[bool] = False

    def rows(self, queries: int, device: torch.device) -> QueryRows | None:
        """The chosen rows as a tensor, or as a slice where there is only the last.

        Raises:
            InputError: the call has no such query.
        """
        rows = self._row_tensor
        if rows.dim() == 1 and rows.tolist() == [-1]:
            return slice(queries - 1, queries)
        if rows.numel() and not -queries <= int(rows.min()) <= int(rows.max()) < queries:
            raise InputError(
                f"Rows reach from {int(rows.min())} to {int(rows.max())}, but the call has"
                f" {queries} queries. Count queries from 0, or from the end with negative numbers."
            )
        return torch.where(rows < 0, rows + queries, rows).to(device)

    def reduce(self, chunk: WeightRows) -> dict[str, Tensor]:
        """The chosen columns, the sum of each row, and whether it may attend at all."""
        weights = chunk.weights
        kept = weights if self.columns is None else _take_columns(weights, self._column_tensor)
        return {
            self.name: kept,
            f"{self.name}_sum": weights.sum(-1),
            f"{self.name}_valid": chunk.valid,
        }

    @cached_property
    def _row_tensor(self) -> Tensor:
        return _indices(self.indices, "rows")

    @cached_property
    def _column_tensor(self) -> Tensor:
        return _indices(() if self.columns is None else self.columns, "columns")


def LastQueryRow(columns: Indices | None = None) -> Rows:
    """The row of the last query: `last_query_row` (B, L, H, 1, C); costs N, not N x N, a head."""
    return Rows((-1,), columns, name="last_query_row")


@dataclass(frozen=True, eq=False)
class BlockSum:
    """Weight that a set of queries gives to a set of keys: `block_sum` (B, L, H).

    Divide by the number of queries for their mean mass, e.g. of the text on the picture.
    """

    queries: Indices
    keys: Indices
    name: str = "block_sum"
    sums: ClassVar[bool] = True

    def rows(self, queries: int, device: torch.device) -> QueryRows | None:
        """The queries of the set."""
        return Rows(self.queries).rows(queries, device)

    def reduce(self, chunk: WeightRows) -> dict[str, Tensor]:
        """The sum over the block."""
        return {self.name: _take_columns(chunk.weights, _indices(self.keys, "keys")).sum((2, 3))}


@dataclass(frozen=True)
class Entropy:
    """Entropy of each row in nats, 0 to ln(keys): `entropy` (B, L, H, Q) and `entropy_valid`."""

    name: str = "entropy"
    sums: ClassVar[bool] = False

    def rows(self, queries: int, device: torch.device) -> QueryRows | None:
        """All."""
        return None

    def reduce(self, chunk: WeightRows) -> dict[str, Tensor]:
        """-sum of w ln w, where 0 ln 0 = 0."""
        return {
            self.name: torch.special.entr(chunk.weights).sum(-1),
            f"{self.name}_valid": chunk.valid,
        }


@dataclass(frozen=True)
class Diagonal:
    """Weight on the key `offset` places after each query: `diagonal` (B, L, H, Q) and its `_valid`.

    -1 is the token before. Where there is no such key the weight is 0 and marked as not valid. With
    a cache, the last query stands at the last key.
    """

    offset: int = 0
    name: str = "diagonal"
    sums: ClassVar[bool] = False

    def rows(self, queries: int, device: torch.device) -> QueryRows | None:
        """All."""
        return None

    def reduce(self, chunk: WeightRows) -> dict[str, Tensor]:
        """One weight a row."""
        weights = chunk.weights
        batch, heads, count, keys = weights.shape
        columns = chunk.rows + (keys - chunk.queries + self.offset)
        inside = (columns >= 0) & (columns < keys)
        index = columns.clamp(0, keys - 1).expand(batch, heads, count)[..., None]
        found = weights.gather(-1, index)[..., 0] * inside
        return {self.name: found, f"{self.name}_valid": chunk.valid & inside}


@dataclass(frozen=True)
class MeanOverBatch:
    """Mean map over the examples: `mean_over_batch` (1, L, H, Q, K). This one is N x N.

    Rows that may attend to nothing do not count; where no example has the row it is 0.
    """

    name: str = "mean_over_batch"
    sums: ClassVar[bool] = False

    def rows(self, queries: int, device: torch.device) -> QueryRows | None:
        """All."""
        return None

    def reduce(self, chunk: WeightRows) -> dict[str, Tensor]:
        """Sum over the valid examples by their number."""
        count = chunk.valid.sum(0, keepdim=True)[..., None]
        return {self.name: chunk.weights.sum(0, keepdim=True) / count.clamp(min=1)}


@dataclass(frozen=True)
class TopK:
    """The k largest weights of each row: `topk`, `topk_index` (B, L, H, Q, k) and `topk_valid`."""

    k: int = 1
    name: str = "topk"
    sums: ClassVar[bool] = False

    def rows(self, queries: int, device: torch.device) -> QueryRows | None:
        """All."""
        return None

    def reduce(self, chunk: WeightRows) -> dict[str, Tensor]:
        """Values in falling order, and the keys they belong to."""
        keys = chunk.weights.shape[-1]
        if not 1 <= self.k <= keys:
            raise InputError(f"The {self.k} largest weights were asked for, but there are {keys}.")
        values, index = chunk.weights.topk(self.k, -1)
        return {
            self.name: values,
            f"{self.name}_index": index,
            f"{self.name}_valid": chunk.valid,
        }


@dataclass(frozen=True)
class HeadOutputs:
    """Output of each head before the output projection, edits included: `outputs` (B, L, H, Q, D).

    Not a function of the weights, so it also works for models without the attention interface.
    """

    name: str = "outputs"


def _indices(values: Indices, what: str) -> Tensor:
    tensor = torch.as_tensor(values, dtype=torch.long)
    if tensor.dim() not in (1, 2):
        raise InputError(
            f"{what} have the shape {tuple(tensor.shape)}, but must be (n,) or (B, n)."
        )
    return tensor


def _take_columns(weights: Tensor, columns: Tensor) -> Tensor:
    """Columns (C,) or (B, C) of weights (B, H, R, K); 0 at a negative column."""
    keys = weights.shape[-1]
    if columns.numel() and int(columns.max()) >= keys:
        raise InputError(
            f"Column {int(columns.max())} was asked for, but the call has {keys} keys. Count keys"
            " from the start of the sequence, padding included."
        )
    columns = columns.to(weights.device)
    inside = columns >= 0
    index = columns.clamp(min=0)
    if columns.dim() == 1:
        kept = weights.index_select(-1, index)
        return kept if bool(inside.all()) else kept * inside
    if len(columns) != len(weights):
        raise InputError(
            f"Columns are given for {len(columns)} examples, but there are {len(weights)}."
        )
    spread = index[:, None, None, :].expand(-1, *weights.shape[1:3], -1)
    return weights.gather(-1, spread) * inside[:, None, None, :]
