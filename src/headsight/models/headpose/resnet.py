"""ResNet-50 (arXiv 1512.03385), stride in the 3x3, as in the released 6DRepNet360 weights."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ResNet"]

_EXPANSION = 4


class ResNet(nn.Module):
    """Picture to features at stride 32, (B, C, H/32, W/32)."""

    def __init__(self, depths: tuple[int, ...] = (3, 4, 6, 3), *, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for stage, depth in enumerate(depths):
            inner = width * 2**stage
            blocks: list[nn.Module] = []
            for index in range(depth):
                blocks.append(_Bottleneck(inputs, inner, stride=2 if stage and not index else 1))
                inputs = inner * _EXPANSION
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.num_features = inputs
        self._stages = len(depths)

    def forward(self, pixel_values: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c gh gw"]:
        """Features behind the last stage."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(pixel_values))), 3, stride=2, padding=1)
        for stage in range(self._stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, inner: int, *, stride: int) -> None:
        super().__init__()
        outputs = inner * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))
