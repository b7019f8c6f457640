"""InternVL in transformers: tiles laid out to fit the picture's shape, a thumbnail last."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from headsight.models.families.family import ChatFamily, Inputs, image_positions
from headsight.models.families.tiles import tiled_views
from headsight.models.image_views import ImageView

__all__ = ["INTERNVL", "InternVL"]


class InternVL(ChatFamily):
    """InternVL 3 and 3.5 (arXiv 2504.10479, 2508.18265), and earlier ones in the same form."""

    model_types = ("internvl",)
    dialect = "internvl"
    template: ClassVar[str] = (
        "<|im_start|>user\n{image}\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    )

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """The thumbnail first, then the tiles; see `Family.views`."""
        vision = config.vision_config
        rows, columns = (
            int(side // patch * config.downsample_ratio)
            for side, patch in zip(vision.image_size, vision.patch_size, strict=True)
        )
        is_single = len(inputs["pixel_values"]) == 1
        tiles_hw = (0, 0) if is_single else _tiles_hw(processor.image_processor, image_wh)
        return tiled_views(image_positions(config, inputs), (rows, columns), tiles_hw, image_wh)


INTERNVL = InternVL()


def _tiles_hw(image_processor: Any, image_wh: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tiles, which the processor keeps to itself: by its own function."""
    canvas = sys.modules[type(image_processor).__module__].get_optimal_tiled_canvas
    size = image_processor.size
    columns, rows = canvas(
        (image_wh[1], image_wh[0]),
        (size["height"], size["width"]),
        image_processor.min_patches,
        image_processor.max_patches,
    )
    return rows, columns
