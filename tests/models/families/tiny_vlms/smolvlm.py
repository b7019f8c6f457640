"""Idefics3 and SmolVLM with tiles of 32 px, split and whole."""

from __future__ import annotations

from typing import Any

from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.video_processing_utils import VideoProcessorMixin

from headsight.models.families.stills import processor_class
from tiny_vlms.tiny import Tiny, build, text_config, tokenizer, vision_config

TAGS = [f"<row_{i + 1}_col_{j + 1}>" for i in range(6) for j in range(6)]
SPECIALS = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
SIZES = {"size": {"longest_edge": 96}, "max_image_size": {"longest_edge": 32}}


def configs(made: Any) -> dict[str, Any]:
    return {
        "text_config": {"model_type": "llama", **text_config(len(made.tokenizer))},
        "vision_config": vision_config(),
        "image_token_id": made.image_token_id,
        "scale_factor": 2,
        "tie_word_embeddings": False,
    }


def idefics3(*, image_wh: tuple[int, int] = (64, 48), **kwargs: Any) -> Tiny:
    made = Idefics3Processor(
        Idefics3ImageProcessorPil(**SIZES, **kwargs),
        tokenizer([*SPECIALS, *TAGS]),
        image_seq_len=4,
    )
    config = Idefics3Config(**configs(made))
    return Tiny(build(lambda: Idefics3ForConditionalGeneration(config)), made, image_wh)


def smolvlm() -> Tiny:
    made = processor_class("SmolVLMProcessor")(
        SmolVLMImageProcessorPil(**SIZES),
        tokenizer(SPECIALS),
        VideoProcessorMixin(),
        image_seq_len=4,
    )
    config = SmolVLMConfig(**configs(made))
    return Tiny(build(lambda: SmolVLMForConditionalGeneration(config)), made, (50, 90))


BUILDERS = {
    "idefics3": idefics3,
    "idefics3/whole": lambda: idefics3(do_image_splitting=False),
    "smolvlm": smolvlm,
}
