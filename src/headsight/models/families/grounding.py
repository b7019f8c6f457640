"""Our own models: CogVLM's squashed square, and nano's letterbox with the cells it keeps."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.models.families.family import (
    ChatFamily,
    Inputs,
    checked_prompt,
    require_aspect,
    token_span,
)
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.vision import VisionPart
from headsight.models.image_views import ImageView, ViewKind
from headsight.picture import Picture

__all__ = ["GROUNDING", "Grounding"]


@dataclass(frozen=True)
class Grounding(ChatFamily):
    """`GroundingVLM`: CogVLM (arXiv 2311.03079) and nano.

    A row is begin-of-image, the cells, end-of-image; the two borders belong to no cell. Which cells
    nano's encoder keeps is decided by looking, so its views need the `model`.
    """

    model: GroundingVLM | None = None
    model_types: tuple[str, ...] = ("headsight_grounding",)
    dialect: str = "cogvlm"

    def text(self, processor: Any, prompt: str) -> str:
        """The question in the template of the checkpoint; the picture is put before it."""
        from headsight.models.grounding.processor import TEMPLATES

        return TEMPLATES[processor.template].format(question=prompt)

    def inputs(self, processor: Any, picture: Picture, prompt: str) -> Inputs:
        """See `Family.inputs`."""
        require_aspect(picture)
        return dict(processor(images=picture, text=checked_prompt(processor, prompt)))

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """One grid over the square; see `Family.views`.

        Raises:
            InputError: the encoder keeps some cells only, and there is no `model` to look with.
        """
        grid_hw, num_tokens = _shape(config)
        slots = np.flatnonzero(inputs["token_type_ids"][0].cpu().numpy() == 1)
        positions = slots[1:-1]
        rows, columns = grid_hw
        if num_tokens < rows * columns:
            positions = np.full(rows * columns, -1, np.int64)
            positions[self._kept_cells(inputs, num_tokens)] = slots[1:-1]
        letterbox = processor.letterbox(image_wh)
        square = np.array([[0.0, 0.0, letterbox.side, letterbox.side]])
        left, top, right, bottom = letterbox.to_picture(square)[0].tolist()
        kind: ViewKind = "whole" if letterbox.content_wh_rel == (1, 1) else "padded"
        return (ImageView(grid_hw, positions, (left, top, right, bottom), kind),)

    def text_span(self, processor: Any, inputs: Inputs, prompt: str, words: str) -> tuple[int, int]:
        """See `Family.text_span`."""
        text = self.text(processor, prompt) + processor.separator
        return token_span(processor.tokenizer, inputs["input_ids"][0], text, prompt, words)

    def _kept_cells(self, inputs: Inputs, num_tokens: int) -> Int[NDArray[np.int64], " n"]:
        """Flat indices of the cells that became tokens, in their order."""
        if self.model is None or self.model.model.vision is None:
            raise InputError(
                f"Which {num_tokens} cells the encoder of this model keeps depends on the picture."
                " Give the family the model to look with: Grounding(model)."
            )
        encoder: Any = self.model.model.vision.encoder
        with torch.inference_mode():
            pixels = inputs["pixel_values"].to(self.model.device, self.model.dtype)
            cells = encoder.kept_cells(encoder.read(encoder.features(pixels)))
        kept: NDArray[np.int64] = cells[0].cpu().numpy()
        return kept


GROUNDING = Grounding()


def _shape(config: Any) -> tuple[tuple[int, int], int]:
    """Rows and columns of cells, and how many of them become tokens; nothing is computed."""
    with torch.device("meta"):
        vision = VisionPart(config)
    return vision.grid_hw, vision.slots_per_image - 2
