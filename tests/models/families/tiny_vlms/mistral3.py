"""Mistral 3, whose tower is Pixtral's, and Pixtral itself, which transformers takes for a LLaVA."""

from __future__ import annotations

from typing import Any

from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
)
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

from headsight.models.families.stills import processor_class
from tiny_vlms.tiny import Tiny, build, text_config, tokenizer, vision_config

SPECIALS = ["[IMG]", "[IMG_BREAK]", "[IMG_END]"]


def parts(merge: int) -> tuple[Any, dict[str, Any]]:
    image_processor = PixtralImageProcessorPil(
        size={"longest_edge": 64}, patch_size={"height": 8, "width": 8}
    )
    made = processor_class("PixtralProcessor")(
        image_processor, tokenizer(SPECIALS), patch_size=8, spatial_merge_size=merge
    )
    return made, {
        "text_config": {"model_type": "mistral", **text_config(len(made.tokenizer))},
        "vision_config": {
            "model_type": "pixtral",
            **vision_config(image_size=64, head_dim=8, rope_parameters={"rope_theta": 10000.0}),
        },
        "image_token_index": made.image_token_id,
        "vision_feature_layer": -1,
    }


def mistral3() -> Tiny:
    made, config = parts(merge=2)
    model = Mistral3Config(**config, spatial_merge_size=2)
    return Tiny(build(lambda: Mistral3ForConditionalGeneration(model)), made, (70, 45))


def pixtral() -> Tiny:
    made, config = parts(merge=1)
    model = LlavaConfig(**config, vision_feature_select_strategy="full")
    return Tiny(build(lambda: LlavaForConditionalGeneration(model)), made, (50, 40))


BUILDERS = {"mistral3": mistral3}
