"""LLaVA-NeXT and LLaVA-OneVision with tiles of 32 px, wide, tall, and scaled down."""

from __future__ import annotations

from typing import Any

from transformers import (
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
)
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.video_processing_utils import VideoProcessorMixin

from headsight.models.families.stills import processor_class
from tiny_vlms.tiny import Tiny, build, text_config, tokenizer, vision_config

PINPOINTS = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]


def llava_next(**kwargs: Any) -> Tiny:
    made = LlavaNextProcessor(
        LlavaNextImageProcessorPil(
            size={"shortest_edge": 32},
            crop_size={"height": 32, "width": 32},
            image_grid_pinpoints=PINPOINTS,
        ),
        tokenizer(["<image>"]),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    config = LlavaNextConfig(
        text_config={"model_type": "llama", **text_config(len(made.tokenizer))},
        vision_config={"model_type": "clip_vision_model", **vision_config(num_hidden_layers=2)},
        image_token_index=made.image_token_id,
        image_grid_pinpoints=PINPOINTS,
    )
    return Tiny(build(lambda: LlavaNextForConditionalGeneration(config)), made, **kwargs)


def onevision(most: int = 9, patch_size: int = 8, **kwargs: Any) -> Tiny:
    """The tower of a patch size of 5 leaves 2 of 32 px unseen, as that of 384 / 14 leaves 6."""
    side = 32 // patch_size
    made = processor_class("LlavaOnevisionProcessor")(
        image_processor=LlavaOnevisionImageProcessorPil(
            size={"height": 32, "width": 32}, image_grid_pinpoints=PINPOINTS
        ),
        tokenizer=tokenizer(["<image>", "<video>"]),
        video_processor=VideoProcessorMixin(),
        num_image_tokens=side**2,
        vision_feature_select_strategy="full",
        vision_aspect_ratio=f"anyres_max_{most}",
    )
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **text_config(len(made.tokenizer))},
        vision_config={
            "model_type": "siglip_vision_model",
            **vision_config(patch_size=patch_size, vision_use_head=False),
        },
        image_token_index=made.image_token_id,
        video_token_index=made.video_token_id,
        image_grid_pinpoints=PINPOINTS,
        vision_aspect_ratio=f"anyres_max_{most}",
        vision_feature_layer=-1,
    )
    return Tiny(build(lambda: LlavaOnevisionForConditionalGeneration(config)), made, **kwargs)


BUILDERS = {
    "llava_next": lambda: llava_next(image_wh=(96, 72)),
    "llava_next/tall": lambda: llava_next(image_wh=(50, 133)),
    "llava_onevision": lambda: onevision(image_wh=(120, 72)),
    "llava_onevision/scaled": lambda: onevision(most=2, image_wh=(128, 128)),
    "llava_onevision/unfilled": lambda: onevision(patch_size=5, image_wh=(96, 128)),
}
