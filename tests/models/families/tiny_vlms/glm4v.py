"""GLM-4.1V: patches of 8 px, merged two by two."""

from __future__ import annotations

from transformers import Glm4vConfig, Glm4vForConditionalGeneration
from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
from transformers.video_processing_utils import VideoProcessorMixin

from headsight.models.families.stills import processor_class
from tiny_vlms.tiny import HIDDEN, Tiny, build, text_config, tokenizer

SPECIALS = {
    "<|image|>": "image_token_id",
    "<|video|>": "video_token_id",
    "<|begin_of_image|>": "image_start_token_id",
    "<|end_of_image|>": "image_end_token_id",
    "<|begin_of_video|>": "video_start_token_id",
    "<|end_of_video|>": "video_end_token_id",
}


def glm4v() -> Tiny:
    words = tokenizer(list(SPECIALS))
    made = processor_class("Glm4vProcessor")(
        image_processor=Glm4vImageProcessorPil(
            patch_size=8, size={"shortest_edge": 16 * 16, "longest_edge": 2 * 64 * 64}
        ),
        tokenizer=words,
        video_processor=VideoProcessorMixin(),
    )
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    config = Glm4vConfig(
        text_config=text_config(len(words), rope_parameters=rope),
        vision_config={
            "depth": 1,
            "hidden_size": HIDDEN,
            "out_hidden_size": HIDDEN,
            "intermediate_size": 48,
            "num_heads": 4,
            "image_size": 64,
            "patch_size": 8,
        },
        **{field: words.convert_tokens_to_ids(token) for token, field in SPECIALS.items()},
    )
    return Tiny(build(lambda: Glm4vForConditionalGeneration(config)), made, (70, 45))


BUILDERS = {"glm4v": glm4v}
