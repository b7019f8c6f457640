"""Rows behind one shared prefix: what attention is given, and that joining changes nothing."""

from __future__ import annotations

import copy
import gc
import weakref
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionLayer

from headsight.models.prefixed_cache import (
    PrefixedCache,
    PrefixedLayer,
    can_share,
    joined_attention,
)


def filled(layer: DynamicLayer, tokens: int) -> DynamicLayer:
    """One head of width 1; the key of token i is i, its value -i."""
    keys = torch.arange(tokens, dtype=torch.float32).view(1, 1, tokens, 1)
    layer.update(keys, -keys)
    return layer


OWN = torch.tensor([[7.0, 8.0], [9.0, 10.0]]).view(2, 1, 2, 1)


def test_whole_rows_are_laid_together() -> None:
    layer = PrefixedLayer(filled(DynamicLayer(), 3), joined=False)
    assert layer.get_seq_length() == 3
    assert layer.get_mask_sizes(2) == (5, 0)
    keys, values = layer.update(OWN, -OWN)
    assert keys[:, 0, :, 0].tolist() == [[0, 1, 2, 7, 8], [0, 1, 2, 9, 10]]
    assert torch.equal(values, -keys)
    assert layer.get_seq_length() == 5
    assert layer.was_read


def test_joined_rows_keep_only_their_own_tokens() -> None:
    layer = PrefixedLayer(filled(DynamicLayer(), 3), joined=True)
    keys, _ = layer.update(OWN, -OWN)
    assert keys[:, 0, :, 0].tolist() == [[7, 8], [9, 10]]
    assert layer.prefix_keys.shape == (1, 1, 3, 1)
    assert layer.get_mask_sizes(1) == (6, 0)
    assert not layer.was_read  # no attention has met the prefix yet


def test_a_window_drops_the_start_of_the_prefix() -> None:
    """A window of 3 keeps 2 of 5 tokens; the first of them has the position 3."""
    layer = PrefixedLayer(filled(DynamicSlidingWindowLayer(3), 5), joined=False)
    assert layer.is_sliding
    assert layer.get_seq_length() == 5
    assert layer.get_mask_sizes(2) == (4, 3)
    keys, _ = layer.update(OWN, -OWN)
    assert keys[:, 0, :, 0].tolist() == [[3, 4, 7, 8], [3, 4, 9, 10]]


def test_rows_can_leave() -> None:
    layer = PrefixedLayer(filled(DynamicLayer(), 1), joined=False)
    layer.update(OWN, -OWN)
    layer.batch_select_indices(torch.tensor([1]))
    keys, _ = layer.update(OWN[:1, :, :1], OWN[:1, :, :1])
    assert keys[:, 0, :, 0].tolist() == [[0, 9, 10, 7]]


def test_only_keys_and_values_can_be_shared() -> None:
    assert can_share(DynamicCache(config=MistralConfig(num_hidden_layers=2, sliding_window=4)))
    cache = DynamicCache(config=LlamaConfig(num_hidden_layers=2))
    assert can_share(cache)
    cache.layers[1] = LinearAttentionLayer()
    assert not can_share(cache)


@cache
def llama(kv_heads: int, window: int | None = None) -> Any:
    torch.manual_seed(kv_heads)
    sizes = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 32, "initializer_range": 0.3}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": kv_heads}
    if window is None:
        return LlamaForCausalLM(LlamaConfig(**sizes, **layers)).eval()
    return MistralForCausalLM(MistralConfig(**sizes, **layers, sliding_window=window)).eval()


def behind(model: Any, prefix: Tensor, steps: list[Tensor], *, joined: bool) -> Tensor:
    """Scores of every own token, the tokens being given in several steps."""
    before = DynamicCache(config=model.config)
    model(prefix, past_key_values=before)
    rows = PrefixedCache(before, joined=joined)
    parts = []
    for ids in steps:
        start = rows.get_seq_length()
        places = torch.arange(start, start + ids.shape[1]).expand(len(ids), -1)
        parts.append(model(ids, past_key_values=rows, position_ids=places).logits)
        assert rows.was_read
    assert before.get_seq_length() == prefix.shape[1]
    return torch.cat(parts, 1)


@settings(max_examples=20)
@given(
    kv_heads=st.sampled_from([1, 2, 4]),
    window=st.sampled_from([None, 3, 6]),
    rows=st.integers(1, 4),
    prefix=st.integers(1, 9),
    lengths=st.lists(st.sampled_from([1, 1, 3, 20]), min_size=1, max_size=3),
)
def test_scores_are_those_of_whole_rows(
    kv_heads: int, window: int | None, rows: int, prefix: int, lengths: list[int]
) -> None:
    """20 new tokens make scores that outweigh a copied prefix: the other way through sdpa."""
    model = llama(kv_heads, window)
    generator = torch.Generator().manual_seed(prefix)
    shared = torch.randint(50, (1, prefix), generator=generator)
    steps = [torch.randint(50, (rows, n), generator=generator) for n in lengths]
    with torch.inference_mode():
        whole = model(torch.cat([shared.expand(rows, -1), *steps], 1)).logits[:, prefix:]
        beside = behind(model, shared, steps, joined=False)
        with joined_attention(model) as joined:
            assert joined
            together = behind(model, shared, steps, joined=True)
    # sums in another order; the scores are of order 10
    torch.testing.assert_close(beside, whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together, whole, atol=1e-4, rtol=1e-4)
    assert model.config._attn_implementation == "sdpa"


def test_other_attention_is_left_alone() -> None:
    model = copy.deepcopy(llama(2))
    model.set_attn_implementation("eager")
    with joined_attention(model) as joined:
        assert not joined
        assert model.config._attn_implementation == "eager"


def test_attention_that_misses_the_prefix_is_noticed() -> None:
    """With plain sdpa only the own keys would be met, and nothing would be raised."""
    model = llama(2)
    with torch.inference_mode():
        before = DynamicCache(config=model.config)
        model(torch.tensor([[1, 2, 3]]), past_key_values=before)
        rows = PrefixedCache(before, joined=True)
        model(torch.tensor([[4]]), past_key_values=rows)
    assert not rows.was_read


@pytest.mark.parametrize("joined", [True, False])
def test_nothing_is_kept_alive(joined: bool) -> None:
    layer = PrefixedLayer(filled(DynamicLayer(), 3), joined=joined)
    keys, _ = layer.update(OWN.clone(), OWN.clone())
    alive = weakref.ref(layer)
    gc.disable()
    try:
        del layer, keys
        assert alive() is None
    finally:
        gc.enable()
