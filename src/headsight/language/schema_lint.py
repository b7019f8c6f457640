"""What is wrong with a keypoint schema: the rules that texts for CapeLLM (arXiv 2411.06869) keep.

A model is asked for a point by its name and description alone, so both must tell it from every
other point of the object, and left and right must be the object's own.
"""

from __future__ import annotations

__all__ = ["RELATIONS", "SchemaProblem", "has_side", "lint_schema", "mentioned", "mirrored_text"]

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from headsight.language.schema import KeypointSchema

RELATIONS = (
    "above", "across", "ahead", "along", "around", "away", "before", "behind", "below",
    "beneath", "beside", "between", "beyond", "centre", "center", "close", "closer", "down",
    "edge", "end", "farther", "farthest", "forward", "front", "halfway", "higher",
    "inside", "inward", "joins", "left", "level", "lower", "meets", "middle", "midway", "near",
    "nearer", "next", "on", "opposite", "outside", "outward", "over", "past", "right", "top",
    "towards", "toward", "under", "underneath", "up", "where",
)  # fmt: skip
"""Words that say how places lie to each other."""

_FEWEST_WORDS, _MOST_WORDS = 5, 62
"""Shorter says too little; the longest published description has 62 words."""
_LONGEST_NAME = 60
_PLACEHOLDER = re.compile(r"\b(todo|tbd|fixme|describe|xxx)\b|\.\.\.|…", re.IGNORECASE)
_VIEWER = re.compile(
    r"\b(?:left|right)(?:[- ]hand)? (?:side )?(?:of|in) the (?:image|picture|photo|frame|screen)"
    r"|\b(?:image|picture|photo|screen|viewer|camera)(?:'s|s'|[ -])? ?(?:left|right)\b"
    r"|\b(?:your|our) (?:left|right)\b|\bas (?:seen|viewed) (?:by|from)\b.*\b(?:left|right)\b",
    re.IGNORECASE,
)
_SIDE = re.compile(r"\b(left|right)\b")


class SchemaProblem(NamedTuple):
    """One broken rule."""

    where: str
    """Name of the keypoint, or the part of the schema."""
    said: str
    """What was found, what was expected, what to do."""


def lint_schema(schema: KeypointSchema) -> list[SchemaProblem]:
    """Every broken rule, in the order of the keypoints; empty where all is well.

    What cannot be a schema at all (no points, a name twice) is an error when it is made or read.
    """
    return [
        *_names(schema),
        *(p for index in range(len(schema)) for p in _description(schema, index)),
        *_alike(schema),
        *_pairs(schema),
        *_skeleton(schema),
    ]


def mentioned(schema: KeypointSchema, index: int) -> set[int]:
    """The other keypoints that a description names, in full or as "both", "left and right", "-s".

    The longest name counts: "left eye corner" does not name the "left eye".
    """
    return _find(schema, index)[0]


def mirrored_text(text: str) -> str:
    """`text` with left and right changed for each other.

    Example:
        >>> mirrored_text("Right of the left eye")
        'Left of the right eye'
    """
    other = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    sides = r"(?<![^\W_])([Ll]eft|[Rr]ight)(?![^\W_])"  # whole words, in left_eye too
    return re.sub(sides, lambda match: other[match[1]], text)


def has_side(name: str) -> bool:
    """Whether a name says left or right, but not both."""
    return len(set(_SIDE.findall(_plain(name)))) == 1


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower().replace("_", " ")))


def _find(schema: KeypointSchema, index: int) -> tuple[set[int], str]:
    """The other keypoints that the description names, and what is left of it without them."""
    spoken: dict[str, set[int]] = {}
    for place, name in enumerate(schema.names):
        spoken.setdefault(_plain(name), set()).add(place)
    for pair in schema.left_right_pairs:
        stem = " ".join(w for w in _plain(schema.names[pair[0]]).split() if w != "left")
        stem = " ".join(w for w in stem.split() if w != "right")
        if stem:
            for phrase in (f"left and right {stem}s", f"right and left {stem}s", f"{stem}s"):
                spoken.setdefault(phrase, set()).update(pair)
    text, found = _plain(schema.keypoints[index].description), set[int]()
    for phrase in sorted(spoken, key=len, reverse=True):
        pattern = rf"\b{re.escape(phrase)}\b"
        if phrase and re.search(pattern, text):
            found |= spoken[phrase]
            text = re.sub(pattern, "#", text)
    return found - {index}, text


def _names(schema: KeypointSchema) -> Iterator[SchemaProblem]:
    first: dict[str, str] = {}
    for name in schema.names:
        plain = _plain(name)
        if not plain or "\n" in name or len(name) > _LONGEST_NAME:
            said = f"This is no name; expected a few words, at most {_LONGEST_NAME} letters."
            yield SchemaProblem(name, said)
        elif plain in first:
            said = f"Hard to tell from {first[plain]!r}: only case or marks differ. Rename one."
            yield SchemaProblem(name, said)
        first.setdefault(plain, name)


def _description(schema: KeypointSchema, index: int) -> Iterator[SchemaProblem]:
    name, text = schema.keypoints[index].name, schema.keypoints[index].description
    words = re.findall(r"[\w'-]+", text)
    if not words or _PLACEHOLDER.search(text):
        said = (
            "The description is still to be written. Say where the point lies, beside which other"
            " one, as in 'The lower end of the leg, below the seat corner.'"
        )
        yield SchemaProblem(name, said)
        return
    if not _FEWEST_WORDS <= len(words) <= _MOST_WORDS:
        said = f"{len(words)} words; expected {_FEWEST_WORDS} to {_MOST_WORDS}, best 12 to 35."
        yield SchemaProblem(name, said)
    others, rest = _find(schema, index)
    if len(schema) > 1 and not (others and set(rest.split()) & set(RELATIONS)):
        near = schema.names[index - 1 if index else 1]
        yield SchemaProblem(
            name,
            "The description tells no place beside another keypoint by its name. Add one, such as"
            f" 'above the {near}'.",
        )
    if view := _VIEWER.search(text):
        yield SchemaProblem(
            name,
            f"{view[0]!r} is the viewer's side. Left and right must be the object's own, so that"
            " the text stays true however the object is turned.",
        )
    own = set(_SIDE.findall(_plain(name)))
    stray = set(_SIDE.findall(rest)) - own
    if len(own) == 1 and stray:
        yield SchemaProblem(
            name,
            f"The name says {own.pop()}, the description says {stray.pop()} of no other keypoint."
            " Left and right are the object's own sides; make both say the same.",
        )


def _alike(schema: KeypointSchema) -> Iterator[SchemaProblem]:
    counts = Counter(_plain(point.description) for point in schema.keypoints)
    for point in schema.keypoints:
        number = counts[_plain(point.description)]
        if number > 1 and point.description.strip():
            said = f"{number} keypoints have this very description. Say how they differ."
            yield SchemaProblem(point.name, said)


def _pairs(schema: KeypointSchema) -> Iterator[SchemaProblem]:
    names, where = schema.names, "left_right_pairs"
    paired = Counter(index for pair in schema.left_right_pairs for index in set(pair))
    for first, second in schema.left_right_pairs:
        one, other = names[first], names[second]
        if first == second:
            said = f"{one!r} is paired with itself. Pair it with the other side's."
            yield SchemaProblem(where, said)
        elif has_side(one) and _plain(mirrored_text(one)) != _plain(other):
            said = f"{one!r} is paired with {other!r}, which is not its other side. Pair names"
            yield SchemaProblem(where, f"{said} that differ in left and right alone.")
    for index, name in enumerate(names):
        if paired[index] > 1:
            yield SchemaProblem(where, f"{name!r} is in {paired[index]} pairs; expected one.")
        if has_side(name) and not paired[index]:
            twin = mirrored_text(name)
            said = (
                f"Add the pair [{name!r}, {twin!r}]: they trade places in a mirrored picture."
                if twin in names
                else f"There is no keypoint {twin!r} to pair it with. Add it, or rename this one."
            )
            yield SchemaProblem(name, f"In no pair of {where}. {said}")


def _skeleton(schema: KeypointSchema) -> Iterator[SchemaProblem]:
    seen: set[frozenset[int]] = set()
    for first, second in schema.skeleton:
        edge = frozenset((first, second))
        shown = [schema.names[first], schema.names[second]]
        if first == second:
            yield SchemaProblem("skeleton", f"{shown[0]!r} is joined with itself. Leave it out.")
        elif edge in seen:
            yield SchemaProblem("skeleton", f"The edge {shown} is there twice. Leave one out.")
        seen.add(edge)
