"""Any vision backbone of transformers as an encoder, described by its config."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from headsight.errors import ConfigError

__all__ = ["TransformersVision"]


class TransformersVision(nn.Module):
    """A vision model of transformers (ViT, DINOv2, SigLIP, ConvNeXt, ...).

    Its last hidden state gives the tokens.
    The config's `model` holds the model's own config with its `model_type`; nothing is downloaded.
    Class and register tokens in front of the patch grid are dropped; a map (B, C, H, W) is read in
    row order.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        values = dict(config.get("model") or {})
        kind = values.pop("model_type", None)
        if kind is None:
            raise ConfigError(
                "vision_config of encoder 'transformers' lacks model.model_type, such as 'vit'."
            )
        try:
            backbone_config = AutoConfig.for_model(kind, **values)
        except ValueError as error:
            raise ConfigError(f"vision_config names model_type {kind!r}: {error}") from error
        self.backbone = AutoModel.from_config(backbone_config)
        self.hidden_size = int(
            config.get("hidden_size")
            or getattr(backbone_config, "hidden_size", 0)
            or backbone_config.hidden_sizes[-1]
        )
        self.image_size = int(config.get("image_size") or backbone_config.image_size)
        stride = getattr(backbone_config, "patch_size", None)
        stride = int(config.get("stride") or stride or 32)
        self._side = self.image_size // stride

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns of the token grid."""
        return self._side, self._side

    @property
    def num_tokens(self) -> int:
        """Tokens a picture, in row order."""
        return self._side * self._side

    def forward(self, pixel_values: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b n c"]:
        """Patch tokens in row order.

        Raises:
            ConfigError: the backbone gives fewer tokens than the grid has; `stride` in the config
            is wrong.
        """
        hidden: Tensor = self.backbone(pixel_values).last_hidden_state
        if hidden.dim() == 4:
            hidden = hidden.flatten(2).transpose(1, 2)
        if hidden.shape[1] < self.num_tokens:
            raise ConfigError(
                f"The backbone gave {hidden.shape[1]} tokens, but a {self._side}x{self._side} grid"
                f" needs {self.num_tokens}. Set `stride` in vision_config to its stride in px."
            )
        return torch.narrow(hidden, 1, hidden.shape[1] - self.num_tokens, self.num_tokens)
