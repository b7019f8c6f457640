"""LLaVA 1.5 and VipLLaVA: one square view, cropped or padded as the image processor is set."""

from __future__ import annotations

from typing import Any, ClassVar

from headsight.models.families.family import ChatFamily, Inputs, image_positions
from headsight.models.families.mistral3 import MISTRAL3, pixtral_views
from headsight.models.image_views import ImageView, ViewKind
from headsight.picture import Picture

__all__ = ["LLAVA", "Llava", "square_region"]


class Llava(ChatFamily):
    """LLaVA 1.5 (arXiv 2310.03744) and VipLLaVA (arXiv 2312.00784)."""

    model_types = ("llava", "vipllava")
    dialect = "llava"
    template: ClassVar[str] = "USER: {image}\n{prompt} ASSISTANT:"

    def inputs(self, processor: Any, picture: Picture, prompt: str) -> Inputs:
        """See `Family.inputs`."""
        if _has_pixtral(processor):
            return MISTRAL3.inputs(processor, picture, prompt)
        return super().inputs(processor, picture, prompt)

    def text(self, processor: Any, prompt: str) -> str:
        """See `ChatFamily.text`."""
        if _has_pixtral(processor):
            return MISTRAL3.text(processor, prompt)
        return super().text(processor, prompt)

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """One grid of square patches; see `Family.views`."""
        if _has_pixtral(processor):
            return pixtral_views(config, processor, inputs, image_wh)
        height, width = inputs["pixel_values"].shape[-2:]
        patch = config.vision_config.patch_size
        region, kind = square_region(processor.image_processor, image_wh)
        grid_hw = (height // patch, width // patch)
        return (ImageView(grid_hw, image_positions(config, inputs), region, kind),)

    def seen_region(
        self, processor: Any, image_wh: tuple[int, int]
    ) -> tuple[float, float, float, float] | None:
        """What the image processor, as it is set, leaves of the picture, or puts around it."""
        if _has_pixtral(processor):
            return (0.0, 0.0, float(image_wh[0]), float(image_wh[1]))
        return square_region(processor.image_processor, image_wh)[0]


LLAVA = Llava()


def _has_pixtral(processor: Any) -> bool:
    """True for Pixtral 12B, which calls itself a LLaVA but is asked and sees as Mistral 3 does."""
    return hasattr(processor, "spatial_merge_size")


def square_region(
    image_processor: Any, image_wh: tuple[int, int]
) -> tuple[tuple[float, float, float, float], ViewKind]:
    """Which part of the picture (xyxy px) a CLIP-style image processor shows, and how.

    Its steps are padding to a square, resizing, and cutting out the centre, each as it is set;
    where the resized picture is smaller than the cut, that one brings a border.
    """
    width, height = image_wh
    left = top = 0.0
    if pads := getattr(image_processor, "do_pad", False):
        side = max(width, height)
        left, top = -float((side - width) // 2), -float((side - height) // 2)
        width = height = side
    resized_w, resized_h = _resized_wh(image_processor, (width, height))
    scale_x, scale_y = resized_w / width, resized_h / height
    cut_w, cut_h = resized_w, resized_h
    if image_processor.do_center_crop:
        cut_w, cut_h = image_processor.crop_size["width"], image_processor.crop_size["height"]
    left += (resized_w - cut_w) // 2 / scale_x
    top += (resized_h - cut_h) // 2 / scale_y
    region = (left, top, left + cut_w / scale_x, top + cut_h / scale_y)
    if cut_w < resized_w or cut_h < resized_h:
        return region, "crop"
    is_bordered = pads or cut_w > resized_w or cut_h > resized_h
    return region, "padded" if is_bordered else "whole"


def _resized_wh(image_processor: Any, image_wh: tuple[int, int]) -> tuple[int, int]:
    """The size that the image processor resizes a picture of `image_wh` to."""
    if not image_processor.do_resize:
        return image_wh
    size, short, long = image_processor.size, min(image_wh), max(image_wh)
    if edge := size.get("shortest_edge"):
        other = int(edge * long / short)
        return (edge, other) if image_wh[0] <= image_wh[1] else (other, edge)
    return size["width"], size["height"]
