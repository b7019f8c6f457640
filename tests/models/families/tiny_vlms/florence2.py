"""Florence-2: an encoder reads picture and words, a decoder writes."""

from __future__ import annotations

from transformers import Florence2Config, Florence2ForConditionalGeneration, Florence2Processor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tiny_vlms.tiny import HIDDEN, Tiny, build, tokenizer

SPECIALS = {"image_token": "<image>"}


def florence2() -> Tiny:
    image_processor = CLIPImageProcessorPil(size={"height": 64, "width": 64}, do_center_crop=False)
    image_processor.image_seq_length = 5
    made = Florence2Processor(
        image_processor, tokenizer(["<image>"], extra_special_tokens=SPECIALS)
    )
    config = Florence2Config(
        text_config={
            "model_type": "bart",
            "vocab_size": len(made.tokenizer),
            "d_model": HIDDEN,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "max_position_embeddings": 256,
            "init_std": 0.3,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
            "decoder_start_token_id": 3,
            "forced_eos_token_id": None,
            "dropout": 0.0,
        },
        vision_config={
            "depths": (1, 1, 1, 1),
            "embed_dim": (8, 16, 16, HIDDEN),
            "num_heads": (2, 2, 2, 2),
            "num_groups": (2, 2, 2, 2),
            "window_size": 4,
            "projection_dim": HIDDEN,
            "drop_path_rate": 0.0,
        },
        image_token_id=made.image_token_id,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    model = build(lambda: Florence2ForConditionalGeneration(config))
    return Tiny(model, made, has_views=False)


BUILDERS = {"florence2": florence2}
