"""Labelled keypoints of single objects, as all readers give them and all metrics take them."""

from __future__ import annotations

__all__ = ["KeypointInstance"]

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class KeypointInstance:
    """One object in one picture (K keypoints in the order of its category)."""

    id: str
    """Unique in its data set."""
    image: Path
    image_wh: tuple[int, int]
    box: Float[NDArray[Any], " 4"]
    """xyxy px, as labelled (see `headsight.geometry.keypoints.clean_box`)."""
    points: Float[NDArray[np.float64], "k 2"]
    """Px of the picture; without meaning where not visible."""
    visible: Bool[NDArray[np.bool_], " k"]
    """Labelled, be it hidden or not: what is scored."""
    category: str
    names: tuple[str, ...]
    """Of the keypoints."""
    area: float = 0.0
    """Annotated, in square px (for OKS); 0 where there is none."""
    hidden: Bool[NDArray[np.bool_], " k"] | None = None
    """Labelled but covered; None where the labels do not tell."""
