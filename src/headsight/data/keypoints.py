"""Labelled keypoints of single objects, as all readers give them and all metrics take them."""

from __future__ import annotations

__all__ = ["KeypointInstance", "KeypointPrediction", "KeypointSet"]

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image

from headsight.data.ref_sample import Problem
from headsight.geometry.keypoints import clean_box
from headsight.picture import Picture, open_picture


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

    def open(self) -> Picture:
        """The picture as its labels count pixels: as it is seen, or as stored where that fits.

        Raises:
            ImageError: it cannot be opened.
        """
        seen = open_picture(self.image)
        if seen.image_wh == self.image_wh or seen.image_wh[::-1] != self.image_wh:
            return seen
        with Image.open(self.image) as stored:
            return Picture(stored.convert("RGB"), seen.source)

    @property
    def word(self) -> str:
        """The category as it is spoken of in a question, without the marks of its file."""
        return re.sub(r" \([^()]*\)$", "", self.category).replace("_", " ")

    @property
    def box_length(self) -> float:
        """Longer side of the cleaned box, px: the unit of PCK; 0 where nothing of it is left."""
        x1, y1, x2, y2 = clean_box(np.asarray(self.box, np.float64), self.image_wh)
        return float(max(x2 - x1, y2 - y1))


@dataclass(frozen=True, eq=False)
class KeypointPrediction:
    """What a model said about the keypoints (K) of one object."""

    points: Float[NDArray[np.float64], "k 2"]
    """Px of the picture; NaN where nothing could be used."""
    scores: Float[NDArray[np.float64], " k"] | None = None
    """Of each point, in [0, 1]."""
    score: float | None = None
    """Of the whole, for average precision; absent: the mean of `scores`."""
    failures: tuple[str | None, ...] = ()
    """Of each point, why its answer is not as asked (`headsight.language.answer.Failure`); one with
    a point all the same was recovered. Empty: nothing is known of answers."""
    id: str | None = None
    """Of the instance it is about; None: a detection that is tied to nothing."""
    image: Path | None = None
    category: str = ""


@dataclass(frozen=True, eq=False)
class KeypointSet:
    """The labelled objects of a file, and what of it is not used."""

    name: str
    instances: tuple[KeypointInstance, ...]
    """What is scored and learned, in the order of the pictures."""
    ignored: tuple[KeypointInstance, ...] = ()
    """Crowds and objects without a labelled point: they count neither way in average precision."""
    crowds: frozenset[str] = frozenset()
    """Ids of `ignored` that stand for many objects."""
    without_picture: frozenset[str] = frozenset()
    """Ids of instances whose picture is not there."""
    problems: tuple[Problem, ...] = ()
    """Annotations that are not in their format."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Annotations that the protocol leaves out, by reason."""
    notes: tuple[str, ...] = ()
    """What is unusual about the file, for the reader of a table."""
    images: Mapping[Any, Path] = field(default_factory=dict)
    """Pictures by the file's ids."""
    categories: Mapping[Any, str] = field(default_factory=dict)
    """Names by the file's ids, in its order."""

    def __len__(self) -> int:
        return len(self.instances)

    def first(self, number: int) -> KeypointSet:
        """The set with its first so many instances; what counts neither way stays."""
        chosen = self.instances[:number]
        gone = self.without_picture & {one.id for one in chosen}
        return replace(self, instances=chosen, without_picture=gone)

    @property
    def coverage(self) -> str:
        """How much of the set has its pictures, in one line; empty where all has."""
        if not self.without_picture:
            return ""
        there = len(self) - len(self.without_picture)
        return (
            f"pictures of {there} of {len(self)} instances are there"
            f" ({there / max(len(self), 1):.1%})"
        )
