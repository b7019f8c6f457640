"""A data set of heads in its published layout, read picture by picture.

A reader lists the pictures that the labels name; each is read when it is asked for, so that memory
does not grow and one bad file is a problem of its own, not the end.
"""

from __future__ import annotations

__all__ = [
    "Found",
    "HeadFolder",
    "Item",
    "LeftOut",
    "find_pictures",
    "label_files",
    "picture_index",
    "read_item",
]

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from headsight.data.heads import HeadSample
from headsight.data.ref_sample import Problem
from headsight.errors import AnnotationError, HeadsightError
from headsight.picture import PICTURE_SUFFIXES

_FAULTS = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


class LeftOut(NamedTuple):
    """A picture that the set's own protocol leaves out."""

    id: str
    reason: str


Found = HeadSample | Problem | LeftOut
Item = tuple[str, Callable[[], HeadSample | LeftOut]]


@dataclass(frozen=True, eq=False)
class HeadFolder:
    """The pictures of a set, in the order of its labels."""

    kind: str
    """Key of `headsight.data.head_kinds.KINDS`."""
    folder: Path
    items: Mapping[str, Sequence[Item]]
    """By split: the id of each labelled picture, and the function that reads it."""
    notes: tuple[str, ...] = ()
    """What is unusual about the set."""

    def __len__(self) -> int:
        return sum(len(items) for items in self.items.values())

    def __iter__(self) -> Iterator[Found]:
        """Every picture: its sample, why it is left out, or what is wrong with it."""
        for items in self.items.values():
            for key, make in items:
                yield read_item(key, make)

    def only(self, split: str | None) -> HeadFolder:
        """The pictures of one split; of all with None or `all`.

        Raises:
            AnnotationError: there is no such split; the message lists those there are.
        """
        if split in (None, "all"):
            return self
        if split not in self.items:
            known = ", ".join(f"{name} ({len(items)})" for name, items in self.items.items())
            raise AnnotationError(
                f"{self.folder} has no split '{split}'. It has: {known}. Choose one, or all."
            )
        return HeadFolder(self.kind, self.folder, {split: self.items[split]}, self.notes)

    def samples(self) -> list[HeadSample]:
        """What can be used.

        Raises:
            AnnotationError: nothing can.
        """
        found = list(self)
        samples = [f for f in found if isinstance(f, HeadSample)]
        problems = [f for f in found if isinstance(f, Problem)]
        if problems and not samples:
            raise AnnotationError(
                f"Not one of the {len(problems)} pictures of {self.folder} can be used. The first:"
                f" {problems[0].error} Run: headsight data check {self.folder}"
            )
        return samples


def read_item(key: str, make: Callable[[], HeadSample | LeftOut]) -> Found:
    """The picture of one item, why it is left out, or what is wrong with it; never raises."""
    try:
        return make()
    except HeadsightError as error:
        return Problem(key, str(error))
    except FileNotFoundError as error:
        return Problem(key, f"The file {error.filename} is missing. Fetch or unpack it.")
    except _FAULTS as error:
        return Problem(key, f"It is not in its format: {type(error).__name__} {error}.")


def find_pictures(folder: Path) -> Iterator[Path]:
    """Every picture below a folder, in order of name; hidden files and folders are passed over."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith("."):
                yield Path(place) / name


def picture_index(folder: Path) -> dict[str, Path]:
    """Every picture below a folder by its name without ending; the first of equal names."""
    found: dict[str, Path] = {}
    for path in find_pictures(folder):
        found.setdefault(path.stem, path)
    return found


def label_files(folder: Path, pattern: str, what: str) -> list[Path]:
    """The files below `folder` that fit a glob pattern, in order.

    Raises:
        AnnotationError: there is none; the message tells `what` was expected.
    """
    found = sorted(folder.rglob(pattern))
    if not found:
        raise AnnotationError(f"{folder} holds no {pattern}. Expected {what}. Check the folder.")
    return found
