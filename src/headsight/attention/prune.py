"""Attention heads removed for real: rows of the weights go, and with them time and memory.

What is left computes what the whole model computes with those heads gated to 0 (Michel, Levy and
Neubig, arXiv 1905.10650). Heads that share keys and values (GQA) must stay in even groups; three
policies say how:

    group     whole groups go, and their keys and values with them
    balanced  the same number of heads stays in every group; keys and values stay
    expand    any heads: each gets a copy of its keys and values, so that the cache may grow
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from headsight.attention.heads import HeadSite, find_heads
from headsight.attention.interface import is_watched
from headsight.errors import InputError

__all__ = ["prune_heads_"]

_POLICIES = ("group", "balanced", "expand")

_NAMES = {
    "query": ("q_proj", "query"),
    "key": ("k_proj", "key"),
    "value": ("v_proj", "value"),
    "output": ("o_proj", "out_proj"),
}
_COUNTS = ("num_heads", "num_attention_heads")


def prune_heads_(
    model: nn.Module,
    keep: Mapping[int, Sequence[int]] | Mapping[str, Sequence[int]],
    *,
    gqa: str = "balanced",
    tower: str | None = None,
) -> nn.Module:
    """Remove all but some heads of some layers, in place, and return the model.

    A layer that loses all of them keeps its first, whose output is 0, so that caches stay whole.
    The shapes no longer follow the config: `from_pretrained` of such a model fails.

    Args:
        model: a transformers model with separate linear maps for queries, keys and values, or
            GPT-2's; neither quantised nor wrapped by peft.
        keep: heads that stay, by layer number of `tower` or by module name; others stay whole.
        gqa: what happens to keys and values that several heads share: "group", "balanced" or
            "expand", see above.
        tower: whose layers are numbered, by default the language model's.

    Raises:
        InputError: no such layer or head, an uneven rest, a layer that is made otherwise, or an
            open `HeadLab`. Nothing is changed then.
    """
    if gqa not in _POLICIES:
        raise InputError(f"gqa is {gqa!r}; expected one of {', '.join(_POLICIES)}.")
    if any(is_watched(module) for module in model.modules()):
        raise InputError("A HeadLab is open on this model. Leave its `with` block before pruning.")
    table = find_heads(model)
    by_name = {site.module: site for site in table}
    by_layer = {site.layer: site for site in table.tower(tower)}
    plans = []
    for address, heads in keep.items():
        site = by_name.get(address) if isinstance(address, str) else by_layer.get(address)
        if site is None:
            known = list(by_name) if isinstance(address, str) else list(by_layer)
            raise InputError(f"Heads of {address!r} are to be kept, but there are only: {known}.")
        plans.append(_plan(model, site, heads, gqa))
    for plan in plans:
        plan.apply_()
    return model


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is kept of one attention module."""

    module: nn.Module
    projections: Mapping[str, nn.Module]
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    """Key and value heads, one a group of the heads that stay."""
    widths: Mapping[str, int]
    """Of one head."""
    is_empty: bool

    def apply_(self) -> None:
        """Cut the weights."""
        rows = {
            "query": _rows(self.heads, self.widths["query"]),
            "key": _rows(self.kv_heads, self.widths["query"]),
            "value": _rows(self.kv_heads, self.widths["value"]),
            "output": _rows(self.heads, self.widths["value"]),
        }
        own: Any = self.module
        if "joint" in self.projections:
            joint = self.projections["joint"]
            parts = [rows["query"] + i * _width(joint, out=True) // 3 for i in range(3)]
            _cut_(joint, torch.cat(parts), out=True)
            own.split_size = len(rows["query"])
        else:
            for name in ("query", "key", "value"):
                _cut_(self.projections[name], rows[name], out=True)
        output = self.projections["output"]
        _cut_(output, rows["output"], out=False)
        if self.is_empty:
            with torch.no_grad():
                output.weight.zero_()  # type: ignore[operator]
        for name in _COUNTS:
            if name == _COUNTS[0] or hasattr(own, name):  # `find_heads` reads the first
                setattr(own, name, len(self.heads))
        if hasattr(own, "num_key_value_groups"):
            own.num_key_value_groups = len(self.heads) // len(self.kv_heads)
        if hasattr(own, "num_key_value_heads"):
            own.num_key_value_heads = len(self.kv_heads)
        if hasattr(own, "all_head_size"):
            own.all_head_size = len(rows["output"])


def _plan(model: nn.Module, site: HeadSite, heads: Sequence[int], gqa: str) -> _Plan:
    """The cuts in one module, checked.

    Raises:
        InputError: a head that is not there, an uneven rest, or a module that is made otherwise.
    """
    wrong = [head for head in heads if not 0 <= head < site.num_heads]
    if wrong:
        raise InputError(
            f"'{site.module}' has no head {wrong[0]}. Its heads are 0 to {site.num_heads - 1}."
        )
    kept = tuple(sorted(set(heads)))
    module = model.get_submodule(site.module)
    found = _projections(model, site)
    widths = _widths(found, site)
    _refuse_others(module, site, widths)
    if not kept:
        return _Plan(module, found, (0,), (0,), widths, is_empty=True)
    return _Plan(module, found, kept, _kept_groups(site, kept, gqa), widths, is_empty=False)


def _kept_groups(site: HeadSite, kept: Sequence[int], gqa: str) -> tuple[int, ...]:
    """The key and value heads that stay, in an order that fits the heads that do."""
    size = site.num_heads // site.num_kv_heads
    groups = [site.kv_group(head) for head in kept]
    if gqa == "expand" and size > 1:
        return tuple(groups)
    counts = [groups.count(group) for group in range(site.num_kv_heads)]
    is_even = set(counts) <= {0, size} if gqa == "group" else len(set(counts)) == 1
    if size > 1 and not is_even:
        wanted = "whole groups" if gqa == "group" else "the same number in every group"
        raise InputError(
            f"Of the {site.num_kv_heads} groups of {size} heads that share keys and values in"
            f" '{site.module}', {counts} heads would stay, but gqa={gqa!r} needs {wanted}. Keep"
            " whole groups (gqa='group'), as many in each ('balanced'), or any ('expand')."
        )
    return tuple(dict.fromkeys(groups))


def _projections(model: nn.Module, site: HeadSite) -> dict[str, nn.Module]:
    """The maps of an attention module, by what they make.

    Raises:
        InputError: it has others.
    """
    module = model.get_submodule(site.module)
    joint, output = getattr(module, "c_attn", None), getattr(module, "c_proj", None)
    if isinstance(joint, Conv1D) and isinstance(output, Conv1D):
        return {"joint": joint, "output": output}
    found: dict[str, nn.Module] = {}
    for role, names in _NAMES.items():
        map_ = next((getattr(module, name) for name in names if hasattr(module, name)), None)
        if map_ is None and role == "output":  # BERT: in the module beside
            parent = model.get_submodule(site.module.rpartition(".")[0])
            map_ = getattr(getattr(parent, "output", None), "dense", None)
        if type(map_) is not nn.Linear:
            kind = "none" if map_ is None else f"a {type(map_).__module__}.{type(map_).__name__}"
            raise InputError(
                f"'{site.module}' has {kind} for its {role}, but heads are only removed from plain"
                " linear maps, one each for queries, keys, values and output. Gate the heads to 0"
                " instead (HeadLab.run), or merge adapters and dequantise first."
            )
        found[role] = map_
    return found


def _widths(found: Mapping[str, nn.Module], site: HeadSite) -> dict[str, int]:
    """Width of a head's queries and of its values.

    Raises:
        InputError: the maps do not divide into heads.
    """
    value = query = _width(found["output"], out=False)
    if "joint" in found:
        whole = _width(found["joint"], out=True) == 3 * value
    else:
        query = _width(found["query"], out=True)
        keys, values = (_width(found[name], out=True) for name in ("key", "value"))
        ratio = site.num_heads // site.num_kv_heads
        whole = keys * ratio == query and values * ratio == value
    if not whole or query % site.num_heads or value % site.num_heads:
        raise InputError(
            f"The maps of '{site.module}' do not divide into {site.num_heads} heads of"
            f" {site.num_kv_heads} keys and values. Gate the heads to 0 instead (HeadLab.run)."
        )
    return {"query": query // site.num_heads, "value": value // site.num_heads}


def _refuse_others(module: nn.Module, site: HeadSite, widths: Mapping[str, int]) -> None:
    """Pass unless something else in the module has a place for each head."""
    own = {"query": site.num_heads * widths["query"], "key": site.num_kv_heads * widths["query"]}
    for name, parameter in module.named_parameters():
        part, _, rest = name.partition(".")
        is_map = any(part in names for names in _NAMES.values()) or part in ("c_attn", "c_proj")
        by_head = parameter.shape[0] in (site.num_heads, *own.values())
        is_one_head = parameter.shape == (widths["query"],)  # a norm that all heads share
        if not is_map and rest != "dense" and by_head and not is_one_head:
            raise InputError(
                f"'{site.module}.{name}' has a place for each head, which is not cut here."
                " Gate the heads to 0 instead (HeadLab.run)."
            )
    if hasattr(module, "has_relative_attention_bias"):
        raise InputError(
            f"'{site.module}' shares a position bias by head with other layers (T5), so that its"
            " heads cannot be removed alone. Gate them to 0 instead (HeadLab.run)."
        )


def _rows(heads: Sequence[int], width: int) -> Tensor:
    """Rows of some heads, head by head."""
    return (torch.tensor(heads)[:, None] * width + torch.arange(width)).flatten()


def _width(map_: nn.Module, *, out: bool) -> int:
    """How many numbers a map gives, or takes."""
    weight: Any = map_.weight
    return int(weight.shape[int(out == isinstance(map_, Conv1D))])


def _cut_(map_: nn.Module, rows: Tensor, *, out: bool) -> None:
    """Keep some of what a map gives (`out`) or takes."""
    own: Any = map_
    is_conv = isinstance(map_, Conv1D)
    axis = int(out == is_conv)
    own.weight = _taken(own.weight, rows, axis)
    if out and own.bias is not None:
        own.bias = _taken(own.bias, rows, 0)
    if is_conv:
        own.nf, own.nx = own.weight.shape[1], own.weight.shape[0]
    else:
        own.out_features, own.in_features = own.weight.shape


def _taken(parameter: nn.Parameter, rows: Tensor, axis: int) -> nn.Parameter:
    cut = parameter.detach().index_select(axis, rows.to(parameter.device)).clone()
    return nn.Parameter(cut, requires_grad=parameter.requires_grad)
