"""PaliGemma with a square of 4 x 4 image tokens."""

from __future__ import annotations

from transformers import (
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tiny_vlms.tiny import Tiny, build, text_config, tokenizer, vision_config


def paligemma() -> Tiny:
    image_processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    image_processor.image_seq_length = 16
    made = PaliGemmaProcessor(image_processor, tokenizer(["<image>"]))
    config = PaliGemmaConfig(
        text_config={"model_type": "gemma", **text_config(len(made.tokenizer))},
        vision_config={
            "model_type": "siglip_vision_model",
            **vision_config(vision_use_head=False),
        },
        tie_word_embeddings=False,
        image_token_index=made.image_token_id,
        projection_dim=32,
    )
    return Tiny(build(lambda: PaliGemmaForConditionalGeneration(config)), made)


BUILDERS = {"paligemma": paligemma}
