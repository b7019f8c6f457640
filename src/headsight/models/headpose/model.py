"""6DRepNet (arXiv 2202.12555): a crop of a head in, six numbers and so a rotation out.

The six numbers are two columns that Gram-Schmidt makes orthogonal (arXiv 1812.07035). The published
network answers the transposed matrix in mirrored axes; `rotations` converts it by name, so whatever
the weights, what comes out maps head to camera in our frame (see `headsight.geometry.rotations`).
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from headsight.errors import ConfigError
from headsight.geometry.rotations import convert, mirror, sixd_to_matrix
from headsight.models.headpose.backbones import build_backbone
from headsight.models.headpose.config import SixDRepNetConfig
from headsight.models.headpose.geodesic import geodesic_loss, mean_rotation
from headsight.models.headpose.repvgg import fold_state

__all__ = ["PoseOutput", "SixDRepNet", "fold"]


@dataclass
class PoseOutput(ModelOutput):
    """What a forward pass gives."""

    loss: Tensor | None = None
    """Mean angle in radians to the labels, where there were any."""
    sixd: Tensor | None = None
    """(B, 6), as the network says them."""
    rotations: Tensor | None = None
    """(B, 3, 3), head to camera in our frame; NaN where the two columns are parallel."""


class SixDRepNet(PreTrainedModel):
    """A backbone, the mean over places, and one linear map to six numbers."""

    config_class = SixDRepNetConfig
    config: SixDRepNetConfig
    main_input_name = "pixel_values"
    base_model_prefix = ""

    def __init__(self, config: SixDRepNetConfig) -> None:
        super().__init__(config)
        self.backbone = build_backbone(config)
        features: Any = self.backbone.num_features
        self.linear_reg = nn.Linear(int(features), 6)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """As torch initialises each layer; convolutions by fan-out (arXiv 1502.01852)."""
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear | nn.BatchNorm2d):
            module.reset_parameters()

    def forward(
        self,
        pixel_values: Float[Tensor, "b 3 s s"],
        labels: Float[Tensor, "b 3 3"] | None = None,
        return_dict: bool | None = True,
    ) -> PoseOutput:
        """Rotations of normalised crops; `labels` are rotations in our frame."""
        features = self.backbone(pixel_values)
        sixd = self.linear_reg(features.flatten(2).mean(-1)).float()
        rotations = convert(sixd_to_matrix(sixd), self.config.convention)
        loss = None if labels is None else geodesic_loss(rotations, labels)
        return PoseOutput(loss=loss, sixd=sixd, rotations=rotations)

    @torch.no_grad()
    def rotations(
        self, pixel_values: Float[Tensor, "b 3 s s"], *, flip: bool = False
    ) -> Float[Tensor, "b 3 3"]:
        """Rotations alone; with `flip` the mean with what the mirrored crop says."""
        seen: Tensor = self(pixel_values).rotations
        if not flip:
            return seen
        other = mirror(self(pixel_values.flip(-1)).rotations)
        return mean_rotation(torch.stack([seen, other], 1))


def fold(model: SixDRepNet) -> SixDRepNet:
    """The same RepVGG network with one convolution a block, for use; the original stays.

    Raises:
        ConfigError: another backbone, or folded already.
    """
    if model.config.is_folded or not hasattr(model.backbone, "layer0"):
        state = "is folded already" if model.config.is_folded else "has no branches to fold"
        raise ConfigError(f"The backbone {model.config.backbone!r} {state}. Use it as it is.")
    config = copy.deepcopy(model.config)
    config.is_folded = True
    folded = SixDRepNet(config)
    folded.load_state_dict(fold_state(model.state_dict()))
    nn.Module.to(folded, device=model.device, dtype=model.dtype).eval()
    return folded
