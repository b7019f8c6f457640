"""InternVL with tiles of 32 px, and one picture that fits a single tile."""

from __future__ import annotations

from transformers import InternVLConfig, InternVLForConditionalGeneration
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.video_processing_utils import VideoProcessorMixin

from headsight.models.families.stills import processor_class
from tiny_vlms.tiny import HIDDEN, Tiny, build, text_config, tokenizer

SPECIALS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}


def internvl(**kwargs: object) -> Tiny:
    made = processor_class("InternVLProcessor")(
        image_processor=GotOcr2ImageProcessorPil(
            size={"height": 32, "width": 32}, crop_to_patches=True, max_patches=6
        ),
        tokenizer=tokenizer(list(SPECIALS.values()), extra_special_tokens=SPECIALS),
        video_processor=VideoProcessorMixin(),
        image_seq_length=4,
    )
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **text_config(len(made.tokenizer))},
        vision_config={
            "hidden_size": HIDDEN,
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
        },
        image_token_id=made.image_token_id,
        image_seq_length=4,
    )
    return Tiny(build(lambda: InternVLForConditionalGeneration(config)), made, **kwargs)


BUILDERS = {
    "internvl": internvl,
    "internvl/one_tile": lambda: internvl(image_wh=(40, 40)),
}
