"""The config of `SixDRepNet`: which backbone, how large the crop, in which frame it answers."""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

from typing import Any, no_type_check

from transformers import PreTrainedConfig

from headsight.errors import ConfigError
from headsight.geometry.rotations import CONVENTIONS

__all__ = ["SixDRepNetConfig"]


# runtime checkers would hold its __init__ to the fields, but configs of transformers take any key
@no_type_check
class SixDRepNetConfig(PreTrainedConfig):
    """Shape and options of a `SixDRepNet`; the defaults are those of the published 6DRepNet."""

    model_type = "headsight_sixdrepnet"

    backbone: str = "repvgg_b1g2"
    """A name of `BACKBONES` (`repvgg_b1g2`, `resnet50`, `tiny`), or a model type of transformers
    such as `convnextv2`."""
    backbone_config: dict[str, Any] | None = None
    """Settings of a transformers backbone; of our own they replace fields of its shape."""
    image_size: int = 224
    """Side of the square that the network sees, px."""
    resize_size: int | None = 256
    """The crop is scaled so that its shorter side has so many px, then its middle is cut out; None:
    nothing is cut off."""
    margin: float = 0.0
    """Share of the head's side that is added on each side before cutting."""
    image_mean: tuple[float, ...] | list[float] = (0.485, 0.456, 0.406)
    """Of each channel, in [0, 1]."""
    image_std: tuple[float, ...] | list[float] = (0.229, 0.224, 0.225)
    """Of each channel."""
    convention: str = "cv"
    """Frame of the matrices that the network answers, a key of `CONVENTIONS`; the released weights
    answer in `6drepnet`."""
    is_folded: bool = False
    """RepVGG: each block is one convolution, the branches folded into it."""

    def __post_init__(self, **kwargs: Any) -> None:
        self.image_mean, self.image_std = list(self.image_mean), list(self.image_std)
        if self.convention not in CONVENTIONS:
            known = ", ".join(CONVENTIONS)
            raise ConfigError(f"convention is {self.convention!r}; expected one of {known}.")
        if self.image_size < 32:
            raise ConfigError(
                f"image_size is {self.image_size}, but the backbones divide the side by 32. Use 64"
                " or more."
            )
        if self.resize_size is not None and self.resize_size < self.image_size:
            raise ConfigError(
                f"resize_size is {self.resize_size}, but {self.image_size} px are cut out of it."
                " Use a larger one, or None."
            )
        if not 0 <= self.margin <= 2:
            raise ConfigError(f"margin is {self.margin}, but must be in [0, 2] head sides.")
        super().__post_init__(**kwargs)
