"""Idefics3 and SmolVLM: tiles named by their row and column, the whole picture last."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from headsight.models.families.family import ChatFamily, Inputs, image_positions
from headsight.models.families.tiles import tiled_views
from headsight.models.image_views import ImageView

__all__ = ["IDEFICS3", "SMOLVLM", "Idefics3"]

_TAG = re.compile(r"<row_(\d+)_col_(\d+)>")


class Idefics3(ChatFamily):
    """Idefics3 (arXiv 2408.12637) and SmolVLM (2504.05299).

    They were taught no form of places: they are asked for the JSON that most models write.
    """

    dialect = "qwen3_vl"
    template: ClassVar[str] = "<|im_start|>User:{image}{prompt}<end_of_utterance>\nAssistant:"

    def __init__(self, model_types: tuple[str, ...]) -> None:
        """One generation: they differ in their names alone."""
        self.model_types = model_types

    def views(
        self, config: Any, processor: Any, inputs: Inputs, image_wh: tuple[int, int]
    ) -> tuple[ImageView, ...]:
        """The whole picture first, then the tiles; see `Family.views`."""
        unit = config.vision_config.patch_size * config.scale_factor
        height, width = inputs["pixel_values"].shape[-2:]
        positions = image_positions(config, inputs)
        tiles_hw = _tiles_hw(processor.tokenizer, inputs["input_ids"][0], positions)
        return tiled_views(positions, (height // unit, width // unit), tiles_hw, image_wh)


IDEFICS3 = Idefics3(("idefics3",))
SMOLVLM = Idefics3(("smolvlm",))


def _tiles_hw(tokenizer: Any, ids: Any, positions: Int[NDArray[np.int64], " n"]) -> tuple[int, int]:
    """Rows and columns, from the name before the last tile; a tag may be one token or many.

    The processor forgets the layout, and its function that foretells it rounds otherwise.
    """
    starts = positions[np.flatnonzero(np.diff(positions, prepend=-2) > 1)]
    if len(starts) < 2:
        return 0, 0
    ends = positions[np.flatnonzero(np.diff(positions, append=len(ids) + 1) > 1)] + 1
    before = ends[-3] if len(starts) > 2 else 0
    said = re.sub(r"\s", "", tokenizer.decode(ids[before : starts[-2]]))
    tags = _TAG.findall(said)
    return (int(tags[-1][0]), int(tags[-1][1])) if tags else (0, 0)
