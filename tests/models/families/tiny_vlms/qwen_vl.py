"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL with patches of 8 px, merged two by two."""

from __future__ import annotations

from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.video_processing_utils import VideoProcessorMixin

from headsight.models.families.stills import processor_class
from tiny_vlms.tiny import HIDDEN, Tiny, build, text_config, tokenizer

SPECIALS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
VISION = {
    "depth": 1,
    "hidden_size": HIDDEN,
    "num_heads": 4,
    "patch_size": 8,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
# of each 8 wide head: 4 frequencies, shared out to time, height and width
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}


def qwen(
    name: str,
    config_class: type[PreTrainedConfig],
    model_class: type[PreTrainedModel],
    vision: dict[str, object],
) -> Tiny:
    made = processor_class(name)(
        image_processor=Qwen2VLImageProcessorPil(
            patch_size=8, merge_size=2, min_pixels=256, max_pixels=64 * 80
        ),
        tokenizer=tokenizer(SPECIALS),
        video_processor=VideoProcessorMixin(),
    )
    ids = made.tokenizer.convert_tokens_to_ids(list(SPECIALS))
    config = config_class(
        text_config=text_config(len(made.tokenizer), rope_parameters=MROPE),
        vision_config={**VISION, **vision},
        vision_start_token_id=ids[0],
        vision_end_token_id=ids[1],
        image_token_id=ids[2],
        video_token_id=ids[3],
    )
    return Tiny(build(lambda: model_class(config)), made, image_wh=(130, 90))


def qwen2() -> Tiny:
    vision = {"embed_dim": HIDDEN, "mlp_ratio": 2}
    return qwen("Qwen2VLProcessor", Qwen2VLConfig, Qwen2VLForConditionalGeneration, vision)


def qwen2_5() -> Tiny:
    vision = {"out_hidden_size": HIDDEN, "intermediate_size": 48, "window_size": 32}
    config, model = Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    return qwen("Qwen2_5_VLProcessor", config, model, {**vision, "fullatt_block_indexes": []})


def qwen3() -> Tiny:
    vision = {
        "out_hidden_size": HIDDEN,
        "intermediate_size": 48,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    return qwen("Qwen3VLProcessor", Qwen3VLConfig, Qwen3VLForConditionalGeneration, vision)


BUILDERS = {"qwen2_vl": qwen2, "qwen2_5_vl": qwen2_5, "qwen3_vl": qwen3}
