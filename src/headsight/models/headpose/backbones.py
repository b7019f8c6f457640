"""What looks at the crop: three networks of ours, or any picture model of transformers."""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headsight.errors import ConfigError
from headsight.models.headpose.config import SixDRepNetConfig
from headsight.models.headpose.repvgg import B1G2, TINY, RepVgg, RepVggShape
from headsight.models.headpose.resnet import ResNet

__all__ = ["BACKBONES", "build_backbone"]


def build_backbone(config: SixDRepNetConfig) -> nn.Module:
    """The backbone, with random weights; `num_features` channels come out of it.

    Raises:
        ConfigError: no such backbone, or settings it does not have.
    """
    if config.backbone in BACKBONES:
        try:
            return BACKBONES[config.backbone](config)
        except TypeError as error:
            raise ConfigError(f"backbone_config of {config.backbone!r}: {error}.") from error
    return _TransformersBackbone(config)


def _repvgg(shape: RepVggShape) -> Callable[[SixDRepNetConfig], nn.Module]:
    def build(config: SixDRepNetConfig) -> nn.Module:
        own = {k: _fixed(v) for k, v in (config.backbone_config or {}).items()}
        return RepVgg(replace(shape, **own), folded=config.is_folded)

    return build


def _resnet50(config: SixDRepNetConfig) -> nn.Module:
    return ResNet(**{k: _fixed(v) for k, v in (config.backbone_config or {}).items()})


def _fixed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


BACKBONES: dict[str, Callable[[SixDRepNetConfig], nn.Module]] = {
    "repvgg_b1g2": _repvgg(B1G2),
    "resnet50": _resnet50,
    "tiny": _repvgg(TINY),
}
"""Builder of each backbone of ours."""


class _TransformersBackbone(nn.Module):
    """`AutoModel` of a model type; the place axes of its last hidden state come out."""

    def __init__(self, config: SixDRepNetConfig) -> None:
        super().__init__()
        from transformers import AutoModel

        values = _settings(config)
        self.model = AutoModel.from_config(values)
        with torch.device("meta"):
            probe = AutoModel.from_config(values).eval()
            side = config.image_size
            seen = _features(probe(torch.zeros(1, 3, side, side)))
        self.num_features = int(seen.shape[1])

    def forward(self, pixel_values: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c ..."]:
        return _features(self.model(pixel_values))


def _settings(config: SixDRepNetConfig) -> Any:
    from transformers import CONFIG_MAPPING

    if config.backbone not in CONFIG_MAPPING:
        known = [*BACKBONES, *CONFIG_MAPPING]
        near = difflib.get_close_matches(config.backbone, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Ours are {', '.join(BACKBONES)}."
        raise ConfigError(
            f"backbone is {config.backbone!r}, which is neither ours nor a model type of"
            f" transformers. {hint}"
        )
    kind = CONFIG_MAPPING[config.backbone]
    values: Mapping[str, Any] = config.backbone_config or {}
    if "image_size" in getattr(kind, "__annotations__", {}) or hasattr(kind(), "image_size"):
        values = {"image_size": config.image_size, **values}
    return kind(**values)


def _features(output: Any) -> Tensor:
    """(B, C, places) of maps (B, C, H, W) and of tokens (B, N, C) alike."""
    hidden: Tensor = output.last_hidden_state
    return hidden.flatten(2) if hidden.ndim == 4 else hidden.transpose(1, 2)
