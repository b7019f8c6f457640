"""A local folder of the SAM family, read into a `Segmenter`."""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

__all__ = ["SAM_TYPES", "load_sam"]

from pathlib import Path
from typing import Any

import torch
import transformers

from headsight.errors import CheckpointError, MissingExtraError
from headsight.models.checkpoints import bars_on_terminals_only
from headsight.models.framing import Framing
from headsight.models.grounding.adapter import resolve_device
from headsight.models.grounding.weights import read_json, weight_files
from headsight.models.sam import SamSegmenter
from headsight.models.sam3 import Sam3Segmenter

SAM_TYPES = {
    "sam": "SamModel",
    "sam_hq": "SamHQModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
    "edgetam": "EdgeTamModel",
    "edgetam_video": "EdgeTamModel",
    "sam3_tracker": "Sam3TrackerModel",
    "sam3_video": "Sam3TrackerModel",
    "sam3": "Sam3Model",
}
"""The class of transformers for each `model_type`; of a video model the part for one picture."""


def load_sam(
    folder: Path, *, device: str = "auto", as_type: str | None = None, name: str = ""
) -> SamSegmenter | Sam3Segmenter:
    """The model of the SAM family in `folder`; see `load_segmenter`."""
    target = resolve_device(device)
    values = read_json(folder / "config.json")
    kind = as_type or values.get("model_type")
    if kind not in SAM_TYPES:
        raise CheckpointError(
            f"{folder} holds a {kind!r} model, but a segmenter is one of {', '.join(SAM_TYPES)}."
            " Pass the folder of such a model."
        )
    weight_files(folder)  # says what is missing, and refuses pickles
    framing = Framing.from_folder(folder)
    with bars_on_terminals_only():
        model = _load_model(folder, SAM_TYPES[str(kind)])
    side = model.config.image_size if kind == "sam3" else model.prompt_encoder.input_image_size
    if side != framing.side:
        raise CheckpointError(
            f"The processor in {folder} makes squares of {framing.side} px, but its model reads"
            f" {side} px. Get both from the same checkpoint."
        )
    model = model.to(target)
    if kind != "sam3":
        return SamSegmenter(model, framing, name=name or folder.name)
    return Sam3Segmenter(model, _load_tokenizer(folder), framing, name=name or folder.name)


def _load_model(folder: Path, name: str) -> Any:
    try:
        model, info = getattr(transformers, name).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except ImportError as error:
        raise MissingExtraError(
            f"{name} in {folder} needs a package that is not installed:"
            f" {' '.join(str(error).split())[:200]}. Install it without its dependencies"
            " (--no-deps), or use another segmenter."
        ) from error
    except Exception as error:  # transformers raises what it likes on a damaged folder
        raise CheckpointError(
            f"{folder} cannot be loaded as {name}: {' '.join(str(error).split())[:200]}. Get the"
            " whole checkpoint again."
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"{folder} lacks {len(missing)} weights of a {name} ({', '.join(missing[:5])}), which"
            " would be left random. Get the whole checkpoint."
        )
    return model


def _load_tokenizer(folder: Path) -> Any:
    # without a vocabulary transformers makes an empty tokenizer and says nothing
    if not any((folder / name).exists() for name in ("tokenizer.json", "vocab.json")):
        raise CheckpointError(
            f"{folder} has no tokenizer.json, but SAM 3 reads words. Put the tokenizer's files into"
            " the folder."
        )
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers package raises plain Exceptions
        raise CheckpointError(
            f"The tokenizer in {folder} cannot be read: {error}. Get its files again."
        ) from error
