"""Ways to switch attention heads off, each on the head's own output or pattern, never on a weight.

`Undifferentiated` scales the query inside the attention call: scaling the projection's weights is
undone by models that normalise queries (Qwen3, Gemma 3). `PatternPreserving` is the one of Olsson
et al. (arXiv 2209.11895): the head's output is zero while every attention pattern stays that of the
untouched run; queries and keys of that run are replayed rather than its maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from headsight.attention.heads import HeadAddress
from headsight.errors import InputError

__all__ = [
    "ABLATIONS",
    "Ablation",
    "PatternPreserving",
    "Replace",
    "Scale",
    "TokenMask",
    "Undifferentiated",
    "edit_outputs_",
    "mean",
    "resample",
    "scale_queries",
    "zero",
]


def _all() -> slice:
    return slice(None)


@dataclass(frozen=True, eq=False)
class Scale:
    """Head outputs times a factor."""

    heads: Sequence[HeadAddress]
    factor: float
    examples: slice = field(default_factory=_all, kw_only=True)
    """Rows of the batch it is done in."""


@dataclass(frozen=True, eq=False)
class Replace:
    """Head outputs replaced by given ones."""

    heads: Sequence[HeadAddress]
    values: Tensor
    """(D,), (T, D) or (B, T, D)."""
    examples: slice = field(default_factory=_all, kw_only=True)


@dataclass(frozen=True, eq=False)
class Undifferentiated:
    """Queries times a small factor: at 0 a head attends alike to every key it may see."""

    heads: Sequence[HeadAddress]
    factor: float = 0.0
    examples: slice = field(default_factory=_all, kw_only=True)


@dataclass(frozen=True, eq=False)
class PatternPreserving:
    """Head outputs zero, while all attention patterns are those of an untouched run."""

    heads: Sequence[HeadAddress]
    examples: slice = field(default_factory=_all, kw_only=True)


@dataclass(frozen=True, eq=False)
class TokenMask:
    """Weights on chosen keys set to zero; the head outputs are computed anew from the rest."""

    heads: Sequence[HeadAddress]
    keys: Sequence[int]
    """Indices from the start of the sequence, padding included."""
    renormalise: bool
    """Whether the weights left are scaled to the old sum. A row with none left becomes 0."""
    examples: slice = field(default_factory=_all, kw_only=True)

    def __post_init__(self) -> None:
        if any(key < 0 for key in self.keys):
            raise InputError(
                f"A token mask names key {min(self.keys)}, but keys are counted from 0 at the start"
                " of the sequence, padding included."
            )


Ablation = Scale | Replace | Undifferentiated | PatternPreserving | TokenMask


def zero(*heads: HeadAddress) -> Scale:
    """Head outputs set to zero."""
    return Scale(heads, 0.0)


def mean(head: HeadAddress, values: Tensor) -> Replace:
    """A head's output set to its mean: (D,) over positions, or (T, D) position by position."""
    if values.dim() not in (1, 2):
        raise InputError(
            f"A mean has the shape (D,) or (T, D), but {tuple(values.shape)} was given."
            " For the outputs of another prompt use resample()."
        )
    return Replace((head,), values)


def resample(head: HeadAddress, values: Tensor) -> Replace:
    """A head's output set to that of another prompt of the same length: (T, D) or (B, T, D)."""
    if values.dim() not in (2, 3):
        raise InputError(
            f"The outputs of another prompt are (T, D) or (B, T, D), but {tuple(values.shape)} was"
            " given. For one vector use mean()."
        )
    return Replace((head,), values)


ABLATIONS: dict[str, Callable[[HeadAddress], Ablation]] = {
    "zero": zero,
    "undifferentiated": lambda head: Undifferentiated((head,)),
    "pattern-preserving": lambda head: PatternPreserving((head,)),
}
"""Ablations that need nothing but the head."""


def scale_queries(query: Tensor, ablation: Undifferentiated, heads: Sequence[int]) -> Tensor:
    """`query`, or a position bias, (B, H, Q, ...) with some heads scaled."""
    changed = query.clone()
    index = torch.tensor(heads, device=query.device)
    changed[ablation.examples, index] = changed[ablation.examples, index] * ablation.factor
    return changed


def edit_outputs_(out: Tensor, ablation: Ablation, heads: Sequence[int]) -> None:
    """Scale or replace the outputs of some heads of `out` (B, Q, H, D), in place."""
    index = torch.tensor(heads, device=out.device)
    if isinstance(ablation, Replace):
        values = ablation.values.to(out)
        room = tuple(out[ablation.examples].shape)
        if values.shape[-1] != room[-1] or (values.dim() > 1 and values.shape[-2] != room[1]):
            raise InputError(
                f"Outputs of the shape {tuple(values.shape)} cannot replace those of {room[1]}"
                f" positions, {room[-1]} wide. Take them from a prompt of the same length, padding"
                " included."
            )
        if values.dim() == 3 and values.shape[0] not in (1, room[0]):
            raise InputError(f"{values.shape[0]} examples cannot replace {room[0]}.")
        spread = values if values.dim() == 1 else values.unsqueeze(-2)  # (..., 1, D)
        out[ablation.examples, :, index] = spread.expand(room[0], room[1], len(index), room[3])
    elif isinstance(ablation, Scale | PatternPreserving):
        factor = 0.0 if isinstance(ablation, PatternPreserving) else ablation.factor
        kept = out[ablation.examples, :, index]
        out[ablation.examples, :, index] = kept * factor if factor else torch.zeros_like(kept)
