"""LLaVA-NeXT and LLaVA-OneVision: the whole picture, then its tiles as one grid without padding."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from headsight.errors import InputError
from headsight.models.families.family import ChatFamily, Inputs, image_positions
from headsight.models.image_views import ImageView

__all__ = ["LLAVA_NEXT", "LLAVA_ONEVISION", "LlavaNext", "LlavaOnevision"]


class LlavaNext(ChatFamily):
    """LLaVA 1.6: any of several resolutions, whichever wastes least of the picture."""

    model_types = ("llava_next",)
    dialect = "llava"
    template: ClassVar[str] = "[INST] {image}\n{prompt} [/INST]"

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """The stretched picture, then the tiles pasted together; see `Family.views`.

        Of the tiles' grid only the rows or columns that hold the picture have tokens; one more
        token, which has no place, ends each row.
        """
        tile, patch = config.vision_config.image_size, config.vision_config.patch_size
        side = tile // patch
        positions = image_positions(config, inputs)
        width, height = image_wh
        # a tower whose patches do not fill the tile does not see the rest of it
        share = side * patch / tile
        whole = ImageView(
            (side, side), positions[: side * side], (0.0, 0.0, width * share, height * share)
        )
        canvas_hw = best_canvas(image_wh, config.image_grid_pinpoints)
        cells_hw = (canvas_hw[0] // tile * side, canvas_hw[1] // tile * side)
        margin_hw = _margin(image_wh, cells_hw)
        kept_hw = (cells_hw[0] - 2 * margin_hw[0], cells_hw[1] - 2 * margin_hw[1])
        grid_hw = self.pooled(config, kept_hw, side)
        need = side**2 + grid_hw[0] * (grid_hw[1] + 1)
        if len(positions) != need:
            raise InputError(
                f"The sequence has {len(positions)} image tokens, but {side} x {side} of the whole"
                f" and {grid_hw[0]} rows of {grid_hw[1]} and a line break need {need}. Make the"
                " inputs of this very picture, with the processor of this model."
            )
        rows = positions[side * side :].reshape(grid_hw[0], grid_hw[1] + 1)
        region = _region(image_wh, canvas_hw, margin_hw, (tile / side, float(tile - side * patch)))
        return whole, ImageView(grid_hw, rows[:, :-1].reshape(-1).astype(np.int64), region, "tile")

    def pooled(self, config: Any, grid_hw: tuple[int, int], side: int) -> tuple[int, int]:
        """The grid after the model made it smaller; here it never does."""
        return grid_hw


class LlavaOnevision(LlavaNext):
    """LLaVA-OneVision (arXiv 2408.03326): as LLaVA-NeXT, a large grid being scaled down."""

    model_types = ("llava_onevision",)
    template: ClassVar[str] = "<|im_start|>user {image}\n{prompt}<|im_end|><|im_start|>assistant\n"

    def pooled(self, config: Any, grid_hw: tuple[int, int], side: int) -> tuple[int, int]:
        """At most about as many cells as the number of tiles in `vision_aspect_ratio` has."""
        most = int(config.vision_aspect_ratio.removeprefix("anyres_max_"))
        ratio = math.sqrt(grid_hw[0] * grid_hw[1] / (most * side**2))
        return (int(grid_hw[0] // ratio), int(grid_hw[1] // ratio)) if ratio > 1.1 else grid_hw


LLAVA_NEXT = LlavaNext()
LLAVA_ONEVISION = LlavaOnevision()


def best_canvas(image_wh: tuple[int, int], pinpoints: list[list[int]]) -> tuple[int, int]:
    """Height and width, px, of the canvas that the picture is fitted into."""
    from transformers.image_processing_utils import select_best_resolution

    height, width = select_best_resolution(image_wh[::-1], pinpoints)
    return int(height), int(width)


def _margin(image_wh: tuple[int, int], cells_hw: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of cells that the model cuts off each side of the canvas as padding."""
    (width, height), (rows, columns) = image_wh, cells_hw
    if width / height > columns / rows:
        return (rows - int(round(height * (columns / width), 7))) // 2, 0
    return 0, (columns - int(round(width * (rows / height), 7))) // 2


def _region(
    image_wh: tuple[int, int],
    canvas_hw: tuple[int, int],
    margin_hw: tuple[int, int],
    cell_and_gap: tuple[float, float],
) -> tuple[float, float, float, float]:
    """What the cells that are left cover, in px of the picture, which lies centred on the canvas.

    Where patches do not fill a tile (27 of 14 px in 384), cells are taken to be as much wider, so
    that they stay a regular grid, and to begin half of the gap earlier: then none is off by more
    than half of the gap, in px of the canvas.
    """
    cell, gap = cell_and_gap
    share = min(canvas_hw[1] / image_wh[0], canvas_hw[0] / image_wh[1])
    edges = []
    for size, canvas, margin in zip(image_wh, canvas_hw[::-1], margin_hw[::-1], strict=True):
        shown = min(math.ceil(size * share), canvas)
        start = (canvas - shown) // 2 + gap / 2
        first, last = margin * cell, canvas - margin * cell
        edges.append(((first - start) * size / shown, (last - start) * size / shown))
    (x0, x1), (y0, y1) = edges
    return x0, y0, x1, y1
