"""Mistral 3, and Pixtral's processor: one grid of the picture's shape, each row with its break."""

from __future__ import annotations

from typing import Any, ClassVar

from headsight.errors import InputError
from headsight.models.families.family import ChatFamily, Inputs, image_positions
from headsight.models.families.tiles import whole_view
from headsight.models.image_views import ImageView
from headsight.picture import Picture

__all__ = ["MISTRAL3", "Mistral3", "pixtral_views"]


class Mistral3(ChatFamily):
    """Mistral Small 3.1 and later, with the tower of Pixtral (arXiv 2410.07073).

    It was taught no form of places: it is asked for the JSON that most models write.
    """

    model_types = ("mistral3",)
    dialect = "qwen3_vl"
    template: ClassVar[str] = "[INST]{image}{prompt}[/INST]"
    requires = ("image_sizes",)

    def inputs(self, processor: Any, picture: Picture, prompt: str) -> Inputs:
        """See `Family.inputs`; a picture of a single token makes transformers' model fail."""
        made = super().inputs(processor, picture, prompt)
        unit = _unit(processor)
        if made["image_sizes"].tolist() == [[unit, unit]]:
            width, height = picture.image_wh
            raise InputError(
                f"The picture is {width} x {height} px, but this model needs more than one cell of"
                f" {unit} x {unit} px. Enlarge it."
            )
        return made

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """One grid over the stretched picture; see `Family.views`."""
        return pixtral_views(config, processor, inputs, image_wh)

    def seen_wh(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[int, int]:
        """The size after resizing; see `Family.seen_wh`."""
        height, width = inputs["image_sizes"][0].tolist()
        return width, height


MISTRAL3 = Mistral3()


def pixtral_views(
    config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
) -> tuple[ImageView, ...]:
    """The view of any model behind Pixtral's processor; see `Family.views`."""
    unit = _unit(processor)
    height, width = inputs["image_sizes"][0].tolist()
    grid_hw = (height // unit, width // unit)
    return (whole_view(image_positions(config, inputs), grid_hw, image_wh),)


def _unit(processor: Any) -> int:
    """Side of what one token stands for, px of the resized picture."""
    return int(processor.patch_size * processor.spatial_merge_size)
