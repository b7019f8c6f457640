"""From a training checkpoint to a model folder that `headsight.load` opens.

The folder holds the averaged weights in half precision, vision encoder and language model in a file
each: either can be trained again and replaced alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from headsight.errors import InputError
from headsight.files import write_atomic
from headsight.models.checkpoints import bars_on_terminals_only
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.tokenizer import build_tokenizer
from headsight.train.checkpoint import load_average_
from headsight.train.language import build_model
from headsight.train.recipe import Recipe

__all__ = ["export_model"]

_VISION = "model.vision.encoder."
_TAUGHT_WITH_DECODER = tuple(_VISION + part for part in ("read_in", "feature_in", "position"))
"""What turns a reading into tokens is learned together with the decoder, so they are one file."""


def export_model(
    recipe: Recipe, checkpoint: Path, folder: Path, *, dtype: torch.dtype = torch.float16
) -> None:
    """Write config, weights, tokenizer and processor into `folder`, over what is there.

    Of a recipe that ends with a crop regressor: its config and weights, in the precision they have.

    Raises:
        CheckpointError: the checkpoint does not exist or does not fit the recipe.
        InputError: a weight does not fit into `dtype`.
    """
    if recipe.stages[-1].kind == "crop_regressor":
        from headsight.train.crop_regressor import build_regressor

        regressor = build_regressor(recipe.stages[-1])
        load_average_(regressor, checkpoint)
        with bars_on_terminals_only():
            regressor.save_pretrained(folder)
        return
    tokenizer = build_tokenizer()
    model = build_model(recipe, tokenizer)
    load_average_(model, checkpoint)
    for name, value in model.state_dict().items():
        if not torch.isfinite(value.to(dtype)).all():
            raise InputError(f"{name} does not fit into {dtype}. Export with dtype=torch.float32.")
    processor = GroundingProcessor.for_model(model.config, tokenizer)
    model.to(dtype=dtype)  # type: ignore[call-arg]
    model.save_pretrained(folder)
    _split(folder)
    processor.save_pretrained(folder)


def _split(folder: Path) -> None:
    """One file of weights into two, with the index that transformers expects."""
    whole = folder / "model.safetensors"
    tensors = load_file(whole)
    names = {True: "model-00001-of-00002.safetensors", False: "model-00002-of-00002.safetensors"}
    where = {
        name: names[name.startswith(_VISION) and not name.startswith(_TAUGHT_WITH_DECODER)]
        for name in sorted(tensors)
    }
    for file in names.values():
        part = {n: t for n, t in tensors.items() if where[n] == file}
        write_atomic(folder / file, save(part, metadata={"format": "pt"}))
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    text = json.dumps(index, indent=1) + "\n"
    write_atomic(folder / "model.safetensors.index.json", text.encode())
    whole.unlink()
