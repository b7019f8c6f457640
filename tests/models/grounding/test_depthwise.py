"""The fast gradients of 5 x 5 depthwise convolutions are PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from headsight.models.grounding.depthwise import Depthwise


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [5, 12, 13])
def test_gradients_are_those_of_pytorch(kernel: int, stride: int, side: int) -> None:
    torch.manual_seed(side)
    layer = Depthwise(6, kernel=kernel, stride=stride)
    x = torch.randn(2, 6, side, side + 2, requires_grad=True)
    y = layer(x)
    expected = F.conv2d(x, layer.weight, layer.bias, stride, kernel // 2, groups=6)
    torch.testing.assert_close(y, expected)
    grad = torch.randn_like(y)
    inputs = [x, layer.weight, layer.bias]
    ours = torch.autograd.grad(y, inputs, grad)
    theirs = torch.autograd.grad(expected, inputs, grad)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_autocast_and_channels_last() -> None:
    torch.manual_seed(0)
    layer = Depthwise(8, kernel=5)
    x = torch.randn(2, 8, 9, 9).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    rough = layer.weight.grad
    assert rough is not None
    assert rough.dtype == torch.float32
    layer.weight.grad = None
    layer(x).square().sum().backward()
    exact = layer.weight.grad
    assert exact is not None
    assert float((rough - exact).norm() / exact.norm()) < 0.02
