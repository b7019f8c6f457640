"""What attention really was, told by transformers' own plain functions; and padded batches."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from headsight.attention import HeadTable

Calls = dict[str, list[Tensor]]
"""The last row (B, H, K) of every attention call of every module, in their order."""

_PLAIN = ("eager_attention_forward", "eager_attention")


@contextmanager
def in_plain_steps(model: Any, table: HeadTable) -> Iterator[Calls]:
    """Inside, the model runs eagerly, and the weights that its own functions give are kept."""
    names = {id(model.get_submodule(site.module)): site.module for site in table}
    seen: Calls = {name: [] for name in names.values()}

    def spy(function: Callable[..., Any]) -> Callable[..., Any]:
        def look(
            module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any
        ) -> Any:
            mask = attention_mask
            if mask is not None:  # in fp64 its numbers are below those of the fp32 softmax: NaN
                mask = mask.clamp(min=-1e30)
            out, weights = function(module, query, key, value, mask, **options)
            if id(module) in names:
                seen[names[id(module)]].append(weights[:, :, -1].detach().float())
            return out, weights

        return look

    homes = {type(model.get_submodule(site.module)).forward.__module__ for site in table}
    found = [
        (sys.modules[home], name, getattr(sys.modules[home], name))
        for home in homes
        for name in _PLAIN
        if hasattr(importlib.import_module(home), name)
    ]
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    before = {key: config._attn_implementation for key, config in configs.items()}
    for module, name, function in found:
        setattr(module, name, spy(function))
    model.set_attn_implementation("eager")
    try:
        yield seen
    finally:
        for module, name, function in found:
            setattr(module, name, function)
        for key, config in configs.items():
            config._attn_implementation = before[key]


def padded(rows: list[dict[str, Tensor]], pad_token_id: int, *, side: str) -> dict[str, Tensor]:
    """One batch of several single inputs, shorter sequences filled up in front or behind."""
    lengths = [row["input_ids"].shape[1] for row in rows]
    rows = [{"attention_mask": torch.ones_like(row["input_ids"]), **row} for row in rows]
    batch: dict[str, Tensor] = {}
    for name in rows[0]:
        parts = [row[name] for row in rows]
        if all(p.dim() == 2 and p.shape[1] == n for p, n in zip(parts, lengths, strict=True)):
            fill = pad_token_id if name == "input_ids" else 0
            spare = [max(lengths) - n for n in lengths]
            sides = [(0, n) if side == "right" else (n, 0) for n in spare]
            parts = [pad(p, ends, value=fill) for p, ends in zip(parts, sides, strict=True)]
        batch[name] = torch.cat(parts)
    return batch
