"""A picture put into the square that a model reads, and maps over that square taken back.

This is done here and not by the processors of transformers, because those of SAM 2 and SAM 3 cannot
be imported without torchvision; what they would do is read from the file that they are saved in.
"""

from __future__ import annotations

__all__ = ["Framing"]

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from headsight.errors import CheckpointError
from headsight.models.grounding.weights import read_json


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How a picture is put into the square that the model reads."""

    side: int
    """Of the square, px."""
    keep_aspect: bool
    """True: shrunk or grown until the longer side fits, at the top left (SAM, SAM-HQ); False:
    stretched."""
    mean: tuple[float, float, float]
    """Of the channels, in [0, 1]."""
    std: tuple[float, float, float]
    """Of the channels, in [0, 1]."""
    resample: int = 2
    """Pillow's number of the filter that shrinks and grows; 2 is bilinear."""

    @classmethod
    def from_folder(cls, folder: Path) -> Framing:
        """As the model's processor was saved.

        Raises:
            CheckpointError: no such file, or one that says something else.
        """
        path = folder / "preprocessor_config.json"
        if path.exists():
            values: Any = read_json(path)
        else:
            path = folder / "processor_config.json"
            values = read_json(path).get("image_processor")
        try:
            size, mean, std = values["size"], values["image_mean"], values["image_std"]
            keep_aspect = "longest_edge" in size
            sides = {size["longest_edge"]} if keep_aspect else {size["height"], size["width"]}
            (side,), (r, g, b), (s, t, u) = sides, map(float, mean), map(float, std)
            framing = cls(
                side=int(side),
                keep_aspect=keep_aspect,
                mean=(r, g, b),
                std=(s, t, u),
                resample=int(Image.Resampling(values.get("resample", 2))),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path} lacks a square `size`, an `image_mean` or an `image_std` ({error!r})."
                " Get the whole folder of the checkpoint again."
            ) from error
        return framing

    def resized_hw(self, image_wh: tuple[int, int]) -> tuple[int, int]:
        """Height and width, px, that the picture takes in the square."""
        if not self.keep_aspect:
            return self.side, self.side
        width, height = (int(s * self.side / max(image_wh) + 0.5) for s in image_wh)
        return max(height, 1), max(width, 1)

    def pixels(self, image: Image.Image) -> Float[Tensor, "1 3 side side"]:
        """The square, normalised; zeros where the picture does not reach."""
        height, width = self.resized_hw(image.size)
        how = Image.Resampling(self.resample)
        resized = np.asarray(image.resize((width, height), how), np.float32)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        normal = (resized / 255 - mean) / std
        square = torch.zeros(1, 3, self.side, self.side)
        square[0, :, :height, :width] = torch.from_numpy(normal).permute(2, 0, 1)
        return square

    def boxes(
        self, boxes: Float[NDArray[np.float64], "n 4"], image_wh: tuple[int, int]
    ) -> Float[Tensor, "n 4"]:
        """Boxes in px of the picture, in px of the square."""
        height, width = self.resized_hw(image_wh)
        scale = np.tile((width / image_wh[0], height / image_wh[1]), 2)
        return torch.from_numpy(boxes * scale).float()

    def points(
        self, points: Float[NDArray[np.float64], "n k 2"], image_wh: tuple[int, int]
    ) -> Float[Tensor, "n k 2"]:
        """Points in px of the picture, in px of the square."""
        height, width = self.resized_hw(image_wh)
        return torch.from_numpy(points * (width / image_wh[0], height / image_wh[1])).float()

    def to_picture(
        self, maps: Float[Tensor, "n h w"], image_wh: tuple[int, int]
    ) -> Float[Tensor, "n height width"]:
        """Maps over the square, as maps over the picture, linear between their cells."""
        found = maps[:, None]  # (N, 1, h, w)
        if self.keep_aspect:
            height, width = self.resized_hw(image_wh)
            found = _stretched(found, (self.side, self.side))[..., :height, :width]
        return _stretched(found, image_wh[::-1])[:, 0]


def _stretched(
    maps: Float[Tensor, "n 1 h w"], image_hw: tuple[int, int]
) -> Float[Tensor, "n 1 height width"]:
    return functional.interpolate(maps, image_hw, mode="bilinear", align_corners=False)
