"""Expressions about rendered scenes, by the grammar that our own models are trained with."""

from __future__ import annotations

__all__ = ["PER_PICTURE", "scene_expressions"]

import json
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from headsight.geometry.boxes import xywh_to_xyxy
from headsight.train.labels import traits
from headsight.train.questions import COLORS, Subject, expressions

PER_PICTURE = 4
"""Most expressions about one picture."""
_TELLING = {
    "colour": set(COLORS),
    "hat": {"hat", "hats"},
    "glasses": {"glasses"},
    "gaze": {"looking", "facing"},
    "sex": {"man", "men", "woman", "women"},
    "place": {"leftmost", "rightmost", "left", "right", "middle"},
    "size": {"largest", "biggest", "closest", "smallest", "farthest"},
}


def scene_expressions(
    image: Mapping[str, Any], heads: Sequence[Mapping[str, Any]]
) -> list[tuple[str, Sequence[int], tuple[str, ...]]]:
    """A few expressions about a scene's heads, the rows of those each refers to, and its types.

    The choice is the same for the same picture. A scene with nobody in it has none.
    """
    if not heads:
        return []
    size = np.array([image["width"], image["height"]] * 2, np.float64)
    boxes = np.asarray(xywh_to_xyxy(np.array([h["bbox"] for h in heads], np.float64))) / size
    subjects = [
        Subject(box, _rotation(head), 1.0, traits(head.get("attributes") or {}))
        for box, head in zip(boxes, heads, strict=True)
    ]
    rows = {id(subject): row for row, subject in enumerate(subjects)}
    made = expressions(subjects)
    rng = np.random.default_rng(crc32(json.dumps([image["id"], len(heads)]).encode()))
    drawn = sorted(rng.permutation(len(made))[:PER_PICTURE])
    return [
        (text, [rows[id(s)] for s in chosen], _types(text))
        for text, chosen in (made[i] for i in drawn)
    ]


def _types(text: str) -> tuple[str, ...]:
    """What an expression goes by; more than one where it names more."""
    words = set(text.split())
    found = {name for name, telling in _TELLING.items() if words & telling}
    return tuple(sorted(found - {"place"} if "gaze" in found else found))


def _rotation(head: Mapping[str, Any]) -> NDArray[np.float64]:
    if head.get("rotation") is None:
        return np.full((3, 3), np.nan)
    return np.array(head["rotation"], np.float64).reshape(3, 3)
