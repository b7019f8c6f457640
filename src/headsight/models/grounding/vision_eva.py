"""The vision tower of CogVLM (arXiv 2311.03079): EVA2-CLIP-E without its last layer, post-norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from headsight.errors import ConfigError

__all__ = ["EvaClipTower", "resize_positions"]


class EvaClipTower(nn.Module):
    """Vision transformer whose two children carry the key names of the published checkpoints."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        missing = {
            "image_size",
            "patch_size",
            "hidden_size",
            "num_heads",
            "num_hidden_layers",
        } - set(config)
        if missing:
            raise ConfigError(f"vision_config of encoder 'eva' lacks {', '.join(sorted(missing))}.")
        self.image_size = int(config["image_size"])
        self.patch_size = int(config["patch_size"])
        self.hidden_size = int(config["hidden_size"])
        self.patch_embedding = _PatchEmbedding(
            self.hidden_size,
            patch_size=self.patch_size,
            channels=int(config.get("in_channels", 3)),
            positions=int(config.get("num_positions", self.num_tokens + 1)),
        )
        self.transformer = _Transformer(config)

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        side = self.image_size // self.patch_size
        return side, side

    @property
    def num_tokens(self) -> int:
        """Patches a picture, in row order; the class token is dropped."""
        return self.grid_hw[0] * self.grid_hw[1]

    def forward(self, pixel_values: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b n c"]:
        """Patch tokens in row order."""
        return self.transformer(self.patch_embedding(pixel_values))[:, 1:]  # type: ignore[no-any-return]


def resize_positions(table: Float[Tensor, "p c"], grid_hw: tuple[int, int]) -> Float[Tensor, "q c"]:
    """A position table (class row first, then a square grid) on another grid, bicubic.

    The mode that CogVLM used from 224 to 490 px is not published.
    """
    side = round((len(table) - 1) ** 0.5)
    if side * side != len(table) - 1:
        raise ConfigError(f"{len(table)} positions are no square grid and a class row.")
    grid = table[1:].float().T.reshape(1, -1, side, side)
    grid = F.interpolate(grid, size=grid_hw, mode="bicubic", align_corners=False)
    return torch.cat([table[:1], grid[0].flatten(1).T.to(table.dtype)])


class _PatchEmbedding(nn.Module):
    def __init__(self, width: int, *, patch_size: int, channels: int, positions: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch_size, stride=patch_size)
        self.cls_embedding = nn.Parameter(torch.zeros(1, width))
        self.position_embedding = nn.Embedding(positions, width)
        nn.init.normal_(self.position_embedding.weight, std=0.02)

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = self.proj(pixel_values.to(self.proj.weight.dtype)).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_embedding.expand(len(x), 1, -1).to(x.dtype), x], 1)
        return x + self.position_embedding.weight[None]


class _Transformer(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(int(config["num_hidden_layers"])))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class _Layer(nn.Module):
    """Post-norm on the branch, in spite of the names of the norms."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = int(config["hidden_size"])
        eps = float(config.get("layer_norm_eps", 1e-6))
        self.input_layernorm = nn.LayerNorm(width, eps=eps)
        self.attention = _Attention(width, int(config["num_heads"]))
        self.mlp = _MLP(width, int(config.get("intermediate_size", 4 * width)))
        self.post_attention_layernorm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.input_layernorm(self.attention(x))
        return x + self.post_attention_layernorm(self.mlp(x))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.dense = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        packed = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))
        query, key, value = packed.permute(2, 0, 3, 1, 4)  # each (B, H, N, C / H)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.dense(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class _MLP(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]
