"""What to render, and what comes out: settings and results of a scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headsight.errors import ConfigError

__all__ = ["KINDS", "HeadLabel", "Kind", "Scene", "SceneConfig"]

Kind = Literal["group", "crowd", "portrait"]
KINDS: tuple[Kind, ...] = ("group", "crowd", "portrait")


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """Settings of a set of scenes; with a seed and an index they fix a picture anywhere."""

    image_wh: tuple[int, int] = (256, 256)
    """Width and height, px."""
    people: tuple[int, int] = (1, 4)
    """Fewest and most people of a group."""
    head_px: tuple[float, float] = (8.0, 220.0)
    """Smallest and largest head height in groups and crowds, px."""
    crowd_share: float = 0.0
    """Share of pictures with many small heads."""
    portrait_share: float = 0.0
    """Share of close-ups of one large face."""
    assets: Path | None = None
    """MakeHuman-format folder with skins, hair and clothes; None draws plain ones."""
    backgrounds: tuple[Path, ...] = ()
    """Photographs (files or folders) without people, used as backgrounds."""
    photo_share: float = 0.5
    """Share of pictures on a photograph, where `backgrounds` has any."""
    split: Literal["train", "heldout"] = "train"
    """Held-out scenes show other identities."""
    finish: float = 1.0
    """Strength of blur, noise, exposure and JPEG damage; 0 leaves the clean rendering."""

    def __post_init__(self) -> None:
        w, h = self.image_wh
        if not (32 <= w <= 4096 and 32 <= h <= 4096):
            raise ConfigError(f"image_wh is {w}x{h}, but both sides must be 32 to 4096 px.")
        low, high = self.people
        if not 0 <= low <= high <= 40:
            raise ConfigError(f"people is {self.people}, but 0 <= fewest <= most <= 40 is needed.")
        if not 2 <= self.head_px[0] <= self.head_px[1]:
            raise ConfigError(f"head_px is {self.head_px}, but 2 <= smallest <= largest is needed.")
        for name in ("crowd_share", "portrait_share", "photo_share", "finish"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be in [0, 1].")
        if self.crowd_share + self.portrait_share > 1:
            raise ConfigError(
                f"crowd_share {self.crowd_share} and portrait_share {self.portrait_share} add up to"
                " more than 1. Lower one; the rest are groups."
            )
        if self.split not in ("train", "heldout"):
            raise ConfigError(f"split is {self.split!r}, but must be 'train' or 'heldout'.")


@dataclass(frozen=True)
class HeadLabel:
    """What is known of one head besides its box and rotation."""

    hat: str
    """none, hard hat, cap, beanie, wide-brim hat."""
    hat_color: str
    hair: str
    hair_color: str
    glasses: str
    """none, glasses, sunglasses."""
    clothes_color: str
    gender: str
    """man, woman or child."""
    beard: bool
    distance: int
    """0 for the nearest person, counting up."""

    @property
    def hard_hat(self) -> bool:
        """True with a hard hat."""
        return self.hat == "hard hat"


@dataclass(frozen=True)
class Scene:
    """A picture with the exact truth about its N heads."""

    image: NDArray[np.uint8]
    """(H, W, 3)."""
    kind: Kind
    boxes: NDArray[np.float64]
    """(N, 4) whole head, hair and hat included, hidden parts too; clipped to the picture."""
    boxes_full: NDArray[np.float64]
    """(N, 4) the same, going on outside the picture."""
    rotations: NDArray[np.float64]
    """(N, 3, 3) as the heads are seen (`"cv"`): relative to the line of sight, which is what a
    picture of unknown focal length shows (`geometry.line_of_sight.to_allocentric`)."""
    camera_rotations: NDArray[np.float64]
    """(N, 3, 3) relative to the camera's axes."""
    focal_px: float
    """Focal length; the optical axis meets the middle of the picture."""
    landmarks: NDArray[np.float64]
    """(N, K, 3) x, y px and visibility 0 outside, 1 hidden, 2 seen; order of `LANDMARKS`."""
    visible: NDArray[np.float64]
    """(N,) share of the head that is seen, in [0, 1]."""
    people: NDArray[np.float64]
    """(N, 4) box of the visible body and head; NaN where nothing is seen."""
    labels: tuple[HeadLabel, ...]

    def to_dict(self) -> dict[str, Any]:
        """One JSON-ready record without the picture."""
        from headsight.geometry.rotations import matrix_to_ypr

        ypr = matrix_to_ypr(self.rotations.reshape(-1, 3, 3))[0]
        heads = []
        for k, label in enumerate(self.labels):
            heads.append(
                {
                    "box": _rounded(self.boxes[k]),
                    "box_full": _rounded(self.boxes_full[k]),
                    "ypr_deg": _rounded(ypr[k]),
                    "visible": round(float(self.visible[k]), 3),
                    "hard_hat": label.hard_hat,
                    "hat": label.hat,
                    "hat_color": label.hat_color,
                    "hair": label.hair,
                    "hair_color": label.hair_color,
                    "glasses": label.glasses,
                    "clothes_color": label.clothes_color,
                    "gender": label.gender,
                    "beard": label.beard,
                    "distance": label.distance,
                    "person_box": None
                    if np.isnan(self.people[k]).any()
                    else _rounded(self.people[k]),
                    "landmarks": [_rounded(row) for row in self.landmarks[k]],
                }
            )
        h, w = self.image.shape[:2]
        return {
            "wh": [w, h],
            "kind": self.kind,
            "focal_px": round(self.focal_px, 3),
            "heads": heads,
        }


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(v), 2) for v in values]
