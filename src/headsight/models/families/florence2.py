"""Florence-2: native answers in location tokens; its decoder attends to an encoder's words."""

from __future__ import annotations

from typing import Any, ClassVar

from headsight.errors import InputError
from headsight.models.families.family import ChatFamily, Inputs, token_span
from headsight.models.image_views import ImageView

__all__ = ["FLORENCE2", "Florence2"]


class Florence2(ChatFamily):
    """Florence-2 (arXiv 2311.06242).

    Its processor puts the picture before any text by itself, and spells out task tokens such as
    `<CAPTION_TO_PHRASE_GROUNDING>` in words.
    """

    model_types = ("florence2",)
    dialect = "florence2"
    template: ClassVar[str] = "{prompt}"
    padding_side: ClassVar[str] = "right"  # positions of its encoder count from the start

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """Always refuses.

        Raises:
            InputError: the decoder sees the picture by cross-attention only.
        """
        raise InputError(
            f"The decoder of {config.model_type!r} has no image tokens: it sees the picture by"
            " cross-attention to an encoder, which mixed it with the words before. Ask for its own"
            " answer: method 'native'."
        )

    def text_span(self, processor: Any, inputs: Inputs, prompt: str, words: str) -> tuple[int, int]:
        """In the encoder's sequence; see `Family.text_span`."""
        (spelled,) = processor._construct_prompts(prompt)
        tokenizer = processor.tokenizer
        text = f"{tokenizer.bos_token}{spelled}{tokenizer.eos_token}"
        return token_span(tokenizer, inputs["input_ids"][0], text, spelled, words)


FLORENCE2 = Florence2()
