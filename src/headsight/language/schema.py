"""Keypoint schemas: what the points of a kind of object are called and where they lie, in words.

A schema is a JSON file (see docs/keypoints.md); `headsight schema check` lints one, and
`headsight.language.schema_library` finds those that are shipped.
"""

from __future__ import annotations

__all__ = ["KeypointSchema", "KeypointText"]

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from headsight.errors import AnnotationError

_KEYS = (
    "schema", "name", "categories", "mp100", "source", "keypoints", "left_right_pairs", "skeleton",
)  # fmt: skip


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
    mp100: tuple[int, ...] = ()
    """Ids of the categories of MP-100 (arXiv 2207.10387) that have these points."""
    source: str = ""
    """What the order of the points was taken from."""

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

    @property
    def word(self) -> str:
        """What an object of it is called in a question where nothing else is told."""
        return self.categories[0] if len(self.categories) == 1 else "object"

    def vague(self) -> KeypointSchema:
        """The same points with nothing but their names as descriptions, for comparisons.

        Example:
            >>> KeypointSchema("nose", (KeypointText("tip", "Far out."),)).vague().keypoints[0]
            KeypointText(name='tip', description='The tip.')
        """
        points = tuple(KeypointText(name, f"The {name}.") for name in self.names)
        return replace(self, keypoints=points)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; pairs and edges by name, as people write them."""
        names = self.names
        optional = {"mp100": list(self.mp100), "source": self.source}
        return {
            "schema": "headsight.keypoints/1",
            "name": self.name,
            "categories": list(self.categories),
            **{key: value for key, value in optional.items() if value},
            "keypoints": [
                {"name": point.name, "description": point.description} for point in self.keypoints
            ],
            "left_right_pairs": [[names[a], names[b]] for a, b in self.left_right_pairs],
            "skeleton": [[names[a], names[b]] for a, b in self.skeleton],
        }

    @classmethod
    def from_dict(cls, values: Any) -> KeypointSchema:
        """The schema that `to_dict` wrote.

        Raises:
            AnnotationError: a key that is missing or unknown, a value of another kind, a name
                that is none of the keypoints, or a name twice.
        """
        if not isinstance(values, Mapping):
            raise AnnotationError(
                f"This is no keypoint schema but a {type(values).__name__}. Expected a JSON object"
                " with name and keypoints."
            )
        for key in values:
            if key not in _KEYS:
                near = difflib.get_close_matches(str(key), _KEYS, n=1, cutoff=0)[0]
                raise AnnotationError(
                    f"This is no keypoint schema: nothing is known by {key!r}. Did you mean {near}?"
                )
        try:
            points = tuple(
                KeypointText(_text(p["name"]), _text(p["description"])) for p in values["keypoints"]
            )
            places = {point.name: index for index, point in enumerate(points)}
            pairs, edges = (
                tuple(_place(pair, places, key) for pair in values.get(key, ()))
                for key in ("left_right_pairs", "skeleton")
            )
            return cls(
                _text(values["name"]),
                points,
                pairs,
                edges,
                tuple(_text(word) for word in _list(values.get("categories", []))),
                tuple(int(number) for number in values.get("mp100", ())),
                _text(values.get("source", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(
                f"This is no keypoint schema: {type(error).__name__} {error}. Expected name and"
                " keypoints, each with a name and a description; pairs and edges by those names."
            ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a text is expected")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} where a list is expected")
    return value


def _place(pair: Any, places: Mapping[str, int], key: str) -> tuple[int, int]:
    """The indices of two names."""
    first, second = pair
    return _index(first, places, key), _index(second, places, key)


def _index(name: Any, places: Mapping[str, int], key: str) -> int:
    if name not in places:
        near = _nearest(str(name), places)
        raise ValueError(f"{key} names {name!r}, which is no keypoint (nearest: {near!r})")
    return places[name]


def _nearest(name: str, known: Iterable[str]) -> str:
    return difflib.get_close_matches(name, list(known), n=1, cutoff=0)[0]
