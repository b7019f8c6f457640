"""A small world: pictures of coloured squares with their boxes, and a language about such things.

The language has two kinds of documents. In one, people and things behave by habit (a book is blue
more often than red), so that there is something to learn and to forget. In the other, places are
told and then asked for: `The red box is at [[...]]. ... Where is the red box? ...`. So the language
alone already knows what a box looks like as text and how to copy it, as a language model that has
read the web does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headsight.language.codec import CodecSpec, encode
from headsight.language.prompts import refer

__all__ = ["BOXES", "COLOURS", "SIDE", "Example", "example", "text"]

BOXES = CodecSpec("boxes")
GRID, CELL = 5, 4
SIDE = GRID * CELL
"""Side of a picture, px; the edges of squares lie on a grid of `CELL` px."""
_BACKGROUND, _NOISE = 128, 12
_MOST_SQUARES = 3
_LONGEST_SIDE = 3

COLOURS = {
    "red": (220, 40, 40),
    "orange": (240, 150, 30),
    "yellow": (235, 225, 60),
    "green": (50, 170, 70),
    "blue": (50, 80, 220),
    "purple": (150, 60, 180),
}
_THINGS = ("box", "cup", "bottle", "book", "ball", "bag", "car", "dog", "cat", "bird")
_PEOPLE = ("man", "woman", "boy", "girl", "worker", "player", "doctor", "student")
_SIZES = ("small", "large", "tiny", "huge")
_RELATIONS = ("near", "behind", "above", "below", "beside", "inside", "under", "around")
_DOINGS = ("holding", "carrying", "reading", "eating", "riding", "pointing", "raising", "having")
_CLOTHES = ("shirt", "hat", "jacket", "coat", "vest", "dress", "helmet", "scarf")


@dataclass(frozen=True)
class Example:
    """A picture, a question about it, and the answer."""

    picture: Image.Image
    question: str
    answer: str
    box_rel: NDArray[np.float64]
    """The square that is asked for: x0, y0, x1, y1 in [0, 1]."""


def example(rng: np.random.Generator) -> Example:
    """A new picture of one to three squares, none on another, and the place of one of them."""
    names = rng.permutation(list(COLOURS))[: rng.integers(1, _MOST_SQUARES + 1)]
    pixels = np.full((SIDE, SIDE, 3), _BACKGROUND, np.float64)
    boxes = _apart(rng, len(names))
    for name, (x0, y0, x1, y1) in zip(names, boxes * CELL, strict=True):
        pixels[y0:y1, x0:x1] = COLOURS[str(name)]
    pixels += rng.normal(0, _NOISE, pixels.shape)
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    box_rel = boxes[0] / GRID
    return Example(picture, refer(f"the {names[0]} box"), encode(box_rel[None], BOXES), box_rel)


def text(rng: np.random.Generator) -> str:
    """A new document of the language."""
    return _places(rng) if rng.random() < 0.6 else f"{_habit(rng)} {_habit(rng)}"


def _places(rng: np.random.Generator) -> str:
    names = rng.permutation(list(COLOURS))[: rng.integers(1, _MOST_SQUARES + 1)]
    told = [encode(box[None] / GRID, BOXES) for box in _apart(rng, len(names))]
    facts = [f"The {name} box is at {box}." for name, box in zip(names, told, strict=True)]
    asked = int(rng.integers(len(names)))
    return f"{' '.join(facts)} {refer(f'the {names[asked]} box')}{told[asked]}"


def _habit(rng: np.random.Generator) -> str:
    person, thing, other = (_pick(rng, words) for words in (_PEOPLE, _THINGS, _THINGS))
    if rng.random() < 0.5:
        wear = _pick(rng, _CLOTHES, person)
        doing = _pick(rng, _DOINGS, thing)
        colour = _pick(rng, tuple(COLOURS), wear)
        return f"A {person} wearing a {colour} {wear} is {doing} the {_thing(rng, thing)}."
    relation = _pick(rng, _RELATIONS, thing + other)
    return f"The {_thing(rng, thing)} is {relation} a {_thing(rng, other)}."


def _thing(rng: np.random.Generator, thing: str) -> str:
    return f"{_pick(rng, _SIZES, thing)} {_pick(rng, tuple(COLOURS), thing)} {thing}"


def _pick(rng: np.random.Generator, words: Sequence[str], habit_of: str = "") -> str:
    """One of `words`; with `habit_of` its favourites, each half as likely as the one before."""
    if not habit_of:
        return words[rng.integers(len(words))]
    first = sum(map(ord, habit_of))
    rank = min(int(rng.geometric(0.5)) - 1, len(words) - 1)
    return words[(first + rank) % len(words)]


def _apart(rng: np.random.Generator, number: int) -> NDArray[np.int64]:
    """Boxes (N, 4) of squares on the grid, in cells, that do not touch each other."""
    taken = np.zeros((GRID + 2, GRID + 2), bool)  # one cell of border all around
    boxes: list[tuple[int, int, int, int]] = []
    while len(boxes) < number:
        side = int(rng.integers(1, _LONGEST_SIDE + 1))
        x, y = (int(v) for v in rng.integers(0, GRID - side + 1, 2))
        if not taken[y : y + side + 2, x : x + side + 2].any():
            taken[y + 1 : y + 1 + side, x + 1 : x + 1 + side] = True
            boxes.append((x, y, x + side, y + side))
        elif rng.random() < 0.1:  # no room: begin again
            taken[:], boxes = False, []
    return np.array(boxes)
