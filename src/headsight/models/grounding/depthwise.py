"""Depthwise 5 x 5 convolution whose gradients are fast on a CPU too.

PyTorch's CPU backend has fast gradients for 3 x 3 depthwise kernels only; those of a 5 x 5 kernel
cost forty times its forward pass (`benchmarks/depthwise.py`). Here four 3 x 3 gradients on shifted
inputs make up the 5 x 5 one.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Depthwise"]


class Depthwise(nn.Conv2d):
    """`nn.Conv2d` with a group a channel and padding that keeps the size at stride 1."""

    def __init__(self, channels: int, *, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, padding=kernel // 2, groups=channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c i j"]:
        """The convolution; on a CPU with gradients by way of `_Depthwise5`."""
        is_slow = x.device.type == "cpu" and self.kernel_size == (5, 5) and x.requires_grad
        if not (is_slow and torch.is_grad_enabled()):
            return super().forward(x)
        weight, bias = self.weight, self.bias
        assert bias is not None
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
        y: Tensor = _Depthwise5.apply(x, weight, bias, self.stride[0])  # type: ignore[no-untyped-call]
        return y


class _Depthwise5(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, bias, stride, padding=2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        stride = ctx.stride
        grad = grad.contiguous(memory_format=torch.channels_last)
        # strided input gradients are fast in float32 only
        exact = torch.float32 if stride > 1 else x.dtype
        to_x = _backward(
            grad.to(exact), x.to(exact), weight.to(exact), stride, padding=2, wants=0
        ).to(x.dtype)
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 2, 2, 2, 2)).permute(0, 3, 1, 2)
        to_weight = torch.empty_like(weight)
        corner = weight[..., :3, :3]
        for row in (0, 2):
            for column in (0, 2):
                part = padded[:, :, row : padded.shape[2] - 2 + row, column:]
                part = part[..., : padded.shape[3] - 2]
                part = part.contiguous(memory_format=torch.channels_last)
                to_weight[..., row : row + 3, column : column + 3] = _backward(
                    grad, part, corner, stride, padding=0, wants=1
                )
        return to_x, to_weight, grad.sum((0, 2, 3)), None


def _backward(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, *, padding: int, wants: int
) -> Tensor:
    """Gradient of a depthwise convolution to its input (`wants` 0) or its weight (1)."""
    mask = [wants == 0, wants == 1, False]
    found: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        grad, x, weight.contiguous(), None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0],
        len(weight), mask,
    )  # fmt: skip
    return found[wants]
