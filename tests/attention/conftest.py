"""Small real models of many families, built from configs with a fixed seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

Build = Callable[[], tuple[nn.Module, dict[str, Any]]]

TEXT = {
    "vocab_size": 64,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.12,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""Grouped queries: 6 heads read 2 key heads."""


@dataclass(frozen=True)
class Specimen:
    """A model in evaluation mode and one batch for it."""

    model: Any
    inputs: dict[str, Any]

    def logits(self) -> Tensor:
        with torch.no_grad():
            return main_output(self.model(**self.inputs))


def main_output(answer: Any) -> Tensor:
    for name in ("logits", "logits_per_image", "last_hidden_state"):
        if getattr(answer, name, None) is not None:
            return getattr(answer, name)
    raise AssertionError(type(answer))


def ids(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(5, 60, (rows, length), generator=torch.Generator().manual_seed(seed))


def pad_left(batch: Tensor, count: int) -> dict[str, Tensor]:
    """The first row has `count` padding tokens in front."""
    mask = torch.ones_like(batch)
    mask[0, :count] = 0
    return {"input_ids": batch * mask, "attention_mask": mask}


def pad_right(batch: Tensor, count: int) -> dict[str, Tensor]:
    mask = torch.ones_like(batch)
    mask[0, -count:] = 0
    return {"input_ids": batch * mask, "attention_mask": mask}


def pixels(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


def llama(**options: Any) -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**TEXT, **options}))


def qwen3() -> nn.Module:
    shape = {**TEXT, "num_attention_heads": 4, "head_dim": 16}  # 4 x 16 is not 48
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**shape))


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=64, n_embd=48, n_layer=2, n_head=4, n_positions=64, initializer_range=0.12
    )
    return transformers.GPT2LMHeadModel(config)


def bert() -> nn.Module:
    shape = {k: v for k, v in TEXT.items() if "key_value" not in k} | {"num_hidden_layers": 2}
    return transformers.BertForMaskedLM(transformers.BertConfig(**shape))


def vision(**options: Any) -> dict[str, Any]:
    return {
        "image_size": 28,
        "patch_size": 14,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "initializer_range": 0.12,
        **options,
    }


def vit() -> nn.Module:
    return transformers.ViTModel(transformers.ViTConfig(**vision()))


def clip() -> nn.Module:
    text = {k: v for k, v in TEXT.items() if "key_value" not in k} | {"num_hidden_layers": 2}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision(), projection_dim=16)
    return transformers.CLIPModel(config)


def t5() -> nn.Module:
    config = transformers.T5Config(
        vocab_size=64,
        d_model=48,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=6,
        feed_forward_proj="gated-gelu",  # smooth, so that differences tell its derivatives
        decoder_start_token_id=0,
    )
    return transformers.T5ForConditionalGeneration(config)


def gemma2() -> nn.Module:
    config = transformers.Gemma2Config(
        **TEXT, head_dim=8, sliding_window=4, attn_logit_softcapping=2.0, query_pre_attn_scalar=8
    )
    return transformers.Gemma2ForCausalLM(config)


def mistral() -> nn.Module:
    config = transformers.MistralConfig(**TEXT, head_dim=8, sliding_window=4)
    return transformers.MistralForCausalLM(config)


IMAGE = 60
"""Token id of an image token."""


def llava() -> nn.Module:
    config = transformers.LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **vision()},
        text_config={"model_type": "llama", **TEXT},
        image_token_id=IMAGE,
        vision_feature_layer=-1,
    )
    return transformers.LlavaForConditionalGeneration(config)


def llava_inputs() -> dict[str, Any]:
    batch = ids(2, 12)
    batch[0, 3:7] = batch[1, 2:6] = IMAGE
    return {**pad_left(batch, 2), "pixel_values": pixels(2, 3, 28, 28)}


def paligemma() -> nn.Module:
    config = transformers.PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", **vision(vision_use_head=False)},
        text_config={"model_type": "gemma", **TEXT, "head_dim": 8},
        image_token_id=IMAGE,
        projection_dim=48,
    )
    return transformers.PaliGemmaForConditionalGeneration(config)


def paligemma_inputs() -> dict[str, Any]:
    batch = ids(2, 12)
    batch[:, :4] = IMAGE
    return {
        "input_ids": batch,
        "attention_mask": torch.ones_like(batch),
        "token_type_ids": torch.zeros_like(batch),
        "pixel_values": pixels(2, 3, 28, 28),
    }


def gemma3() -> nn.Module:
    text = {**TEXT, "head_dim": 8, "sliding_window": 4, "num_hidden_layers": 2}
    config = transformers.Gemma3Config(
        text_config={**text, "layer_types": ["sliding_attention", "full_attention"]},
        vision_config=vision(vision_use_head=False),
        mm_tokens_per_image=4,
        image_token_id=IMAGE,
    )
    return transformers.Gemma3ForConditionalGeneration(config)


def gemma3_inputs() -> dict[str, Any]:
    batch = ids(2, 14)
    batch[0, 3:7] = batch[1, 2:6] = IMAGE
    return {
        **pad_left(batch, 2),
        "token_type_ids": (batch == IMAGE).long(),
        "pixel_values": pixels(2, 3, 28, 28),
    }


def qwen2_5_vl() -> nn.Module:
    text = {**TEXT, "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
    config = transformers.Qwen2_5_VLConfig(
        text_config=text,
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "out_hidden_size": 48,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.12,
        },
        image_token_id=IMAGE,
        vision_start_token_id=61,
        vision_end_token_id=62,
        video_token_id=63,
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def qwen2_5_vl_inputs() -> dict[str, Any]:
    """Pictures of 4 x 8 and 4 x 4 patches: 8 and 4 tokens after merging."""
    batch = ids(2, 16)
    batch[:, 2] = 61
    batch[0, 3:11] = batch[1, 3:7] = IMAGE
    grids = torch.tensor([[1, 4, 8], [1, 4, 4]])
    return {
        "input_ids": batch,
        "attention_mask": torch.ones_like(batch),
        "mm_token_type_ids": (batch == IMAGE).long(),
        "pixel_values": pixels(48, 3 * 2 * 14 * 14),
        "image_grid_thw": grids,
    }


def nano() -> tuple[nn.Module, dict[str, Any]]:
    import numpy as np
    from PIL import Image

    import headsight
    from headsight.picture import Picture

    vlm: Any = headsight.load().vlm
    grey = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    inputs = dict(vlm.processor(Picture(Image.fromarray(grey)), "Where are the heads?"))
    seen = {name: inputs.pop(name) for name in ("pixel_values", "content_wh_rel")}
    with torch.no_grad():  # the encoder has no heads: run it once for all tests
        inputs["image_features"] = vlm.model.model.encode_pictures(*seen.values())
    return vlm.model, inputs


SPECIMENS: dict[str, Build] = {
    "llama": lambda: (llama(), pad_right(ids(2, 10), 2)),
    "llama, plain": lambda: (llama(), {"input_ids": ids(2, 10)}),
    "llama, left": lambda: (llama(), pad_left(ids(2, 10), 3)),
    "qwen3": lambda: (qwen3(), {"input_ids": ids(2, 10)}),
    "gpt2": lambda: (gpt2(), {"input_ids": ids(2, 10)}),
    "bert": lambda: (bert(), pad_right(ids(2, 10), 3)),
    "vit": lambda: (vit(), {"pixel_values": pixels(2, 3, 28, 28)}),
    "clip": lambda: (clip(), {"input_ids": ids(2, 8), "pixel_values": pixels(2, 3, 28, 28)}),
    "t5": lambda: (t5(), {**pad_right(ids(2, 9), 2), "decoder_input_ids": ids(2, 5, 1)}),
    "mistral": lambda: (mistral(), {"input_ids": ids(2, 10)}),
    "mistral, left": lambda: (mistral(), pad_left(ids(2, 10), 3)),
    "gemma2": lambda: (gemma2(), pad_left(ids(2, 10), 3)),
    "llava": lambda: (llava(), llava_inputs()),
    "paligemma": lambda: (paligemma(), paligemma_inputs()),
    "gemma3": lambda: (gemma3(), gemma3_inputs()),
    "qwen2.5-vl": lambda: (qwen2_5_vl(), qwen2_5_vl_inputs()),
    "nano": nano,
}


@cache
def build(name: str) -> Specimen:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, inputs = SPECIMENS[name]()
    return Specimen(model.eval(), inputs)


@pytest.fixture(scope="session")
def specimen() -> Callable[[str], Specimen]:
    """A model by name, built once; tests leave it as it was."""
    return build


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
