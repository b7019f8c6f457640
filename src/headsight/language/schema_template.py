"""New keypoint schemas to fill in: from names, or from another schema."""

from __future__ import annotations

__all__ = ["copy_schema", "schema_template"]

from collections.abc import Sequence
from dataclasses import replace

from headsight.errors import InputError
from headsight.language.schema import KeypointSchema, KeypointText
from headsight.language.schema_lint import mirrored_text


def schema_template(
    name: str, points: Sequence[str], *, categories: Sequence[str] = ()
) -> KeypointSchema:
    """A schema of these points whose descriptions say TODO, with left and right paired by name.

    Args:
        name: of the schema.
        points: names; blanks around them are taken off, empty ones are left out.
        categories: what the schema is for; its name where none is given.

    Example:
        >>> schema_template("spectacles", ["left lens", "right lens"]).left_right_pairs
        ((0, 1),)

    Raises:
        InputError: no name of a schema.
        AnnotationError: no points, or one twice.
    """
    if not name.strip():
        raise InputError("The schema has no name. Give a short one, such as mug-4.")
    names = [point.strip() for point in points if point.strip()]
    texts = [
        KeypointText(point, f"TODO: the place of the {point}, beside {_other(names, place)}.")
        for place, point in enumerate(names)
    ]
    pairs = tuple(
        (place, names.index(twin))
        for place, point in enumerate(names)
        if (twin := mirrored_text(point)) in names[place + 1 :]
    )
    return KeypointSchema(name, tuple(texts), pairs, (), tuple(categories) or (name,))


def copy_schema(
    schema: KeypointSchema, name: str, *, categories: Sequence[str] = ()
) -> KeypointSchema:
    """The same points under another name, for something else."""
    if not name.strip():
        raise InputError("The schema has no name. Give a short one, such as mug-4.")
    return replace(schema, name=name, categories=tuple(categories) or (name,), mp100=(), source="")


def _other(names: Sequence[str], place: int) -> str:
    """Another point to begin with."""
    if len(names) == 1:
        return "the rest of the object"
    return f"the {names[place - 1 if place else 1]}"
