"""DeepSeek-VL and its hybrid: the picture in the middle of a square."""

from __future__ import annotations

from typing import Any, ClassVar

from headsight.models.families.family import ChatFamily, Inputs, image_positions
from headsight.models.image_views import ImageView, ViewKind

__all__ = ["DEEPSEEK_VL", "DeepseekVL"]


class DeepseekVL(ChatFamily):
    """DeepSeek-VL (arXiv 2403.05525); the 7B's second tower shares the grid of the first.

    It was taught no form of places: it is asked for the JSON that most models write.
    """

    model_types = ("deepseek_vl", "deepseek_vl_hybrid")
    dialect = "qwen3_vl"
    template: ClassVar[str] = "User: {image}{prompt}\n\nAssistant:"

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """One square grid, partly over the padding; see `Family.views`."""
        side = config.vision_config.image_size // config.vision_config.patch_size
        region = _square(processor.image_processor, image_wh)
        kind: ViewKind = "whole" if region == (0, 0, *image_wh) else "padded"
        return (ImageView((side, side), image_positions(config, inputs), region, kind),)


DEEPSEEK_VL = DeepseekVL()


def _square(image_processor: Any, image_wh: tuple[int, int]) -> tuple[float, float, float, float]:
    """The padded square in px of the picture, which is shrunk first, then padded."""
    width, height = image_wh
    side = getattr(image_processor, "high_res_size", image_processor.size)["height"]
    scale = side / max(width, height)
    floor = image_processor.min_size
    wide, high = max(round(width * scale), floor), max(round(height * scale), floor)
    side = max(wide, high)
    left, top = (side - wide) // 2, (side - high) // 2
    x, y = width / wide, height / high
    return -left * x, -top * y, (side - left) * x, (side - top) * y
