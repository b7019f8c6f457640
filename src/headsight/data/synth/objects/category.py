"""What a kind of rendered object is: how it is built, what its points are, how it is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from headsight.data.synth.objects.kit import Kit, Model
from headsight.language.schema import KeypointSchema
from headsight.language.schema_library import read_schema, schema

__all__ = ["Category", "Split", "View", "object_schema"]

_FOLDER = Path(__file__).with_name("schemas")

Split = Literal["seen", "unseen"]


@dataclass(frozen=True, kw_only=True)
class View:
    """From where a camera looks at an object; degrees."""

    azimuth: tuple[float, float] = (-180.0, 180.0)
    """0 faces the camera; 90 turns the object's front to the right of the picture."""
    elevation: tuple[float, float] = (-4.0, 38.0)
    """Of the camera above the object."""
    roll: float = 4.0
    """Spread of the turn in the picture; 180 is any."""
    has_ground: bool = True
    """It stands on something, so a shadow may lie under it."""


@dataclass(frozen=True, kw_only=True)
class Category:
    """A kind of object."""

    name: str
    schema: str
    """Name of its schema, which rendered and real pictures may share."""
    build: Callable[[Kit], None]
    """Puts one into a kit; it names every point of the schema."""
    split: Split = "seen"
    view: View = View()

    def model(self, rng: np.random.Generator) -> Model:
        """One object, another for every state of `rng`."""
        kit = Kit(rng)
        self.build(kit)
        return kit.finish()


@lru_cache(maxsize=64)
def object_schema(name: str) -> KeypointSchema:
    """The schema of that name: one of MP-100's, or one that only rendered objects have.

    Raises:
        InputError: there is none.
    """
    own = _FOLDER / f"{name}.json"
    return read_schema(own) if own.is_file() else schema(name)
