"""Many questions about one picture, for any image-text-to-text model of transformers.

The vision tower runs once, and the tokens that all prompts begin with, the picture among them, are
prefilled once. The rest of each prompt and its answer follow in batches behind that one prefix, as
in `grounding.prefix` for our own model. The tokens are those of greedy `generate` asked one
question at a time, without the penalties and forced tokens of a generation config: such are
`filters` here.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.cache_utils import DynamicSlidingWindowLayer

from headsight.models.greedy import Filters, GreedyWriter
from headsight.models.grounding.prefix import Written
from headsight.models.prefixed_batch import PrefixedBatch, last_only, without_axis
from headsight.models.prefixed_cache import PrefixedCache, can_share, joined_attention
from headsight.models.prompt_checks import check_prompts
from headsight.models.whole_prompts import PER_TOKEN, answer_whole

__all__ = ["after_prefix", "answer_shared", "forgets", "prefill", "shared_length"]

_COUNTS = "_prepare_position_ids_for_generation"


@torch.inference_mode()
def answer_shared(
    model: PreTrainedModel,
    inputs: Sequence[Mapping[str, Tensor]],
    *,
    max_new_tokens: int,
    eos_token_id: int | Sequence[int] | None = None,
    batch_rows: int = 16,
    filters: Filters = None,
) -> list[Written]:
    """Greedy answers to several prompts about one picture, in the order of `inputs`.

    Where `shared_length` is 0, whole prompts are answered by `generate`, and the picture's features
    are computed once all the same, unless the model has no `get_image_features`.

    Args:
        model: in eval mode, with any attention implementation.
        inputs: what the processor gives for each prompt, batch 1; the pictures must be equal.
        max_new_tokens: longest answer; rows that end earlier leave their batch.
        eos_token_id: end of an answer; that of the generation config by default.
        batch_rows: rows decoded together, which bounds memory.
        filters: change scores, given the ids of prompt and answer so far; one for all rows sees a
        batch of them, padded on the left with zeros, one a row only its own.

    Raises:
        InputError: an encoder-decoder, a batch, padding, different pictures, or no token types
        where the model would silently go wrong without them.
    """
    check_prompts(model, inputs, batch_rows, filters)
    if max_new_tokens <= 0 or not inputs:
        return [Written((), (), ended=False) for _ in inputs]
    inputs = _on_device(inputs, model.device)
    lengths = [one["input_ids"].shape[1] for one in inputs]
    writer = GreedyWriter(lengths, _ends(model, eos_token_id), filters)
    shared = shared_length(model, inputs)
    if shared:
        _answer_behind(model, inputs, shared, writer, max_new_tokens, batch_rows)
    else:
        answer_whole(model, inputs, writer, max_new_tokens=max_new_tokens, batch_rows=batch_rows)
    return writer.written()


@torch.inference_mode()
def after_prefix(
    model: PreTrainedModel, inputs: Sequence[Mapping[str, Tensor]], *, at_most: int
) -> tuple[int, list[dict[str, Any]]]:
    """What the model is called with to read each prompt alone, the common start read beforehand.

    The first number is how many tokens (`at_most` so many) are in the cache that comes with each
    call; the rest of the prompt follows. Every call can be made once. Where nothing can be shared
    it is 0, and the calls are the inputs.

    Raises:
        InputError: see `answer_shared`.
    """
    check_prompts(model, inputs, 1, None)
    inputs = _on_device(inputs, model.device)
    shared = shared_length(model, inputs, at_most=at_most) if len(inputs) > 1 else 0
    longest = max((one["input_ids"].shape[1] for one in inputs), default=0)
    if not shared or forgets(DynamicCache(config=model.config), longest):
        return 0, [dict(one) for one in inputs]
    prefix, start = prefill(model, inputs[0], shared)
    calls = []
    for one in inputs:
        rest = one["input_ids"][:, shared:]
        axes = torch.arange(rest.shape[1], device=model.device) + start  # (axes, 1, t)
        calls.append(
            {
                "input_ids": rest,
                "position_ids": without_axis(axes),
                "past_key_values": PrefixedCache(prefix, joined=False),
                "use_cache": True,
                **last_only(model),
            }
        )
    return shared, calls


def shared_length(
    model: PreTrainedModel,
    inputs: Sequence[Mapping[str, Tensor]],
    *,
    at_most: int | None = None,
) -> int:
    """How many tokens at the start of the prompts can be prefilled once for all.

    It is 0 where prompts differ before the last image token, where image tokens cannot be told,
    where the picture attends to the question behind it (PaliGemma), and where a layer remembers
    something else than keys and values (linear attention).
    """
    prompts = [one["input_ids"][0] for one in inputs]
    limit = min(map(len, prompts)) - 1  # at least one token must follow and give the first scores
    limit = limit if at_most is None else min(limit, at_most)
    same = torch.stack([ids[:limit] == prompts[0][:limit] for ids in prompts]).all(0)
    length = int(same.long().cumprod(0).sum())
    image = getattr(model.config, "image_token_id", None)
    if image is None or not bool((prompts[0][:length] == image).any()):
        return 0
    if any(bool((ids[length:] == image).any()) for ids in prompts):
        return 0
    if not can_share(DynamicCache(config=model.config)):
        return 0
    return 0 if _sees_ahead(model, inputs[0], length) else length


def _sees_ahead(model: PreTrainedModel, one: Mapping[str, Tensor], length: int) -> bool:
    """Whether one of the first `length` tokens attends to a later one."""
    make_masks = getattr(model, "create_masks_for_generate", None)
    if make_masks is None:  # causal
        return False
    shape = one["input_ids"].shape
    masks = make_masks(
        config=model.config,
        inputs_embeds=torch.empty(*shape, 0, dtype=model.dtype, device=model.device),
        attention_mask=None,
        past_key_values=None,
        position_ids=None,
        is_first_iteration=True,
        **{name: ids for name, ids in one.items() if name.endswith("token_type_ids")},
    )
    for mask in masks.values() if isinstance(masks, dict) else [masks]:
        if mask is None:
            continue
        if not isinstance(mask, Tensor) or mask.ndim != 4:
            return True  # of an implementation that cannot be looked into
        ahead = mask[:, :, :length, length:]
        if bool((ahead if ahead.dtype == torch.bool else ahead == 0).any()):
            return True
    return False


def _answer_behind(
    model: PreTrainedModel,
    inputs: Sequence[Mapping[str, Tensor]],
    shared: int,
    writer: GreedyWriter,
    max_new_tokens: int,
    batch_rows: int,
) -> None:
    """Every answer behind the first `shared` tokens of the prompts, which are prefilled here."""
    prompts = [one["input_ids"][0] for one in inputs]
    lengths = [len(ids) for ids in prompts]
    prefix, start = prefill(model, inputs[0], shared)
    # a gap before a shorter question would take places of a sliding window
    level = forgets(prefix, max(lengths) + max_new_tokens)
    with joined_attention(model) as joined:
        for rows in _groups(lengths, batch_rows, level=level):
            batch = PrefixedBatch(model, [prompts[row] for row in rows], shared, start)
            batch.begin(prefix, joined=joined)
            for step in range(max_new_tokens):
                chosen = writer.choose(rows, batch.seen, batch.scores)
                places = writer.unfinished(rows)
                if not places or step == max_new_tokens - 1:
                    break
                rows = [rows[place] for place in places]
                batch.advance(places, chosen[places])


def forgets(cache: DynamicCache, length: int) -> bool:
    """Whether a layer keeps fewer than `length` tokens (a sliding window)."""
    return any(
        isinstance(layer, DynamicSlidingWindowLayer) and layer.sliding_window < length
        for layer in cache.layers
    )


def prefill(
    model: PreTrainedModel, one: Mapping[str, Tensor], shared: int
) -> tuple[DynamicCache, Int[Tensor, "axes n 1"]]:
    """The cache of the first `shared` tokens of n rows, and the position of the token behind."""
    positions = _rope_positions(model, one)
    values = {name: v[:, :shared] if name in PER_TOKEN else v for name, v in one.items()}
    if positions is not None:
        values["position_ids"] = without_axis(positions[..., :shared])
    cache = DynamicCache(config=model.config)
    model(**values, past_key_values=cache, use_cache=True, **last_only(model))
    if positions is None:
        rows = len(one["input_ids"])
        return cache, torch.full((1, rows, 1), shared, device=model.device)
    return cache, positions[..., shared : shared + 1]


def _rope_positions(
    model: PreTrainedModel, one: Mapping[str, Tensor]
) -> Int[Tensor, "axes n length"] | None:
    """Time, row and column of each token for models with such (M-RoPE, arXiv:2409.12191).

    One position a token for models that count them in a way of their own, as CogVLM does.
    """
    index = getattr(model.base_model, "get_rope_index", None)
    if index is None:
        counted = getattr(type(model), _COUNTS, None)
        if counted in (None, getattr(GenerationMixin, _COUNTS)):
            return None
        return counted(model, one["input_ids"], dict(one))[None]  # type: ignore[no-any-return]
    taken = inspect.signature(index).parameters
    positions, _ = index(**{name: value for name, value in one.items() if name in taken})
    return positions  # type: ignore[no-any-return]


def _groups(lengths: Sequence[int], batch_rows: int, *, level: bool) -> Iterator[list[int]]:
    """Numbers of the rows answered together: alike in length, or of one length where `level`."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    runs = groupby(order, key=lengths.__getitem__) if level else [(0, iter(order))]
    for _, run in runs:
        rows = list(run)
        for first in range(0, len(rows), batch_rows):
            yield rows[first : first + batch_rows]


def _on_device(
    inputs: Sequence[Mapping[str, Tensor]], device: torch.device
) -> list[Mapping[str, Tensor]]:
    """The inputs with one copy of the picture, that of the first."""
    first = {name: value.to(device) for name, value in inputs[0].items()}
    return [
        {name: one[name].to(device) if name in PER_TOKEN else first[name] for name in one}
        for one in inputs
    ]


def _ends(model: PreTrainedModel, eos_token_id: int | Sequence[int] | None) -> set[int]:
    if eos_token_id is None:
        eos_token_id = model.generation_config.eos_token_id
    return {eos_token_id} if isinstance(eos_token_id, int) else set(eos_token_id or ())
