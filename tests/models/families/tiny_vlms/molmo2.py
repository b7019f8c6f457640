"""Molmo 2: crops of 4 x 4 patches that overlap by one, pooled two by two."""

from __future__ import annotations

from typing import Any

from transformers import Molmo2Config, Molmo2ForConditionalGeneration
from transformers.video_processing_utils import VideoProcessorMixin

from headsight.models.families.stills import molmo2_image_processor, processor_class
from tiny_vlms.tiny import HIDDEN, Tiny, build, text_config, tokenizer

SPECIALS = [
    "<|image|>", "<|video|>", "<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>",
    "<frame_start>", "<im_end>", "<frame_end>", "<im_low>",
]  # fmt: skip


def molmo2(*, image_wh: tuple[int, int] = (64, 48), side: int = 32) -> Tiny:
    words = tokenizer(SPECIALS)
    image_processor = molmo2_image_processor()(
        size={"height": side, "width": side}, patch_size=8, overlap_margins=[1, 1], max_crops=6
    )
    made = processor_class("Molmo2Processor")(
        image_processor=image_processor,
        video_processor=VideoProcessorMixin(),
        tokenizer=words,
    )
    heads: dict[str, Any] = {
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 8,
        "hidden_size": HIDDEN,
        "intermediate_size": 48,
        "initializer_range": 0.2,
    }
    names = ("im_patch", "im_start", "low_res_im_start", "im_end", "frame_start", "frame_end")
    ids = {name: words.convert_tokens_to_ids(f"<{name}>") for name in names}
    config = Molmo2Config(
        text_config=text_config(len(words), additional_vocab_size=0),
        vision_config={
            **heads, "num_hidden_layers": 1, "image_size": [side, side], "patch_size": 8,
        },
        adapter_config={**heads, "vision_feature_layer": [0], "text_hidden_size": HIDDEN},
        image_patch_id=ids["im_patch"],
        image_start_token_id=ids["im_start"],
        low_res_image_start_token_id=ids["low_res_im_start"],
        image_end_token_id=ids["im_end"],
        frame_start_token_id=ids["frame_start"],
        frame_end_token_id=ids["frame_end"],
    )  # fmt: skip
    return Tiny(build(lambda: Molmo2ForConditionalGeneration(config)), made, image_wh)


BUILDERS = {
    "molmo2": molmo2,
    "molmo2/odd": lambda: molmo2(image_wh=(50, 70), side=40),
}
