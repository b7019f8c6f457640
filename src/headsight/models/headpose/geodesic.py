"""Angles between rotations as a loss, and the mean of rotations."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["geodesic_angle", "geodesic_loss", "mean_rotation"]

_CLAMP = 1e-7
_LEAST = 1e-12
"""Added to the squared sine: the gradient of the root is then finite at a perfect fit."""


def geodesic_angle(
    a: Float[Tensor, "*batch 3 3"], b: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Angle from `a` to `b` in radians, in [0, pi]; its gradient is finite everywhere."""
    between = a @ b.transpose(-1, -2)
    skew = between - between.transpose(-1, -2)
    sine = (skew.square().sum((-2, -1)) / 8 + _LEAST).sqrt()
    cosine = (between.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.atan2(sine, cosine)


def geodesic_loss(
    predicted: Float[Tensor, "n 3 3"],
    truth: Float[Tensor, "n 3 3"],
    *,
    form: Literal["atan2", "acos"] = "atan2",
) -> Float[Tensor, ""]:
    """Mean angle in radians; 0 where there are no rows.

    `acos` is the published form: its clamp has a floor of 0.026 degrees, under which nothing is
    learned. `atan2` is exact at both ends.
    """
    if not len(predicted):
        return predicted.sum()
    if form == "atan2":
        return geodesic_angle(predicted, truth).mean()
    trace = (predicted * truth).sum((-2, -1))
    return torch.acos(((trace - 1) / 2).clamp(_CLAMP - 1, 1 - _CLAMP)).mean()


def mean_rotation(rotations: Float[Tensor, "n k 3 3"]) -> Float[Tensor, "n 3 3"]:
    """The rotation nearest to the K of each row in the sum of squares; NaN where one of them is."""
    total = rotations.mean(1)
    is_known = torch.isfinite(total).all(-1).all(-1)
    left, _, right = torch.linalg.svd(torch.where(is_known[:, None, None], total, 0.0))
    sign = torch.det(left @ right).sign()
    last = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)
    nearest = left * last[:, None, :] @ right
    return torch.where(is_known[:, None, None], nearest, torch.nan)
