"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: one grid as large as the picture asks for."""

from __future__ import annotations

from typing import Any, ClassVar

from headsight.models.families.family import ChatFamily, Inputs, image_positions
from headsight.models.families.tiles import whole_view
from headsight.models.image_views import ImageView

__all__ = ["QWEN2_5_VL", "QWEN2_VL", "QWEN3_VL", "QwenVL"]


class QwenVL(ChatFamily):
    """Qwen2-VL (arXiv 2409.12191), Qwen2.5-VL (2502.13923), Qwen3-VL (2511.21631).

    Without the types of the tokens Qwen2.5-VL runs, but with the positions of plain text.
    """

    template: ClassVar[str] = (
        "<|im_start|>user\n<|vision_start|>{image}<|vision_end|>{prompt}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    requires = ("image_grid_thw", "mm_token_type_ids")

    def __init__(self, model_types: tuple[str, ...], dialect: str) -> None:
        """One generation: they differ in how places are written."""
        self.model_types = model_types
        self.dialect = dialect

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """The stretched picture, a cell for each merged square of patches; see `Family.views`."""
        merge = config.vision_config.spatial_merge_size
        _, height, width = inputs["image_grid_thw"][0].tolist()
        grid_hw = (height // merge, width // merge)
        return (whole_view(image_positions(config, inputs), grid_hw, image_wh),)

    def seen_wh(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[int, int]:
        """From the grid, never from the picture again; see `Family.seen_wh`."""
        patch = config.vision_config.patch_size
        _, height, width = inputs["image_grid_thw"][0].tolist()
        return width * patch, height * patch


QWEN2_VL = QwenVL(("qwen2_vl",), "qwen2_vl")
QWEN2_5_VL = QwenVL(("qwen2_5_vl",), "qwen2_5_vl")
QWEN3_VL = QwenVL(("qwen3_vl", "qwen3_vl_moe"), "qwen3_vl")
