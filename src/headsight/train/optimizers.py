"""The optimisers of a stage: AdamW, and Muon where a group asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["KernelMuon", "build_optimizers", "decoder_groups", "encoder_groups"]


def build_optimizers(
    groups: Sequence[Mapping[str, Any]],
    *,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.98),
) -> list[torch.optim.Optimizer]:
    """One optimiser for the groups whose `optimizer` is `muon`, one for all others."""
    plain: list[dict[str, Any]] = []
    matrices: list[dict[str, Any]] = []
    for group in groups:
        rest = {k: v for k, v in group.items() if k != "optimizer"}
        (matrices if group.get("optimizer") == "muon" else plain).append(rest)
    made: list[torch.optim.Optimizer] = []
    if plain:
        made.append(torch.optim.AdamW(plain, betas=betas, weight_decay=weight_decay))
    if matrices:
        made.append(KernelMuon(matrices, weight_decay=weight_decay))
    return made


def encoder_groups(
    named: Iterable[tuple[str, nn.Parameter]], *, lr: float, backbone_lr: float
) -> list[dict[str, Any]]:
    """Groups of what learns of an encoder: Muon for its 1 x 1 convolutions.

    The backbone's batch norms are folded into its weights, which leaves their scales a hundredfold
    apart: one step size for all would wreck some tensors and not move others.

    Args:
        named: parameters by their names in the encoder.
        lr: peak of new layers.
        backbone_lr: of a tensor of the backbone, times its size.
    """
    groups: dict[tuple[float, str], list[nn.Parameter]] = {}
    for name, parameter in named:
        rate = lr
        if name.startswith(("stem.", "blocks.")):
            rate = backbone_lr * float(parameter.detach().square().mean().sqrt())
        is_matrix = parameter.ndim == 4 and parameter.shape[2:] == (1, 1)
        optimizer = "muon" if is_matrix and min(parameter.shape[:2]) > 16 else "adamw"
        groups.setdefault((rate, optimizer), []).append(parameter)
    return [{"params": p, "lr": rate, "optimizer": o} for (rate, o), p in groups.items()]


def decoder_groups(named: Iterable[tuple[str, nn.Parameter]], *, lr: float) -> list[dict[str, Any]]:
    """Groups of what learns of a model with a decoder: Muon for the matrices of its layers."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in named:
        is_matrix = parameter.ndim == 2 and ".layers." in name
        (matrices if is_matrix else others).append(parameter)
    return [{"params": others, "lr": lr}, {"params": matrices, "lr": lr, "optimizer": "muon"}]


class KernelMuon(torch.optim.Muon):
    """Muon (orthogonalised momentum, AdamW's step size) for matrices and 1 x 1 convolutions.

    PyTorch's own takes two-dimensional parameters only, so it is given views of the kernels.
    """

    def __init__(self, groups: Sequence[Mapping[str, Any]], *, weight_decay: float) -> None:
        self._kernels: list[tuple[nn.Parameter, nn.Parameter]] = []
        viewed = []
        for group in groups:
            views = [nn.Parameter(_matrix(p)) for p in group["params"]]
            self._kernels += zip(group["params"], views, strict=True)
            viewed.append({**group, "params": views})
        super().__init__(viewed, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    def step(self, closure: Any = None) -> Any:
        """One step of every kernel from its gradient."""
        for kernel, view in self._kernels:
            view.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        return super().step(closure)  # type: ignore[no-untyped-call]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the kernels and of their views."""
        super().zero_grad(set_to_none)
        for kernel, _ in self._kernels:
            kernel.grad = None


def _matrix(kernel: nn.Parameter) -> torch.Tensor:
    matrix = kernel.detach().flatten(1)
    assert matrix.data_ptr() == kernel.data_ptr(), "the view must share the kernel's memory"
    return matrix
