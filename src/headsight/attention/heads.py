"""Which attention heads a loaded model has, and what each is called."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from headsight.errors import InputError

__all__ = [
    "HeadAddress",
    "HeadId",
    "HeadSite",
    "HeadTable",
    "find_heads",
    "find_projections",
    "projection_candidates",
]


@dataclass(frozen=True, order=True)
class HeadId:
    """The address of one query head."""

    module: str
    """Name of its attention module in `model.named_modules()`."""
    layer: int
    """Zero-based number of the layer within its tower."""
    head: int
    """Zero-based."""
    tower: str = "text"


HeadAddress = HeadId | tuple[int, int]
"""A head, or (layer, head) of the tower that is asked."""


@dataclass(frozen=True)
class HeadSite:
    """One attention module: a row of the head table."""

    module: str
    tower: str
    layer: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    """Width of a head's output (of its values; queries may be wider or narrower)."""

    def kv_group(self, head: int) -> int:
        """The key and value head that query head `head` reads; its neighbours read it too."""
        return head // (self.num_heads // self.num_kv_heads)


@dataclass(frozen=True)
class HeadTable:
    """All attention modules of a model, in the order of its layers, tower by tower."""

    sites: tuple[HeadSite, ...]

    def __iter__(self) -> Iterator[HeadSite]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def towers(self) -> tuple[str, ...]:
        """Names: "text", "vision", "audio", "connector", or "encoder", "decoder", "cross"."""
        return tuple(dict.fromkeys(site.tower for site in self.sites))

    @property
    def main_tower(self) -> str:
        """The tower that is meant where none is named: "text", else "decoder", else the first."""
        return next((name for name in ("text", "decoder") if name in self.towers), self.towers[0])

    def tower(self, name: str | None = None) -> tuple[HeadSite, ...]:
        """The attention modules of one tower; the axis L of every tensor runs over them.

        Raises:
            InputError: there is no such tower.
        """
        name = name or self.main_tower
        found = tuple(site for site in self.sites if site.tower == name)
        if not found:
            raise InputError(f"No tower is called '{name}'. This model has: {self.towers}.")
        return found

    def head(self, layer: int, head: int, tower: str | None = None) -> HeadId:
        """The address of a head.

        Raises:
            InputError: there is no such tower, layer or head.
        """
        sites = self.tower(tower)
        site = next((site for site in sites if site.layer == layer), None)
        if site is None:
            layers = [site.layer for site in sites]
            raise InputError(f"Tower '{sites[0].tower}' has no layer {layer}. It has: {layers}.")
        if not 0 <= head < site.num_heads:
            raise InputError(
                f"Layer {layer} of tower '{site.tower}' has no head {head}."
                f" Its heads are 0 to {site.num_heads - 1}."
            )
        return HeadId(site.module, layer, head, site.tower)

    def resolve(self, address: HeadAddress, tower: str | None = None) -> HeadId:
        """The full address; a pair is (layer, head) of `tower`.

        Raises:
            InputError: there is no such head, or it belongs to another module.
        """
        if not isinstance(address, HeadId):
            return self.head(*address, tower)
        found = self.head(address.layer, address.head, address.tower)
        if found != address:
            raise InputError(
                f"{address} is called '{found.module}' in this model. The address is of another"
                " model: take it from this one's table."
            )
        return found

    def corrected(self, site: HeadSite, found: HeadSite) -> HeadTable:
        """The table with one row replaced."""
        return HeadTable(tuple(found if row == site else row for row in self.sites))


def find_heads(model: nn.Module) -> HeadTable:
    """Every module of a transformers model that calls the attention interface.

    Heads and widths are read from the usual attributes; the first forward pass corrects them where
    a family names them otherwise.
    """
    found: list[HeadSite] = []
    for name, module in model.named_modules():
        if _uses_interface(type(module)) and hasattr(module, "config"):  # type: ignore[arg-type]
            tower = _tower(model, name)
            order = sum(site.tower == tower for site in found)
            found.append(HeadSite(name, tower, order, *_shape(module)))
    return HeadTable(_with_layer_numbers(model, found))


def find_projections(model: nn.Module, pattern: str) -> HeadTable:
    """Output projections whose name matches `pattern`, where "..." or "*" stands for anything.

    Raises:
        InputError: none matches.
    """
    parts = [re.escape(part) for part in re.split(r"\.\.\.|\*", pattern)]
    wanted = re.compile(".*".join(parts))
    found: list[HeadSite] = []
    for name, module in model.named_modules():
        if wanted.fullmatch(name) and hasattr(module, "weight"):
            tower = _tower(model, name)
            order = sum(site.tower == tower for site in found)
            found.append(HeadSite(name, tower, order, *_projection_shape(model, name, module)))
    if not found:
        raise InputError(
            f"No projection is called '{pattern}'. Candidates: {projection_candidates(model)}."
        )
    return HeadTable(tuple(found))


def projection_candidates(model: nn.Module) -> str:
    """Patterns of the modules that may be output projections, layer numbers as stars."""
    found = dict.fromkeys(
        re.sub(r"(?<=\.)[0-9]+(?=\.)", "*", name)
        for name, module in model.named_modules()
        if _PROJECTION.search(name) and getattr(getattr(module, "weight", None), "ndim", 0) == 2
    )
    return ", ".join(repr(name) for name in found) or "none found"


_PROJECTION = re.compile(
    r"(^|\.)(o_proj|out_proj|output_projection|c_proj|wo|o|proj|(\w*attn\w*|\w*attention\w*)"
    r"(\.\w+)?\.(output\.dense|dense))$",
    re.IGNORECASE,
)
_BASE = PreTrainedModel.__module__
_CROSS = re.compile(r"cross|encdec|encoder_attn|encoder_decoder", re.I)
_TOWERS = {
    "connector": re.compile(r"connector|resampler|projector|qformer|perceiver|aligner", re.I),
    "vision": re.compile(r"vision|visual|image|(^|[._])vit($|[._])|pixel", re.I),
    "audio": re.compile(r"audio|speech", re.I),
}
_HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "encoder_attention_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads")
_WIDTHS = ("v_head_dim", "head_dim", "attention_head_size", "key_value_proj_dim", "d_kv")


@cache
def _uses_interface(kind: type[nn.Module]) -> bool:
    """Whether a class of modules looks its attention function up in the interface."""
    bases = [base for base in kind.__mro__ if base.__module__ != _BASE]
    functions = [f for base in bases for f in vars(base).values() if inspect.isfunction(f)]
    codes = [getattr(inspect.unwrap(function), "__code__", None) for function in functions]
    return any("ALL_ATTENTION_FUNCTIONS" in code.co_names for code in codes if code is not None)


def _tower(model: nn.Module, name: str) -> str:
    """The tower that a module belongs to, told by its name and by what its model takes."""
    parts = name.split(".")
    is_text = "language_model" in parts or "text_model" in parts
    for tower, words in _TOWERS.items():
        if words.search(name) and not is_text:
            return tower
    if _CROSS.search(".".join(parts[-2:])):
        return "cross"
    owners = [model.get_submodule(".".join(parts[:n])) for n in range(len(parts), -1, -1)]
    owner = next((module for module in owners if isinstance(module, PreTrainedModel)), None)
    if owner is not None and owner.main_input_name == "pixel_values":
        return "vision"
    configs = [getattr(one, "config", None) for one in (owner, model)]
    if any(getattr(config, "is_encoder_decoder", False) for config in configs):
        return next((side for side in ("decoder", "encoder") if side in parts), "text")
    return "text"


def _with_layer_numbers(model: nn.Module, sites: Sequence[HeadSite]) -> tuple[HeadSite, ...]:
    """The model's own `layer_idx` where it tells the layers of a tower apart, else their order."""
    numbered: list[HeadSite] = []
    for tower in dict.fromkeys(site.tower for site in sites):
        rows = [site for site in sites if site.tower == tower]
        own = [getattr(model.get_submodule(row.module), "layer_idx", None) for row in rows]
        if all(isinstance(i, int) for i in own) and len(set(own)) == len(own):
            rows = [replace(row, layer=int(i or 0)) for row, i in zip(rows, own, strict=True)]
        numbered += rows
    return tuple(numbered)


def _shape(module: nn.Module) -> tuple[int, int, int]:
    """Query heads, key and value heads, width of a head."""
    config: Any = getattr(module, "config", None)
    heads = _first(module, _HEADS) or _first(config, _HEADS) or 1
    groups = _first(module, ("num_key_value_groups",))
    kv_heads = heads // groups if groups else _first(module, _KV_HEADS)
    hidden = _first(config, ("hidden_size", "d_model", "n_embd", "embed_dim")) or heads
    width = _first(module, _WIDTHS) or _first(config, _WIDTHS) or hidden // heads
    return heads, kv_heads or heads, width


def _projection_shape(model: nn.Module, name: str, module: nn.Module) -> tuple[int, int, int]:
    parts = name.split(".")
    owners = [model.get_submodule(".".join(parts[:n])) for n in range(len(parts) - 1, -1, -1)]
    holders = [getattr(owner, "config", None) for owner in owners]
    heads = next((n for n in (_first(h, _HEADS) for h in (*owners[:2], *holders)) if n), 0)
    width = getattr(module, "in_features", None) or int(getattr(module, "weight").shape[0])  # noqa: B009
    if not heads or width % heads:
        raise InputError(
            f"'{name}' takes {width} numbers, but {heads or 'no'} heads are named beside it."
            f" Looked for {_HEADS} on the modules around it and their configs."
        )
    return heads, heads, width // heads


def _first(holder: Any, names: Sequence[str]) -> int:
    """The first of the attributes that is a positive whole number, or 0."""
    values = (getattr(holder, name, None) for name in names)
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0), 0)
