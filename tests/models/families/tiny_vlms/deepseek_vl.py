"""DeepSeek-VL and its hybrid with a second tower."""

from __future__ import annotations

from typing import Any

from transformers import (
    DeepseekVLConfig,
    DeepseekVLForConditionalGeneration,
    DeepseekVLHybridConfig,
    DeepseekVLHybridForConditionalGeneration,
    DeepseekVLHybridProcessor,
    DeepseekVLProcessor,
)
from transformers.models.deepseek_vl.image_processing_pil_deepseek_vl import (
    DeepseekVLImageProcessorPil,
)
from transformers.models.deepseek_vl_hybrid.image_processing_pil_deepseek_vl_hybrid import (
    DeepseekVLHybridImageProcessorPil,
)

from tiny_vlms.tiny import HIDDEN, Tiny, build, text_config, tokenizer, vision_config

SPECIALS = {"image_token": "<image_placeholder>"}


def words() -> Any:
    return tokenizer(list(SPECIALS.values()), extra_special_tokens=SPECIALS)


def configs(made: Any) -> dict[str, Any]:
    return {
        "text_config": {"model_type": "llama", **text_config(len(made.tokenizer))},
        "vision_config": {
            "model_type": "siglip_vision_model",
            "vision_use_head": False,
            **vision_config(),
        },
        "image_token_id": made.image_token_id,
    }


def deepseek_vl(**kwargs: Any) -> Tiny:
    image_processor = DeepseekVLImageProcessorPil(size={"height": 32, "width": 32})
    made = DeepseekVLProcessor(image_processor, words(), num_image_tokens=16)
    config = DeepseekVLConfig(**configs(made))
    return Tiny(build(lambda: DeepseekVLForConditionalGeneration(config)), made, **kwargs)


def hybrid() -> Tiny:
    image_processor = DeepseekVLHybridImageProcessorPil(
        size={"height": 32, "width": 32}, high_res_size={"height": 64, "width": 64}
    )
    made = DeepseekVLHybridProcessor(image_processor, words(), num_image_tokens=16)
    tower = {
        "hidden_size": HIDDEN,
        "output_channels": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 4,
        "global_attn_indexes": [1],
        "window_size": 4,
        "mlp_dim": 48,
        "initializer_range": 0.02,
    }
    config = DeepseekVLHybridConfig(**configs(made), high_res_vision_config=tower)
    model = build(lambda: DeepseekVLHybridForConditionalGeneration(config))
    # convolutions, which see more of the cells before than of their own
    model.model.aligner.high_res_vision_proj.weight.data *= 0.1
    return Tiny(model, made)


BUILDERS = {
    "deepseek_vl": deepseek_vl,
    "deepseek_vl/tall": lambda: deepseek_vl(image_wh=(33, 64)),
    "deepseek_vl/hybrid": hybrid,
}
