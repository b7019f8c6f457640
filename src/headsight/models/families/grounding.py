"""Our own models: CogVLM's squashed square, and nano's letterbox with the cells it keeps."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from headsight.errors import InputError
from headsight.models.families.family import (
    ChatFamily,
    Inputs,
    checked_prompt,
    require_aspect,
    token_span,
)
from headsight.models.grounding.headgrid import HeadGrid
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.vision import VisionPart
from headsight.models.image_views import ImageView, RegionView, ViewKind
from headsight.picture import Picture

__all__ = ["GROUNDING", "Grounding", "Looked"]


@dataclass(frozen=True, eq=False)
class Looked:
    """What an encoder makes of one picture."""

    tokens: Float[Tensor, "1 n c"]
    """`image_features` of the model."""
    cells: Int[NDArray[np.int64], " n"] | None
    """Flat index of each token's cell, where the encoder chose them."""
    boxes: Float[NDArray[np.float64], "n 4"] | None
    """xyxy that each token reads, in units of the model's square, where it reads any."""


@dataclass(frozen=True)
class Grounding(ChatFamily):
    """`GroundingVLM`: CogVLM (arXiv 2311.03079) and nano.

    A row is begin-of-image, the cells, end-of-image; the two borders belong to no cell. Which cells
    nano's encoder keeps is decided by looking, so its views need the `model`. Each of them also
    reads a box, which is what its token tells the decoder: see `regions`.
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

    def look(self, inputs: Inputs) -> Looked:
        """What the encoder makes of the picture; its boxes where it reads any.

        Raises:
            InputError: there is no `model` to look with.
        """
        model = self.model
        if model is None or model.model.vision is None:
            raise InputError(
                "What the encoder reads depends on the picture. Give the family the model to look"
                " with: Grounding(model)."
            )
        vision = model.model.vision
        shares = inputs["content_wh_rel"].to(model.device, model.dtype)
        with torch.inference_mode():
            pixels = inputs["pixel_values"].to(model.device, model.dtype)
            if not isinstance(vision.encoder, HeadGrid):
                return Looked(vision.encode(pixels, shares), None, None)
            features = vision.encoder.features(pixels)
            reading = vision.encoder.read(features)
            tokens = vision.encoder.tokens(features, reading, shares)
            cells = vision.encoder.kept_cells(reading)[0]
            boxes = reading.boxes[0].flatten(0, 1)[cells]
        return Looked(tokens, cells.cpu().numpy(), boxes.double().cpu().numpy())

    def regions(
        self, processor: Any, inputs: Inputs, image_wh: tuple[int, int], looked: Looked
    ) -> RegionView | None:
        """The box that each image token reads; None of tokens that are plain cells."""
        if looked.boxes is None:
            return None
        slots = np.flatnonzero(inputs["token_type_ids"][0].cpu().numpy() == 1)
        letterbox = processor.letterbox(image_wh)
        boxes = letterbox.to_picture(looked.boxes * letterbox.side)
        return RegionView(slots[1:-1], np.asarray(boxes), image_wh)

    def text_span(self, processor: Any, inputs: Inputs, prompt: str, words: str) -> tuple[int, int]:
        """See `Family.text_span`."""
        text = self.text(processor, prompt) + processor.separator
        return token_span(processor.tokenizer, inputs["input_ids"][0], text, prompt, words)

    def _kept_cells(self, inputs: Inputs, num_tokens: int) -> Int[NDArray[np.int64], " n"]:
        """Flat indices of the cells that became tokens, in their order."""
        cells = None if self.model is None else self.look(inputs).cells
        if cells is None:
            raise InputError(
                f"Which {num_tokens} cells the encoder of this model keeps depends on the picture."
                " Give the family the model to look with: Grounding(model)."
            )
        return cells


GROUNDING = Grounding()


def _shape(config: Any) -> tuple[tuple[int, int], int]:
    """Rows and columns of cells, and how many of them become tokens; nothing is computed."""
    with torch.device("meta"):
        vision = VisionPart(config)
    return vision.grid_hw, vision.slots_per_image - 2
