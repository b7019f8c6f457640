"""Muon on 1 x 1 convolutions is Muon on the matrices they are."""

from __future__ import annotations

import copy

import torch
from torch import nn

from headsight.train.optimizers import KernelMuon, build_optimizers


def _gradient(step: int) -> torch.Tensor:
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(step))


def test_kernels_step_like_matrices() -> None:
    matrix = nn.Parameter(torch.ones(6, 8))
    kernel = nn.Parameter(torch.ones(6, 8, 1, 1).contiguous(memory_format=torch.channels_last))
    plain = torch.optim.Muon([matrix], lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    ours = KernelMuon([{"params": [kernel], "lr": 0.1}], weight_decay=0.01)
    for step in range(4):
        matrix.grad, kernel.grad = _gradient(step), _gradient(step)[..., None, None]
        plain.step()
        ours.step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach())
    ours.zero_grad()
    assert kernel.grad is None


def test_state_goes_on_after_saving() -> None:
    kernels = [nn.Parameter(torch.ones(6, 8, 1, 1)) for _ in range(2)]
    optimizers = [KernelMuon([{"params": [k], "lr": 0.1}], weight_decay=0.0) for k in kernels]
    for step in range(3):
        kernels[0].grad = _gradient(step)[..., None, None]
        optimizers[0].step()
    kernels[1].data.copy_(kernels[0].data)
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    for kernel, optimizer in zip(kernels, optimizers, strict=True):
        kernel.grad = _gradient(9)[..., None, None]
        optimizer.step()
    torch.testing.assert_close(*kernels)


def test_groups_go_where_they_ask() -> None:
    vector, matrix = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3, 3))
    made = build_optimizers(
        [{"params": [vector], "lr": 0.1}, {"params": [matrix], "lr": 0.2, "optimizer": "muon"}],
        weight_decay=0.0,
    )
    assert [type(o) for o in made] == [torch.optim.AdamW, KernelMuon]
    assert [o.param_groups[0]["lr"] for o in made] == [0.1, 0.2]
