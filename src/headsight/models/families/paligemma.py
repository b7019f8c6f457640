"""PaliGemma 1 and 2: image tokens first, then a prefix that is read in both directions."""

from __future__ import annotations

from typing import Any

from headsight.models.families.family import ChatFamily, Inputs, image_positions, token_span
from headsight.models.families.tiles import whole_view
from headsight.models.image_views import ImageView
from headsight.picture import Picture

__all__ = ["PALIGEMMA", "PaliGemma"]


class PaliGemma(ChatFamily):
    """PaliGemma (arXiv 2407.07726) and PaliGemma 2 (2412.03555); there is no chat."""

    model_types = ("paligemma",)
    dialect = "paligemma"
    requires = ("token_type_ids",)  # without them the prefix is read in one direction

    def text(self, processor: Any, prompt: str) -> str:
        """The prompt after the image; the processor itself ends it with a line break."""
        return f"{processor.image_token}{prompt.rstrip()}"

    def options(self, processor: Any) -> dict[str, Any]:
        """No tensors yet: the processor copies its ids into labels, with a warning if they are."""
        return {"return_tensors": None}

    def inputs(self, processor: Any, picture: Picture, prompt: str) -> Inputs:
        """Without the labels that the processor makes for training; see `Family.inputs`."""
        from transformers import BatchFeature

        made = super().inputs(processor, picture, prompt)
        made.pop("labels", None)
        return dict(BatchFeature(made).convert_to_tensors("pt"))

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """The picture stretched to a square; see `Family.views`."""
        side = inputs["pixel_values"].shape[-1] // config.vision_config.patch_size
        return (whole_view(image_positions(config, inputs), (side, side), image_wh),)

    def text_span(self, processor: Any, inputs: Inputs, prompt: str, words: str) -> tuple[int, int]:
        """In the text as the processor completes it; see `Family.text_span`."""
        tokenizer = processor.tokenizer
        text = f"{processor.image_token}{tokenizer.bos_token}{prompt.rstrip()}\n"
        return token_span(tokenizer, inputs["input_ids"][0], text, prompt, words)


PALIGEMMA = PaliGemma()
