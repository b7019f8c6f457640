"""Keypoint schemas: what the points of a kind of object are called and where they lie, in words.

A schema is a JSON file (see docs/keypoints.md); `headsight schema check` lints one.
"""

from __future__ import annotations

__all__ = ["KeypointSchema", "KeypointText"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headsight.errors import AnnotationError


@dataclass(frozen=True)
class KeypointText:
    """One keypoint in words."""

    name: str
    """Unique in its schema; left and right are the object's own."""
    description: str
    """Where the point lies, in relation to at least one other named point."""


@dataclass(frozen=True)
class KeypointSchema:
    """The keypoints of a kind of object, in the order of its labels."""

    name: str
    keypoints: tuple[KeypointText, ...]
    left_right_pairs: tuple[tuple[int, int], ...] = ()
    """Indices that trade places when the picture is mirrored."""
    skeleton: tuple[tuple[int, int], ...] = ()
    """Edges to draw, as indices."""
    categories: tuple[str, ...] = ()
    """What the schema is for, in words: "dog", "cat"."""

    def __post_init__(self) -> None:
        names = [point.name for point in self.keypoints]
        if not names:
            raise AnnotationError(f"The schema {self.name!r} has no keypoints. Give at least one.")
        for place, name in enumerate(names):
            if name in names[:place]:
                raise AnnotationError(
                    f"The schema {self.name!r} names the keypoint {name!r} twice (number"
                    f" {names.index(name)} and {place}, from 0). Give each point its own name."
                )
        for what, pairs in (
            ("left_right_pairs", self.left_right_pairs),
            ("skeleton", self.skeleton),
        ):
            for pair in pairs:
                if not all(0 <= index < len(names) for index in pair):
                    raise AnnotationError(
                        f"The schema {self.name!r}: {what} holds {list(pair)}, but its keypoints"
                        f" are numbered 0 to {len(names) - 1}."
                    )

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def names(self) -> tuple[str, ...]:
        """The keypoints' names."""
        return tuple(point.name for point in self.keypoints)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; pairs and edges by name, as people write them."""
        names = self.names
        return {
            "schema": "headsight.keypoints/1",
            "name": self.name,
            "categories": list(self.categories),
            "keypoints": [
                {"name": point.name, "description": point.description} for point in self.keypoints
            ],
            "left_right_pairs": [[names[a], names[b]] for a, b in self.left_right_pairs],
            "skeleton": [[names[a], names[b]] for a, b in self.skeleton],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> KeypointSchema:
        """The schema that `to_dict` wrote.

        Raises:
            AnnotationError: a missing key, a name that is none of the keypoints, or a name twice.
        """
        try:
            points = tuple(KeypointText(p["name"], p["description"]) for p in values["keypoints"])
            places = {point.name: index for index, point in enumerate(points)}
            pairs, edges = (
                tuple((places[a], places[b]) for a, b in values.get(key, ()))
                for key in ("left_right_pairs", "skeleton")
            )
            return cls(values["name"], points, pairs, edges, tuple(values.get("categories", ())))
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(
                f"This is no keypoint schema: {type(error).__name__} {error}. Expected name and"
                " keypoints, each with a name and a description; pairs and edges by those names."
            ) from error
