"""Weights of the published 6DRepNet and 6DRepNet360 as a `SixDRepNet`.

Their files are pickles, opened here and nowhere else, and for tensors alone.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headsight.errors import CheckpointError
from headsight.models.headpose.config import SixDRepNetConfig
from headsight.models.headpose.model import SixDRepNet

__all__ = ["from_released", "read_released"]

_WRAPPERS = ("model_state_dict", "state_dict")
_HEAD = "linear_reg."
_UNUSED = ("fc_finetune.", "fc.")


def read_released(path: Path) -> SixDRepNet:
    """The model in a published `.pth` or `.tar` file; save it with `save_pretrained`.

    Raises:
        CheckpointError: no such file, one that holds more than tensors, or other weights.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a file of tensors: {' '.join(str(error).split())[:200]}."
            " Expected weights of 6DRepNet or 6DRepNet360; download them again."
        ) from error
    return from_released(values)


def from_released(values: Mapping[str, Any]) -> SixDRepNet:
    """The model of a published state dict: RepVGG-B1g2 with branches or folded, or ResNet-50.

    The dict may lie under `model_state_dict`, its names may begin with `module.`. What comes out
    answers in our frame.

    Raises:
        CheckpointError: names or shapes are not those of one of the three.
    """
    for wrapper in _WRAPPERS:
        values = values.get(wrapper, values)
    plain = {n.removeprefix("module."): t for n, t in values.items() if isinstance(t, Tensor)}
    state = {
        n if n.startswith(_HEAD) else f"backbone.{n}": t
        for n, t in plain.items()
        if not n.startswith(_UNUSED)
    }
    config = SixDRepNetConfig(
        backbone="repvgg_b1g2" if "backbone.layer0.rbr_reparam.weight" in state
        or "backbone.layer0.rbr_dense.conv.weight" in state else "resnet50",
        is_folded="backbone.layer0.rbr_reparam.weight" in state,
        convention="6drepnet",
    )  # fmt: skip
    with torch.device("meta"):
        model = SixDRepNet(config)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"These are no weights of 6DRepNet or 6DRepNet360 (first names:"
            f" {', '.join(list(plain)[:3]) or 'none'}): {str(error)[:200]}. Expected layer0 to"
            " layer4 or conv1 to layer4, and linear_reg."
        ) from error
    model.eval()
    return model
