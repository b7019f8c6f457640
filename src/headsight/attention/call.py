"""One call of the attention interface: its numbers, and its weights for the rows asked for."""
# mypy: disable-error-code="no-untyped-call"
# (parts of torch are only partly typed)

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from headsight.errors import InputError

__all__ = ["AttentionCall", "QueryRows", "TokenBlock", "WeightRows"]

QueryRows = slice | Tensor
"""Query rows: a slice, (R,) for every example, or (B, R)."""


@dataclass(frozen=True, eq=False)
class TokenBlock:
    """Keys whose weights are set to zero in some heads of some examples."""

    heads: tuple[int, ...]
    keys: Tensor
    """(n,) indices of keys."""
    renormalise: bool
    """Whether the other weights of a row are scaled up to the old sum."""
    examples: slice


@dataclass(frozen=True, eq=False)
class WeightRows:
    """Attention weights of some query rows."""

    weights: Float[Tensor, "b h r k"]
    """fp32; 0 where masked, and all 0 in a row that may attend to nothing."""
    valid: Bool[Tensor, "b 1 r"]
    """False at rows that may attend to nothing, such as left padding."""
    rows: Int[Tensor, "*b r"]
    """Indices among the queries of the call."""
    queries: int
    """How many queries the call has."""


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """What a model hands to the attention interface, after position encoding and norms."""

    module: nn.Module
    query: Float[Tensor, "b h q d"]
    key: Float[Tensor, "c g k d"]
    value: Float[Tensor, "c g k e"]
    mask: Tensor | None
    """4-d, boolean (True = may attend) or added to the scores; None: all keys, or causal."""
    options: dict[str, Any]
    """The other keyword arguments: scaling, dropout, softcap, position_bias ..."""
    eager: bool = False
    """Whether the model ran in plain steps before, and is to go on so."""
    blocks: tuple[TokenBlock, ...] = field(default=())

    def run(self) -> tuple[Float[Tensor, "b q h e"], Tensor | None]:
        """Head outputs before the output projection, by the function the model used before."""
        if self.eager or self.options.get("softcap") is not None:
            function, mask = _eager_function(self.module), self._added_mask()
        else:
            function, mask = ALL_ATTENTION_FUNCTIONS["sdpa"], self.mask
        out, weights = function(self.module, self.query, self.key, self.value, mask, **self.options)
        return out, weights

    def weights(self, rows: QueryRows) -> WeightRows:
        """Weights of some rows, in fp32 under the same mask; keys are never repeated by group."""
        query = _take(self.query, rows).float() * self._scaling
        batch, heads, count, width = query.shape
        groups = self.key.shape[1]
        packed = query.reshape(batch, groups, heads // groups * count, width)
        scores = (
            torch.matmul(packed, self._keys).unflatten(2, (heads // groups, count)).flatten(1, 2)
        )
        softcap = self.options.get("softcap")
        if softcap is not None:
            scores = torch.tanh(scores / softcap) * softcap
        bias = self.options.get("position_bias")
        if bias is not None:
            scores = scores + _take(bias, rows).float()
        index = _row_index(rows, self.query.shape[2], query.device)
        weights, valid = self._softmax(scores, rows, index)
        for block in self.blocks:
            weights = _blocked(weights, block)
        return WeightRows(weights, valid, index, self.query.shape[2])

    def chunks(self, size: int, rows: QueryRows | None = None) -> Iterator[WeightRows]:
        """Weights of some rows or of all, at most `size` rows at a time."""
        if isinstance(rows, Tensor):
            for part in rows.split(size, -1):
                yield self.weights(part)
            return
        first, last, _ = (rows or slice(None)).indices(self.query.shape[2])
        for start in range(first, last, size):
            yield self.weights(slice(start, min(start + size, last)))

    def select(self, examples: slice, heads: tuple[int, ...]) -> AttentionCall:
        """The call for some examples and query heads, each with its own key head; no blocks."""
        device = self.query.device
        index = torch.tensor(heads, device=device)
        group = index // (self.query.shape[1] // self.key.shape[1])
        options = dict(self.options)
        if options.get("position_bias") is not None:
            options["position_bias"] = _pick(options["position_bias"], examples, index)
        if options.get("s_aux") is not None:
            options["s_aux"] = options["s_aux"][index]
        return replace(
            self,
            query=_pick(self.query, examples, index),
            key=_examples(self.key, examples).index_select(1, group),
            value=_examples(self.value, examples).index_select(1, group),
            mask=None if self.mask is None else _pick(self.mask, examples, index),
            options=options,
            blocks=(),
        )

    @property
    def _scaling(self) -> float:
        scaling = self.options.get("scaling")
        return float(self.query.shape[-1] ** -0.5 if scaling is None else scaling)

    @cached_property
    def _keys(self) -> Tensor:
        return self.key.float().transpose(-1, -2)

    @property
    def _is_causal(self) -> bool:
        """Whether no mask means causal: the rule of transformers' SDPA function."""
        causal = self.options.get("is_causal")
        causal = getattr(self.module, "is_causal", True) if causal is None else causal
        return bool(causal) and self.mask is None and self.query.shape[2] > 1

    def _softmax(self, scores: Tensor, rows: QueryRows, index: Tensor) -> tuple[Tensor, Tensor]:
        """Weights, and (B, 1, R) whether a row has any key at all."""
        allowed: Tensor | None = None
        if self._is_causal:
            steps = torch.arange(scores.shape[-1], device=scores.device)
            allowed = (steps <= index[..., None]).unflatten(-2, (1, -1))  # (*B, 1, R, K)
            allowed = allowed if allowed.dim() == 4 else allowed[None]
        elif self.mask is not None:
            mask = _take(self.mask, rows)
            if mask.dtype == torch.bool:
                allowed = mask
            else:
                allowed = mask > torch.finfo(mask.dtype).min / 2
                scores = scores + mask.float()
        valid = torch.ones(1, 1, 1, dtype=torch.bool, device=scores.device)
        if allowed is not None:
            any_key = allowed.any(-1, keepdim=True)
            # rows without keys stay finite, so that no gradient becomes NaN
            scores = scores.masked_fill(~allowed & any_key, -torch.inf)
            valid = any_key.any(1)[:, None, :, 0]
        sinks = self.options.get("s_aux")
        if sinks is not None:  # a learned score that takes its share and is then dropped
            sinks = sinks.float().reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)
            weights = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
        else:
            weights = scores.softmax(-1)
        if allowed is not None:
            weights = weights.masked_fill(~any_key, 0)
        return weights, valid.expand(scores.shape[0], 1, scores.shape[2])

    def _added_mask(self) -> Tensor | None:
        """The mask as plain attention takes it: numbers to add, causal written out."""
        mask = self.mask
        if mask is None and self._is_causal:
            rows = torch.arange(self.query.shape[2], device=self.query.device)
            columns = torch.arange(self.key.shape[2], device=self.query.device)
            mask = (columns <= rows[:, None])[None, None]
        if mask is None or mask.dtype != torch.bool:
            return mask
        zero = torch.zeros((), dtype=self.query.dtype, device=mask.device)
        return torch.where(mask, zero, torch.finfo(self.query.dtype).min)


def _eager_function(module: nn.Module) -> Any:
    """The plain attention function of the file that a module's class comes from."""
    for kind in type(module).__mro__:
        source = sys.modules.get(kind.__module__)
        for name in ("eager_attention_forward", "eager_attention"):
            if hasattr(source, name):
                return getattr(source, name)
    raise InputError(
        f"{type(module).__name__} has no eager_attention_forward beside it, but is set to 'eager'."
        " Call model.set_attn_implementation('sdpa') first."
    )


def _take(tensor: Tensor, rows: QueryRows) -> Tensor:
    """Rows of axis 2; an axis of length 1 stands for all rows and is left as it is."""
    if isinstance(rows, slice):
        return tensor if tensor.shape[2] == 1 else tensor[:, :, rows]
    if tensor.shape[2] == 1:
        return tensor if rows.shape[-1] == 1 else tensor.expand(-1, -1, rows.shape[-1], -1)
    if rows.dim() == 1:
        return tensor.index_select(2, rows)
    batch, count = rows.shape
    if tensor.shape[0] not in (1, batch):
        raise InputError(f"Rows are given for {batch} examples, but there are {len(tensor)}.")
    tensor = tensor.expand(batch, -1, -1, -1)
    index = rows[:, None, :, None].expand(-1, tensor.shape[1], count, tensor.shape[3])
    return tensor.gather(2, index)


def _row_index(rows: QueryRows, queries: int, device: torch.device) -> Tensor:
    if isinstance(rows, slice):
        return torch.arange(*rows.indices(queries), device=device)
    return rows


def _pick(tensor: Tensor, examples: slice, heads: Tensor) -> Tensor:
    """Examples and heads of (B, H, ...), either of which may be 1 for all."""
    tensor = _examples(tensor, examples)
    return tensor if tensor.shape[1] == 1 else tensor.index_select(1, heads)


def _examples(tensor: Tensor, examples: slice) -> Tensor:
    return tensor if tensor.shape[0] == 1 else tensor[examples]


def _blocked(weights: Tensor, block: TokenBlock) -> Tensor:
    """`weights` (B, H, R, K) with the keys of `block` at zero."""
    if block.keys.numel() and int(block.keys.max()) >= weights.shape[-1]:
        raise InputError(
            f"A token mask names key {int(block.keys.max())}, but this call has"
            f" {weights.shape[-1]} keys. Count keys from the start of the sequence, padding"
            " included."
        )
    heads = torch.tensor(block.heads, device=weights.device)
    old = weights[block.examples].index_select(1, heads)
    new = old.index_fill(-1, block.keys.to(weights.device), 0)
    if block.renormalise:
        rest = new.sum(-1, keepdim=True)
        new = new * (old.sum(-1, keepdim=True) / rest.where(rest > 0, 1))
    changed = weights.clone()
    changed[block.examples, heads] = new
    return changed
