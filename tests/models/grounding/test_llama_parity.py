"""The language part is a LLaMA: the same logits as transformers' own, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from headsight.errors import CheckpointError
from headsight.models.grounding import GroundingVLM
from headsight.models.grounding.convert import seed_from_llama_
from headsight.models.grounding.positions import build_position_ids

Build = Callable[..., GroundingVLM]
IDS = torch.tensor([[1, 5, 9, 33, 2, 71, 8, 90, 17, 4]])


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = LlamaConfig(
            vocab_size=96,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-5,
            initializer_range=0.2,
        )
        return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def seeded(build: Build, llama: LlamaForCausalLM) -> GroundingVLM:
    model = build(num_key_value_heads=2)
    seed_from_llama_(model, llama.state_dict())
    return model


def test_text_alone_equals_llama_whatever_the_experts_hold(
    seeded: GroundingVLM, llama: LlamaForCausalLM
) -> None:
    with torch.no_grad():
        wanted = llama(IDS).logits
        assert (seeded(IDS).logits - wanted).abs().max() == 0
        noisy = {
            name: torch.randn_like(p) for name, p in seeded.named_parameters() if "vision" in name
        }
        kept = {name: p.clone() for name, p in seeded.named_parameters() if "vision" in name}
        seeded.load_state_dict(noisy, strict=False)
        assert (seeded(IDS).logits - wanted).abs().max() == 0
        seeded.load_state_dict(kept, strict=False)


def test_experts_that_are_copies_equal_llama_at_our_positions(
    seeded: GroundingVLM, llama: LlamaForCausalLM, pixels: torch.Tensor
) -> None:
    types = torch.zeros_like(IDS)
    types[:, 1:7] = 1
    with torch.no_grad():
        embeds = seeded.model.embed_tokens(IDS)
        embeds[:, 1:7] = seeded.model.vision(seeded.model.encode_pictures(pixels[:1]))
        positions = build_position_ids(types)
        # a 4D mask keeps llama from taking shared positions for packed sequences
        mask = torch.ones(1, 1, 10, 10, dtype=torch.bool).tril()
        wanted = llama(inputs_embeds=embeds, position_ids=positions, attention_mask=mask).logits
        given = seeded(IDS, token_type_ids=types, pixel_values=pixels[:1], attention_mask=mask)
        # matrix products of fewer rows may round otherwise, in the last bit
        torch.testing.assert_close(given.logits, wanted, rtol=0, atol=1e-6)
        routed = seeded(inputs_embeds=embeds, attention_mask=mask, position_ids=positions)
        assert (routed.logits - wanted).abs().max() == 0  # all through the language weights


def test_foreign_llama_weights_are_refused(build: Build, llama: LlamaForCausalLM) -> None:
    weights = llama.state_dict()
    with pytest.raises(CheckpointError, match="do not fit"):
        seed_from_llama_(build(), weights)  # 4 key-value heads here, 2 there
    del weights["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(CheckpointError, match="up_proj"):
        seed_from_llama_(build(num_key_value_heads=2), weights)
