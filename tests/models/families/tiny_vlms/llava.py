"""LLaVA 1.5 with a cropping and a padding processor, and VipLLaVA."""

from __future__ import annotations

from typing import Any

from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    VipLlavaConfig,
    VipLlavaForConditionalGeneration,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from tiny_vlms.tiny import Tiny, build, text_config, tokenizer, vision_config


def processor(**kwargs: Any) -> LlavaProcessor:
    settings = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    image_processor = LlavaImageProcessorPil(**{**settings, **kwargs})
    return LlavaProcessor(
        image_processor,
        tokenizer(["<image>"]),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def configs(made: LlavaProcessor) -> dict[str, Any]:
    return {
        "text_config": {"model_type": "llama", **text_config(len(made.tokenizer))},
        "vision_config": {"model_type": "clip_vision_model", **vision_config(num_hidden_layers=2)},
        "image_token_index": made.image_token_id,
        "image_seq_length": 16,
    }


def llava(**kwargs: Any) -> Tiny:
    made = processor(**kwargs)
    config = LlavaConfig(**configs(made), vision_feature_select_strategy="default")
    return Tiny(build(lambda: LlavaForConditionalGeneration(config)), made)


def vipllava() -> Tiny:
    made = processor()
    config = VipLlavaConfig(**configs(made), vision_feature_layers=[-2, -1])
    return Tiny(build(lambda: VipLlavaForConditionalGeneration(config)), made)


BUILDERS = {
    "llava": llava,
    "llava/padded": lambda: llava(do_pad=True),
    "llava/vip": vipllava,
}
