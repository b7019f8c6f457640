"""Attention in plain steps is that of transformers' `sdpa`, forwards and backwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from headsight.models.grounding.adapter import load_folder
from headsight.train.plain_attention import attend_plainly, plain_attention


def inputs(*, kv_heads: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 4, 7, 8), (2, kv_heads, 7, 8), (2, kv_heads, 7, 8))
    query, key, value = (torch.randn(s, generator=generator, requires_grad=True) for s in shapes)
    return query, key, value


@pytest.mark.parametrize("masked", [True, False], ids=["mask", "causal"])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_values_and_gradients_are_those_of_sdpa(kv_heads: int, *, masked: bool) -> None:
    module = nn.Module()
    module.num_key_value_groups = 4 // kv_heads  # type: ignore[assignment]
    mask = None
    if masked:
        mask = torch.ones(2, 1, 7, 7, dtype=torch.bool).tril()
        mask[1, :, 3:, 0] = False
    found = []
    for attend in (attend_plainly, sdpa_attention_forward):
        tensors = inputs(kv_heads=kv_heads)
        said, _ = attend(module, *tensors, mask, scaling=0.3)
        said.square().sum().backward()
        found.append([said.detach(), *(one.grad for one in tensors)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_is_added_to_the_scores_is_added() -> None:
    module = nn.Module()
    generator = torch.Generator().manual_seed(1)
    added = torch.randn(2, 1, 7, 7, generator=generator)
    theirs, _ = sdpa_attention_forward(module, *inputs(), added)
    torch.testing.assert_close(attend_plainly(module, *inputs(), added)[0], theirs)
    bias = torch.randn(1, 4, 7, 7, generator=generator)
    theirs, _ = sdpa_attention_forward(module, *inputs(), None, position_bias=bias)
    ours, _ = attend_plainly(module, *inputs(), None, position_bias=bias)
    torch.testing.assert_close(ours, theirs)


def test_a_row_that_may_look_nowhere_stays_finite() -> None:
    mask = torch.zeros(2, 1, 7, 7, dtype=torch.bool)
    assert attend_plainly(nn.Module(), *inputs(), mask)[0].isfinite().all()


def test_a_model_is_put_back(school: Any) -> None:
    model = load_folder(school.model).model
    with plain_attention(model):
        assert model.config._attn_implementation == "headsight_plain"
    assert model.config._attn_implementation == "sdpa"
    model.set_attn_implementation("eager")
    with plain_attention(model):
        assert model.config._attn_implementation == "eager"


def test_parts_that_attend_otherwise_are_left_and_put_back() -> None:
    trio = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(
                **trio, intermediate_size=16, image_size=8, patch_size=4
            ),
            text_config=LlamaConfig(**trio, intermediate_size=16, vocab_size=16),
            image_token_index=3,
        )
    )
    model.set_attn_implementation({"": "sdpa", "text_config": "sdpa", "vision_config": "eager"})

    def ways() -> list[str]:
        config = model.config
        parts = (config, config.text_config, config.vision_config)
        return [part._attn_implementation for part in parts]

    with plain_attention(model):
        assert ways() == ["headsight_plain", "headsight_plain", "eager"]
    assert ways() == ["sdpa", "sdpa", "eager"]


def test_a_model_says_the_same(school: Any) -> None:
    vlm = load_folder(school.model)
    ids = torch.arange(5, 17)[None].repeat(2, 1)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    with torch.no_grad():
        before = vlm.model(input_ids=ids, attention_mask=mask).logits
        with plain_attention(vlm.model):
            after = vlm.model(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[1, :9], before[1, :9])
