"""What one forward pass changes: gates and ablations, sorted by attention module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from headsight.attention.ablations import (
    Ablation,
    PatternPreserving,
    TokenMask,
    Undifferentiated,
    edit_outputs_,
    scale_queries,
)
from headsight.attention.call import AttentionCall, TokenBlock
from headsight.attention.heads import HeadSite, HeadTable
from headsight.errors import InputError

__all__ = ["Gates", "SiteEdit", "keeps_patterns", "sort_edits"]

Gates = Tensor | Mapping[int, Tensor] | Mapping[str, Tensor]
"""(H,), (L, H) or (B, L, H); or (H,) or (B, H) by layer number or by module name."""


@dataclass(frozen=True, eq=False)
class SiteEdit:
    """The changes in one attention module."""

    gate: Tensor | None = None
    """(H,) or (B, H), multiplied on the head outputs."""
    ablations: tuple[tuple[Ablation, tuple[int, ...]], ...] = field(default=())
    """Each with its heads in this module."""

    def before(self, call: AttentionCall) -> AttentionCall:
        """The call with its queries and its keys in sight changed."""
        for ablation, heads in self.ablations:
            if isinstance(ablation, Undifferentiated):
                options = dict(call.options)
                if options.get("position_bias") is not None:
                    batch = call.query.shape[0]
                    bias = options["position_bias"].expand(batch, -1, -1, -1)
                    options["position_bias"] = scale_queries(bias, ablation, heads)
                query = scale_queries(call.query, ablation, heads)
                call = replace(call, query=query, options=options)
            elif isinstance(ablation, TokenMask):
                keys = torch.tensor(ablation.keys, dtype=torch.long)
                block = TokenBlock(heads, keys, ablation.renormalise, ablation.examples)
                call = replace(call, blocks=(*call.blocks, block))
        return call

    def after(
        self, out: Tensor, call: AttentionCall | None, gate: Tensor | None, chunk_rows: int
    ) -> Tensor:
        """Head outputs (B, Q, H, D), changed. `gate` is broadcast against them."""
        if self.ablations:
            out = out.clone()
        for block in () if call is None else call.blocks:
            index = torch.tensor(block.heads, device=out.device)
            out[block.examples, :, index] = _recomputed(call, block, chunk_rows).to(out.dtype)  # type: ignore[arg-type]
        for ablation, heads in self.ablations:
            edit_outputs_(out, ablation, heads)
        return out if gate is None else out * gate.to(out)


def sort_edits(
    table: HeadTable, tower: str | None, gates: Gates | None, ablations: Sequence[Ablation]
) -> dict[str, SiteEdit]:
    """Gates and ablations by the module they belong to.

    Raises:
        InputError: a gate has another shape than the tower, a head is not there, or two token masks
            name one head.
    """
    edits = {m: SiteEdit(gate) for m, gate in _gates_by_module(table, tower, gates).items()}
    for ablation in ablations:
        by_module: dict[str, list[int]] = {}
        for address in ablation.heads:
            head = table.resolve(address, tower)
            by_module.setdefault(head.module, []).append(head.head)
        for module, heads in by_module.items():
            edit = edits.get(module, SiteEdit())
            _refuse_second_mask(edit, ablation, heads)
            edits[module] = replace(edit, ablations=(*edit.ablations, (ablation, tuple(heads))))
    return edits


def keeps_patterns(edits: Mapping[str, SiteEdit]) -> bool:
    """Whether an untouched run is needed first."""
    return any(isinstance(a, PatternPreserving) for e in edits.values() for a, _ in e.ablations)


def _gates_by_module(table: HeadTable, tower: str | None, gates: Gates | None) -> dict[str, Tensor]:
    if gates is None:
        return {}
    sites = table.tower(tower)
    if isinstance(gates, Tensor):
        if gates.dim() not in (1, 2, 3) or (gates.dim() > 1 and gates.shape[-2] != len(sites)):
            raise InputError(
                f"Gates of the shape {tuple(gates.shape)} do not fit the {len(sites)} layers of"
                f" tower '{sites[0].tower}'. Pass (H,), (L, H) or (B, L, H), or a dict by layer."
            )
        rows = [gates] * len(sites) if gates.dim() == 1 else list(gates.unbind(-2))
        found = {site.module: gate for site, gate in zip(sites, rows, strict=True)}
    else:
        found = {_module(table, sites, key): gate for key, gate in gates.items()}
    heads = {site.module: site.num_heads for site in table}
    for module, gate in found.items():
        if gate.dim() not in (1, 2) or gate.shape[-1] != heads[module]:
            raise InputError(
                f"The gate of '{module}' has the shape {tuple(gate.shape)}, but must be"
                f" ({heads[module]},) or (B, {heads[module]})."
            )
    return found


def _module(table: HeadTable, sites: Sequence[HeadSite], key: int | str) -> str:
    names = [s.module for s in (table if isinstance(key, str) else sites)]
    labels = names if isinstance(key, str) else [s.layer for s in sites]
    if key not in labels:
        raise InputError(f"A gate is given for {key!r}, but there are only: {labels}.")
    return names[labels.index(key)]  # type: ignore[arg-type]


def _refuse_second_mask(edit: SiteEdit, ablation: Ablation, heads: Sequence[int]) -> None:
    if not isinstance(ablation, TokenMask):
        return
    for other, taken in edit.ablations:
        apart = other.examples != ablation.examples
        if isinstance(other, TokenMask) and set(taken) & set(heads) and not apart:
            raise InputError(
                f"Two token masks name head {min(set(taken) & set(heads))} of one layer."
                " Give all its keys in one."
            )


def _recomputed(call: AttentionCall, block: TokenBlock, chunk_rows: int) -> Tensor:
    """Outputs (B, Q, h, D) of the heads of a token mask from their weights, in parts of rows."""
    part = call.select(block.examples, block.heads)
    local = replace(block, heads=tuple(range(len(block.heads))), examples=slice(None))
    part = replace(part, blocks=(local,))
    value = part.value.float()
    return torch.cat([c.weights @ value for c in part.chunks(chunk_rows)], 2).transpose(1, 2)
