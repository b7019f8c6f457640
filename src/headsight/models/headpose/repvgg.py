"""RepVGG (arXiv 2101.03697): three branches a block while it learns, one convolution afterwards.

Names of the parameters are those of the released 6DRepNet weights (`layer0` ... `layer4`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["B1G2", "TINY", "RepVgg", "RepVggShape", "fold_state"]

_BRANCHES = ("rbr_dense", "rbr_1x1", "rbr_identity")
_NORM = ("weight", "bias", "running_mean", "running_var")
_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class RepVggShape:
    """Blocks and channels; the stem and the first block of every stage halve the picture."""

    stem_width: int
    """Channels of the stem."""
    widths: tuple[int, ...]
    """Channels of each stage."""
    depths: tuple[int, ...]
    """Blocks of each stage."""
    even_groups: int = 1
    """Groups of the convolutions in even-numbered blocks, counted from 1 behind the stem."""


B1G2 = RepVggShape(stem_width=64, widths=(128, 256, 512, 2048), depths=(4, 6, 16, 1), even_groups=2)
TINY = RepVggShape(stem_width=24, widths=(32, 64, 128, 256), depths=(2, 3, 3, 1))
"""Ours: learns on two CPU cores in minutes."""


class RepVgg(nn.Module):
    """Picture to features at stride 32, (B, C, H/32, W/32)."""

    def __init__(self, shape: RepVggShape, *, folded: bool = False) -> None:
        super().__init__()
        self.layer0 = _Block(3, shape.stem_width, stride=2, groups=1, folded=folded)
        width, number = shape.stem_width, 0
        for stage, (out, depth) in enumerate(zip(shape.widths, shape.depths, strict=True), 1):
            blocks: list[nn.Module] = []
            for index in range(depth):
                number += 1
                groups = shape.even_groups if number % 2 == 0 else 1
                stride = 2 if index == 0 else 1
                blocks.append(_Block(width, out, stride=stride, groups=groups, folded=folded))
                width = out
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.num_features = width
        self._stages = len(shape.widths) + 1

    def forward(self, pixel_values: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c gh gw"]:
        """Features behind the last stage."""
        x = pixel_values
        for stage in range(self._stages):
            x = self.get_submodule(f"layer{stage}")(x)
        return x


class _Block(nn.Module):
    """ReLU of 3x3 + 1x1 + identity, each with its batch norm; folded: of one 3x3 with a bias."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, groups: int, folded: bool
    ) -> None:
        super().__init__()
        self.groups = groups
        if folded:
            self.rbr_reparam = nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups)
            return
        self.rbr_dense = _conv_norm(inputs, outputs, 3, stride, groups)
        self.rbr_1x1 = _conv_norm(inputs, outputs, 1, stride, groups)
        self.rbr_identity = nn.BatchNorm2d(outputs) if stride == 1 and inputs == outputs else None

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "rbr_reparam"):
            return F.relu(self.rbr_reparam(x))
        y = self.rbr_dense(x) + self.rbr_1x1(x)
        return F.relu(y if self.rbr_identity is None else y + self.rbr_identity(x))


class _ConvNorm(nn.Sequential):
    conv: nn.Conv2d
    bn: nn.BatchNorm2d


def _conv_norm(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> _ConvNorm:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    module = _ConvNorm()
    module.add_module("conv", conv)
    module.add_module("bn", nn.BatchNorm2d(outputs))
    return module


def fold_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with every block's branches folded into one convolution; the rest as it is.

    Sums are taken in float64 and rounded once. Groups are read from the shapes.
    """
    blocks = {n.partition("rbr_dense.")[0] for n in state if "rbr_dense." in n}
    kept = {n: t for n, t in state.items() if not any(b in n for b in _BRANCHES)}
    for block in sorted(blocks):
        kernel, bias = _folded(lambda name, block=block: state.get(block + name))  # type: ignore[misc]
        like = state[f"{block}rbr_dense.conv.weight"]
        kept[f"{block}rbr_reparam.weight"] = kernel.to(like.dtype)
        kept[f"{block}rbr_reparam.bias"] = bias.to(like.dtype)
    return kept


def _folded(get: Callable[[str], Any]) -> tuple[Tensor, Tensor]:
    dense: Tensor = get("rbr_dense.conv.weight").double()
    outputs, inputs_a_group = dense.shape[:2]
    kernel, bias = _gained(dense, get, "rbr_dense.bn.")
    point, shift = _gained(get("rbr_1x1.conv.weight").double(), get, "rbr_1x1.bn.")
    kernel, bias = kernel + F.pad(point, (1, 1, 1, 1)), bias + shift
    if get("rbr_identity.weight") is not None:
        identity = torch.zeros_like(dense)
        rows = torch.arange(outputs)
        identity[rows, rows % inputs_a_group, 1, 1] = 1
        same, shift = _gained(identity, get, "rbr_identity.")
        kernel, bias = kernel + same, bias + shift
    return kernel, bias


def _gained(kernel: Tensor, get: Callable[[str], Any], norm: str) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution followed by a batch norm in evaluation."""
    weight, bias, mean, variance = (get(norm + name).double() for name in _NORM)
    gain = weight / (variance + _EPS).sqrt()
    return kernel * gain[:, None, None, None], bias - mean * gain
