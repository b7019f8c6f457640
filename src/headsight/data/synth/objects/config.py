"""What pictures of objects to render, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headsight.data.synth.objects.category import Split
from headsight.errors import ConfigError

__all__ = ["ObjectLabel", "ObjectScene", "ObjectsConfig"]


@dataclass(frozen=True, kw_only=True)
class ObjectsConfig:
    """Settings of a set of pictures; with a seed and an index they fix a picture anywhere."""

    image_wh: tuple[int, int] = (256, 256)
    """Width and height, px."""
    split: Split = "seen"
    """Whose categories are shown; the two splits share none."""
    categories: tuple[str, ...] = ()
    """Only these of the split; empty means all."""
    size_share: tuple[float, float] = (0.42, 0.95)
    """Smallest and largest longer side of an object, relative to the picture's shorter one."""
    azimuth_deg: tuple[float, float] | None = None
    """Turn of the object, 0 facing the camera; None takes each category's own range."""
    elevation_deg: tuple[float, float] | None = None
    """Height of the camera; None takes each category's own range."""
    second_share: float = 0.2
    """Share of pictures with a second object."""
    occluder_share: float = 0.25
    """Share of pictures with things before the object."""
    cut_share: float = 0.1
    """Share of objects that reach beyond the picture."""
    backgrounds: tuple[Path, ...] = ()
    """Photographs (files or folders) used as backgrounds."""
    photo_share: float = 0.5
    """Share of pictures on a photograph, where `backgrounds` has any."""
    finish: float = 1.0
    """Strength of blur, noise, exposure and JPEG damage; 0 leaves the clean rendering."""

    def __post_init__(self) -> None:
        from headsight.data.synth.objects.categories import names_of

        w, h = self.image_wh
        if not (32 <= w <= 4096 and 32 <= h <= 4096):
            raise ConfigError(f"image_wh is {w}x{h}, but both sides must be 32 to 4096 px.")
        if self.split not in ("seen", "unseen"):
            raise ConfigError(f"split is {self.split!r}, but must be 'seen' or 'unseen'.")
        for name in self.categories:
            if name not in names_of(self.split):
                raise ConfigError(
                    f"There is no {self.split} category {name!r}."
                    f" Choose from {', '.join(names_of(self.split))}."
                )
        if not 0.05 <= self.size_share[0] <= self.size_share[1] <= 1.5:
            raise ConfigError(
                f"size_share is {self.size_share}, but 0.05 <= smallest <= largest <= 1.5"
                " is needed."
            )
        for share in ("second_share", "occluder_share", "cut_share", "photo_share", "finish"):
            if not 0 <= getattr(self, share) <= 1:
                raise ConfigError(f"{share} is {getattr(self, share)}, but must be in [0, 1].")


@dataclass(frozen=True)
class ObjectLabel:
    """The exact truth about one object."""

    category: str
    keypoints: NDArray[np.float64]
    """(K, 3) x, y px and visibility: 0 outside the picture, 1 hidden, 2 seen."""
    box: NDArray[np.float64]
    """(4,) xyxy px of the whole object, hidden parts too, clipped to the picture."""
    area: int
    """Pixels in which it is seen."""
    visible: float
    """Share of the whole object that is seen, in [0, 1]."""
    view_deg: tuple[float, float, float]
    """Azimuth, elevation, roll (see `View`)."""


@dataclass(frozen=True)
class ObjectScene:
    """A picture and its objects, the main one first."""

    image: NDArray[np.uint8]
    """(H, W, 3)."""
    labels: tuple[ObjectLabel, ...]
    silhouettes: NDArray[np.int32]
    """(H, W) index of the object that is seen in each pixel; negative where none is."""
