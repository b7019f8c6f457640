"""The vision part of `GroundingVLM`: encoder, adapter and the two learned borders of a picture.

The module `model.vision` carries the key names of the published CogVLM checkpoints (arXiv
2311.03079): with the encoder "eva" its two children stand beside the adapter, any other encoder is
the child `encoder`.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from headsight.errors import ConfigError
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.vision_eva import EvaClipTower

__all__ = ["VISION_ENCODERS", "GluAdapter", "VisionPart", "build_encoder"]


def _headgrid(config: Mapping[str, Any]) -> nn.Module:
    from headsight.models.grounding.headgrid import HeadGrid

    return HeadGrid(config)


def _transformers(config: Mapping[str, Any]) -> nn.Module:
    from headsight.models.grounding.vision_transformers import TransformersVision

    return TransformersVision(config)


# An encoder has hidden_size, num_tokens, grid_hw, forward(pixel_values (B, 3, S, S)) -> (B, N, C).
VISION_ENCODERS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "eva": EvaClipTower,
    "headgrid": _headgrid,
    "transformers": _transformers,
}


def build_encoder(config: Mapping[str, Any]) -> nn.Module:
    """The encoder that `vision_config` names.

    Raises:
        ConfigError: `encoder` is missing or no entry of VISION_ENCODERS.
    """
    name = config.get("encoder")
    if name not in VISION_ENCODERS:
        raise ConfigError(
            f"vision_config names encoder {name!r}; expected one of {', '.join(VISION_ENCODERS)}."
        )
    encoder = VISION_ENCODERS[name](config)
    is_empty = any(p.is_meta for p in encoder.parameters())
    if name != "transformers" and not is_empty:  # starts as it was built, not as a decoder would
        for module in encoder.modules():
            module._is_hf_initialized = True  # type: ignore[assignment]
    return encoder


class GluAdapter(nn.Module):
    """From encoder tokens to decoder tokens: a linear map, a norm, and a gated MLP."""

    def __init__(self, inputs: int, width: int, inner: int) -> None:
        super().__init__()
        self.linear_proj = nn.Linear(inputs, width, bias=False)
        self.norm1 = nn.LayerNorm(width)
        self.dense_h_to_4h = nn.Linear(width, inner, bias=False)
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.dense_4h_to_h = nn.Linear(inner, width, bias=False)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n d"]:
        """One decoder token a grid cell."""
        x = F.gelu(self.norm1(self.linear_proj(x)))
        return self.dense_4h_to_h(F.silu(self.gate_proj(x)) * self.dense_h_to_4h(x))  # type: ignore[no-any-return]


class VisionPart(nn.Module):
    """Picture to decoder tokens, with begin-of-image before and end-of-image after them."""

    def __init__(self, config: GroundingVLMConfig) -> None:
        super().__init__()
        encoder = build_encoder(config.vision_config or {})
        self.grid_hw: tuple[int, int] = encoder.grid_hw  # type: ignore[assignment]
        # an encoder may hand on fewer tokens than its grid has cells
        num_tokens: int = encoder.num_tokens  # type: ignore[assignment]
        channels: int = encoder.hidden_size  # type: ignore[assignment]
        self.encoder: nn.Module | None = None
        if isinstance(encoder, EvaClipTower):
            self.patch_embedding = encoder.patch_embedding
            self.transformer = encoder.transformer
            self._takes_content = False
        else:
            self.encoder = encoder
            self._takes_content = "content_wh_rel" in inspect.signature(encoder.forward).parameters
        self.conv: nn.Conv2d | None = None
        if config.vision_conv:
            self.conv = nn.Conv2d(channels, channels, 2, stride=2)
            self.grid_hw = (self.grid_hw[0] // 2, self.grid_hw[1] // 2)
            num_tokens = self.grid_hw[0] * self.grid_hw[1]
        self.slots_per_image = num_tokens + 2
        """Decoder tokens a picture takes: the encoder's and the two borders."""
        inner = config.adapter_intermediate_size or config.intermediate_size
        self.linear_proj: nn.Module
        if config.adapter == "linear":
            self.linear_proj = nn.Linear(channels, config.hidden_size)
        else:
            self.linear_proj = GluAdapter(channels, config.hidden_size, inner)
        self.boi = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.eoi = nn.Parameter(torch.zeros(1, 1, config.hidden_size))

    def encode(
        self,
        pixel_values: Float[Tensor, "b 3 s s"],
        content_wh_rel: Float[Tensor, "b 2"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        """The encoder's tokens, before the adapter: what `image_features` holds.

        `content_wh_rel` is the share of the square that the picture covers; encoders that do not
        ask for it are not told.
        """
        if self.encoder is None:
            return self.transformer(self.patch_embedding(pixel_values))[:, 1:]  # type: ignore[no-any-return]
        if self._takes_content:
            return self.encoder(pixel_values, content_wh_rel=content_wh_rel)  # type: ignore[no-any-return]
        return self.encoder(pixel_values)  # type: ignore[no-any-return]

    def forward(self, features: Float[Tensor, "b n c"]) -> Float[Tensor, "b m d"]:
        """Decoder tokens of pictures whose encoder tokens are `features`, borders included."""
        if self.conv is not None:
            side = round(features.shape[1] ** 0.5)
            grid = features.transpose(1, 2).unflatten(2, (side, -1))  # (B, C, H, W)
            features = self.conv(grid).flatten(2).transpose(1, 2)
        tokens = self.linear_proj(features)
        borders = [p.to(tokens.dtype).expand(len(tokens), 1, -1) for p in (self.boi, self.eoi)]
        return torch.cat([borders[0], tokens, borders[1]], 1)
