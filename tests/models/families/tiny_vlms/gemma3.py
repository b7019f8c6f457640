"""Gemma 3 with 2 x 2 pooled image tokens a view, alone and with pan-and-scan."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

from tiny_vlms.tiny import Tiny, build, text_config, tokenizer, vision_config

SPECIALS = {
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "image_token": "<image_soft_token>",
}
PAN_AND_SCAN = {
    "do_pan_and_scan": True,
    "pan_and_scan_min_crop_size": 8,
    "pan_and_scan_max_num_crops": 4,
    "pan_and_scan_min_ratio_to_activate": 1.2,
}


def model(config: Gemma3Config) -> Gemma3ForConditionalGeneration:
    made = Gemma3ForConditionalGeneration(config)
    # it starts at zero, where no picture would be seen
    torch.nn.init.normal_(made.model.multi_modal_projector.mm_input_projection_weight)
    return made


def gemma3(image_wh: tuple[int, int] = (64, 48), **kwargs: Any) -> Tiny:
    made = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": 32, "width": 32}, **kwargs),
        tokenizer=tokenizer(list(SPECIALS.values()), extra_special_tokens=SPECIALS),
        image_seq_length=4,
    )
    config = Gemma3Config(
        text_config=text_config(
            len(made.tokenizer),
            sliding_window=16,
            layer_types=["full_attention", "sliding_attention"],
        ),
        vision_config={
            "model_type": "siglip_vision_model",
            **vision_config(vision_use_head=False),
        },
        mm_tokens_per_image=4,
        tie_word_embeddings=False,
        initializer_range=0.3,
        image_token_index=made.tokenizer.image_token_id,
        boi_token_index=made.tokenizer.boi_token_id,
        eoi_token_index=made.tokenizer.eoi_token_id,
    )
    return Tiny(build(lambda: model(config)), made, image_wh=image_wh)


BUILDERS = {
    "gemma3": gemma3,
    "gemma3/crops": lambda: gemma3((135, 64), **PAN_AND_SCAN),
    "gemma3/tall_crops": lambda: gemma3((48, 101), **PAN_AND_SCAN),
}
