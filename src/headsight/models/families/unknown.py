"""A model of an architecture that is not known here: answers always, places with a grid by hand."""

from __future__ import annotations

from typing import Any

from headsight.errors import InputError
from headsight.models.families.family import (
    IMAGE_TOKEN_FIELDS,
    ChatFamily,
    Inputs,
    image_positions,
)
from headsight.models.families.tiles import whole_view
from headsight.models.image_views import ImageView

__all__ = ["UnknownFamily"]


class UnknownFamily(ChatFamily):
    """Asked in the chat template of its processor, for the JSON that most recent models write."""

    dialect = "qwen3_vl"

    def __init__(self, image_grid_hw: tuple[int, int] | None = None) -> None:
        """`image_grid_hw`: rows and columns of image tokens laid over the whole picture."""
        self.image_grid_hw = image_grid_hw

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """The grid given by hand over the whole, stretched picture; see `Family.views`."""
        positions = image_positions(config, inputs)
        if self.image_grid_hw is None:
            raise InputError(
                f"The architecture {config.model_type!r} is not known, and how its {len(positions)}"
                f" image tokens (found by config.{' or config.'.join(IMAGE_TOKEN_FIELDS)}) lie on"
                " the picture cannot be guessed. Pass image_grid_hw=(rows, columns)."
            )
        rows, columns = self.image_grid_hw
        if rows * columns != len(positions):
            raise InputError(
                f"image_grid_hw is {rows} x {columns} = {rows * columns} cells, but the sequence"
                f" has {len(positions)} image tokens. Pass the grid of this model's image tokens."
            )
        return (whole_view(positions, self.image_grid_hw, image_wh),)
