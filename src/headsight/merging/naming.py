"""What the names of tensors tell: their order, their layer, and the unit they belong to."""

from __future__ import annotations

__all__ = ["depths", "natural_key", "part_rows", "unit_of"]

import re
from collections.abc import Iterable, Mapping
from typing import Any

_LAYER = re.compile(r"^((?:[^.]+\.)*?[^.]*?)\.(\d+)(?:\.|$)")
_PACKED = re.compile(
    r"(?:^|[._])(qkv|qkv_proj|query_key_value|wqkv|in_proj|c_attn)(?:[._]|$)", re.I
)
_FIRST = ("embed", "wte", "wpe", "patch")
"""Words in names of what comes before the layers."""


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts names with their numbers as numbers: layer 2 before layer 10."""
    pieces = re.findall(r"\d+|\D+", name)
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in pieces)


def depths(names: Iterable[str]) -> dict[str, float]:
    """Where each tensor is between the first layer (0) and the last (1) of its stack.

    What is in no layer is at 0 if its name speaks of embedding, else at 1.
    """
    found = {name: _LAYER.match(name) for name in names}
    last: dict[str, int] = {}
    for match in found.values():
        if match:
            last[match[1]] = max(last.get(match[1], 0), int(match[2]))
    return {
        name: (int(match[2]) / max(last[match[1]], 1))
        if match
        else (0.0 if any(word in name.lower() for word in _FIRST) else 1.0)
        for name, match in found.items()
    }


def unit_of(name: str, granularity: str) -> str:
    """The unit that wins or loses as a whole: a module with its bias, or a whole layer."""
    match = _LAYER.match(name)
    if granularity == "block" and match:
        return f"{match[1]}.{match[2]}"
    return name.rpartition(".")[0] or name


def part_rows(
    name: str, shape: tuple[int, ...], config: Mapping[str, Any]
) -> tuple[tuple[str, int, int], ...]:
    """Title, first row and end of the query, key and value part of a packed map.

    Rows are divided by the numbers of heads in `config`, equally without them. Empty for tensors
    that are not packed or whose rows do not divide so.
    """
    module, _, leaf = name.rpartition(".")
    if not _PACKED.search(module) or leaf not in ("weight", "bias") or not shape:
        return ()
    rows = shape[0]
    if len(shape) == 2 and rows % 3 != 0 and rows == shape[1]:
        return ()
    text = config.get("text_config") or config
    heads = text.get("num_attention_heads") or 1
    grouped = text.get("num_multi_query_heads") or text.get("num_key_value_heads") or heads
    is_equal = rows % 3 == 0 and (len(shape) < 2 or rows == 3 * shape[1])
    query, key = (1, 1) if is_equal else (heads, grouped)
    if rows % (query + 2 * key):
        return ()
    step = rows // (query + 2 * key)
    ends = (0, query * step, (query + key) * step, rows)
    return tuple((title, ends[i], ends[i + 1]) for i, title in enumerate("qkv"))
