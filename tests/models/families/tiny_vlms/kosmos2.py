"""Kosmos-2: 64 latent queries in the place of the picture."""

from __future__ import annotations

from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration, Kosmos2Processor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tiny_vlms.tiny import HIDDEN, Tiny, build, tokenizer, vision_config


def kosmos2() -> Tiny:
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    made = Kosmos2Processor(image_processor, tokenizer([]))
    config = Kosmos2Config(
        text_config={
            "vocab_size": len(made.tokenizer),
            "embed_dim": HIDDEN,
            "ffn_dim": 48,
            "layers": 2,
            "attention_heads": 4,
            "init_std": 0.3,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "dropout": 0.0,
        },
        vision_config=vision_config(),
    )
    model = build(lambda: Kosmos2ForConditionalGeneration(config))
    return Tiny(model, made, has_views=False)


BUILDERS = {"kosmos2": kosmos2}
