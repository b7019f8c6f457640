"""A crop regressor behind the `PoseReader` protocol, loaded from a folder."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.errors import CheckpointError, InputError
from headsight.language.spec import CodecSpec
from headsight.models.base import MAX_NEW_TOKENS
from headsight.models.checkpoints import bars_on_terminals_only
from headsight.models.grounding.adapter import resolve_device
from headsight.models.grounding.weights import read_json, weight_files
from headsight.models.headpose.config import SixDRepNetConfig
from headsight.models.headpose.crops import HeadCropper
from headsight.models.headpose.model import SixDRepNet, fold
from headsight.picture import Picture

__all__ = ["CropReader", "is_crop_regressor", "load_crop_regressor"]

_ROWS = 64  # crops looked at together


class CropReader:
    """Tells the poses in given boxes, each from its own crop, without words."""

    def __init__(self, model: SixDRepNet, *, name: str, flip: bool = False) -> None:
        self.name = name
        self.network = model.eval()
        self.cropper = HeadCropper.for_model(model.config)
        self._flip = flip

    def read_poses(
        self, picture: Picture, boxes: Float[NDArray[Any], "n 4"]
    ) -> Float[NDArray[Any], "n 3 3"]:
        """Head to camera, a row a box; NaN where the network says no rotation."""
        parts = [np.zeros((0, 3, 3))]
        for start in range(0, len(boxes), _ROWS):
            crops = self.cropper(picture.image, boxes[start : start + _ROWS])
            pixels = self.cropper.to_input(crops).to(self.network.device, self.network.dtype)
            seen = self.network.rotations(pixels, flip=self._flip)
            parts.append(seen.double().cpu().numpy())
        return np.concatenate(parts)

    def answer(
        self,
        picture: Picture,
        prompts: Sequence[str],
        *,
        grammar: CodecSpec | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> NoReturn:
        """Nothing: it reads no words.

        Raises:
            InputError: always, and says what to do.
        """
        raise InputError(
            f"{self.name} tells the pose of a head whose box is given and answers no questions."
            " Give boxes (headsight pose --box), or take those of another model (headsight eval"
            " heads --boxes-from nano)."
        )


def is_crop_regressor(folder: Path) -> bool:
    """Whether config.json in `folder` is that of a `SixDRepNet`; False where it cannot be read."""
    try:
        values = read_json(folder / "config.json")
    except CheckpointError:
        return False
    return values.get("model_type") == SixDRepNetConfig.model_type


def load_crop_regressor(folder: Path, *, device: str = "auto", name: str = "") -> CropReader:
    """The model in `folder`; branches of a RepVGG are folded for speed.

    Raises:
        CheckpointError: weights missing, damaged or foreign.
        InputError: no such device.
    """
    target = resolve_device(device)
    weight_files(folder)  # says what is missing, and refuses pickles
    try:
        with bars_on_terminals_only():
            loaded: Any = SixDRepNet.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:  # transformers raises what it likes on a damaged folder
        raise CheckpointError(
            f"{folder} cannot be loaded as a crop regressor:"
            f" {' '.join(str(error).split())[:200]}. Get the whole folder again."
        ) from error
    model: SixDRepNet = loaded[0]
    info = loaded[1]
    if wrong := sorted({*info["missing_keys"], *info["unexpected_keys"]}):
        raise CheckpointError(
            f"{folder} does not hold the weights that its config.json describes:"
            f" {', '.join(wrong[:5])}. Get config and weights from the same checkpoint."
        )
    model.eval()
    if hasattr(model.backbone, "layer0") and not model.config.is_folded:
        model = fold(model)
    torch.nn.Module.to(model, target)
    return CropReader(model, name=name or folder.name)
