"""Molmo 2: the picture small, then large; both stretched, both complete grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from headsight.models.families.family import ChatFamily, Inputs, image_positions
from headsight.models.image_views import ImageView, ViewKind

__all__ = ["MOLMO2", "Molmo2"]


class Molmo2(ChatFamily):
    """Molmo 2 (arXiv 2601.10611), which points."""

    model_types = ("molmo2",)
    dialect = "molmo2"
    template: ClassVar[str] = "<|im_start|>user\n{image}{prompt}<|im_end|>\n<|im_start|>assistant\n"
    # without the types of tokens, image tokens silently see only those before them
    requires = ("image_grids", "mm_token_type_ids")

    def text(self, processor: Any, prompt: str) -> str:
        """The message, with the token of beginning that the processor puts before it."""
        text = super().text(processor, prompt)
        start = processor.tokenizer.bos_token or processor.tokenizer.eos_token
        return text if text.startswith(start) else start + text

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """The small grid first, then the large one; see `Family.views`.

        The last patches of an odd number are pooled alone, so that a grid may reach beyond the
        picture by a part of a cell.
        """
        settings = processor.image_processor
        rows, columns, *_ = inputs["image_grids"][0].tolist()
        small, large = np.split(image_positions(config, inputs), [rows * columns])
        side = settings.size["height"] // settings.patch_size
        canvas_hw = _canvas_hw(settings, image_wh)
        pooling_hw = settings.pooling_size
        return (
            _view(small, (side, side), pooling_hw, image_wh),
            _view(large, canvas_hw, pooling_hw, image_wh),
        )


MOLMO2 = Molmo2()


def _canvas_hw(settings: Any, image_wh: tuple[int, int]) -> tuple[int, int]:
    """Patches of the large picture, which the processor keeps to itself: by its own function."""
    from transformers.models.molmo2.image_processing_molmo2 import compute_crop_geometry

    *_, height, width = compute_crop_geometry(
        image_wh[1],
        image_wh[0],
        max_crops=settings.max_crops,
        overlap_margins=settings.overlap_margins,
        crop_size=settings.size["height"],
        patch_size=settings.patch_size,
    )
    return height // settings.patch_size, width // settings.patch_size


def _view(
    positions: Int[NDArray[np.int64], " n"],
    patches_hw: tuple[int, int],
    pooling_hw: Sequence[int],
    image_wh: tuple[int, int],
) -> ImageView:
    """A grid of `patches_hw` patches over the whole picture, `pooling_hw` of them a token."""
    (top, bottom, rows), (left, right, columns) = (
        _pooled(patches, pool) for patches, pool in zip(patches_hw, pooling_hw, strict=True)
    )
    width, height = image_wh
    region = (left * width, top * height, right * width, bottom * height)
    kind: ViewKind = "whole" if region == (0, 0, width, height) else "padded"
    return ImageView((rows, columns), positions, region, kind)


def _pooled(patches: int, pool: int) -> tuple[float, float, int]:
    """Start and end of the cells as shares of the picture's side, and their number."""
    cells = -(-patches // pool)
    before = (cells * pool - patches) // 2
    return -before / patches, (cells * pool - before) / patches, cells
