"""From a training checkpoint to a model folder that `headsight.load` opens.

The folder holds the averaged weights in half precision.
"""

from __future__ import annotations

from pathlib import Path

import torch

from headsight.errors import InputError
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.tokenizer import build_tokenizer
from headsight.train.language import build_model
from headsight.train.recipe import Recipe
from headsight.train.run import load_average_

__all__ = ["export_model"]


def export_model(
    recipe: Recipe, checkpoint: Path, folder: Path, *, dtype: torch.dtype = torch.float16
) -> None:
    """Write config, weights, tokenizer and processor into `folder`.

    Raises:
        CheckpointError: the checkpoint does not exist or does not fit the recipe.
        InputError: a weight does not fit into `dtype`.
    """
    tokenizer = build_tokenizer()
    model = build_model(recipe, tokenizer)
    load_average_(model, checkpoint)
    for name, value in model.state_dict().items():
        if not torch.isfinite(value.to(dtype)).all():
            raise InputError(f"{name} does not fit into {dtype}. Export with dtype=torch.float32.")
    processor = GroundingProcessor.for_model(model.config, tokenizer)
    model.to(dtype=dtype)  # type: ignore[call-arg]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
