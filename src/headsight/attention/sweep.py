"""A metric with each head ablated alone, a layer's heads as one batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headsight.attention.ablations import Ablation, PatternPreserving
from headsight.attention.edits import sort_edits
from headsight.attention.engine import Engine
from headsight.attention.heads import HeadAddress, HeadId, HeadSite
from headsight.attention.replay import Replay, part_of, tile_inputs
from headsight.errors import InputError

__all__ = ["sweep_heads"]


def sweep_heads(
    engine: Engine,
    inputs: Mapping[str, Any],
    metric_fn: Callable[[Any], Any],
    make: Callable[[HeadId], Ablation],
    *,
    heads: Sequence[HeadAddress] | None,
    tower: str | None,
    batch_heads: int | None,
) -> Float[Tensor, "l h"]:
    """The metric for each head; NaN where it was not asked for. See `HeadLab.sweep`."""
    sites = engine.table.tower(tower)
    wanted = _by_module(engine, sites, heads, tower)
    inputs = _prepared(engine.model, inputs)
    batch = _batch_size(inputs)
    result = torch.full((len(sites), max(site.num_heads for site in sites)), torch.nan)
    first = next((heads[0] for heads in wanted.values() if heads), None)
    if first is None:
        return result
    memory = Replay(engine.model, [site.module for site in sites])
    with torch.no_grad(), ExitStack() as stack:
        replay_patterns = None
        if isinstance(make(first), PatternPreserving):
            replay_patterns = stack.enter_context(engine.clean_patterns())
        with memory.remembering():
            engine.model(**inputs)
        if replay_patterns is not None:
            replay_patterns()
        for row, site in enumerate(sites):
            # the pictures of a split tower lie in one row, so that copies cannot be told apart
            size = 1 if engine.is_split(site) else batch_heads
            for part in _parts(wanted[site.module], size):
                with memory.from_layer(site.module, len(part), batch):
                    answer = _run(engine, inputs, [make(head) for head in part], batch, tower)
                for i, head in enumerate(part):
                    value = torch.as_tensor(metric_fn(part_of(answer, i, len(part))))
                    result[row, head.head] = value.float().mean().cpu()
    return result


def _run(
    engine: Engine,
    inputs: Mapping[str, Any],
    ablations: Sequence[Ablation],
    batch: int,
    tower: str | None,
) -> Any:
    """The model's answer to a copy of the inputs for each ablation."""
    copies = len(ablations)
    if copies > 1:
        ablations = [
            replace(ablation, examples=slice(i * batch, (i + 1) * batch))
            for i, ablation in enumerate(ablations)
        ]
    engine.edits = sort_edits(engine.table, tower, None, ablations)
    try:
        return engine.model(**tile_inputs(inputs, copies))
    finally:
        engine.edits = {}


def _parts(heads: Sequence[HeadId], size: int | None) -> Iterator[Sequence[HeadId]]:
    size = size or len(heads)
    return (heads[start : start + size] for start in range(0, len(heads), max(size, 1)))


def _by_module(
    engine: Engine,
    sites: Sequence[HeadSite],
    heads: Sequence[HeadAddress] | None,
    tower: str | None,
) -> dict[str, list[HeadId]]:
    found: dict[str, list[HeadId]] = {site.module: [] for site in sites}
    if heads is None:
        return {
            s.module: [HeadId(s.module, s.layer, h, s.tower) for h in range(s.num_heads)]
            for s in sites
        }
    for address in heads:
        head = engine.table.resolve(address, tower)
        if head.module not in found:
            raise InputError(f"{head} is not in tower '{sites[0].tower}', which is swept.")
        found[head.module].append(head)
    return found


def _prepared(model: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("labels", "past_key_values"):
        if inputs.get(name) is not None:
            raise InputError(
                f"'{name}' cannot be among the inputs of a sweep, which runs copies of them as one"
                " batch. Compute the loss in metric_fn from the logits; pass whole sequences."
            )
    takes = inspect.signature(model.forward).parameters
    return ({"use_cache": False} if "use_cache" in takes else {}) | dict(inputs)


def _batch_size(inputs: Mapping[str, Any]) -> int:
    names = ("input_ids", "inputs_embeds", "pixel_values", "input_values", "input_features")
    for name in names:
        if isinstance(inputs.get(name), Tensor):
            return len(inputs[name])
    raise InputError(f"The inputs {sorted(inputs)} have none of {names}, which tell the batch.")
