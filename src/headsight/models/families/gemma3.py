"""Gemma 3: the stretched picture in pooled tokens, and its crops where pan-and-scan is on."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from headsight.models.families.family import ChatFamily, Inputs, image_positions
from headsight.models.image_views import ImageView

__all__ = ["GEMMA3", "Gemma3"]

_PAN_AND_SCAN = (
    "do_pan_and_scan",
    "pan_and_scan_min_crop_size",
    "pan_and_scan_max_num_crops",
    "pan_and_scan_min_ratio_to_activate",
)


class Gemma3(ChatFamily):
    """Gemma 3 (arXiv 2503.19786). Its maker documents no form of places: the dialect is a guess."""

    model_types = ("gemma3",)
    dialect = "gemini"
    template: ClassVar[str] = (
        "<start_of_turn>user\n{image}{prompt}<end_of_turn>\n<start_of_turn>model\n"
    )
    requires = ("token_type_ids",)  # without them image tokens see only those before them

    def options(self, processor: Any) -> dict[str, Any]:
        """Pan-and-scan as the image processor is set; the processor alone would switch it off."""
        settings = processor.image_processor
        if not settings.do_pan_and_scan:
            return {}
        return {name: getattr(settings, name) for name in _PAN_AND_SCAN}

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """The whole picture, then its crops from left to right, or from above; `Family.views`."""
        tokens = config.mm_tokens_per_image
        side = math.isqrt(tokens)
        positions = image_positions(config, inputs)
        whole = (0.0, 0.0, float(image_wh[0]), float(image_wh[1]))
        regions = [whole, *_crops(image_wh, len(inputs["pixel_values"]) - 1)]
        return tuple(
            ImageView(
                (side, side),
                positions[i * tokens : (i + 1) * tokens],
                region,
                "tile" if i else "whole",
            )
            for i, region in enumerate(regions)
        )


GEMMA3 = Gemma3()


def _crops(image_wh: tuple[int, int], number: int) -> list[tuple[float, float, float, float]]:
    """Equal strips along the longer side, the last one being what is left."""
    width, height = map(float, image_wh)
    if not number:
        return []
    if width >= height:
        step = math.ceil(width / number)
        return [(1.0 * i * step, 0.0, min((i + 1.0) * step, width), height) for i in range(number)]
    step = math.ceil(height / number)
    return [(0.0, 1.0 * i * step, width, min((i + 1.0) * step, height)) for i in range(number)]
