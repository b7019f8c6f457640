"""The keypoint schemas that are shipped, found by name, by what they are for, or in a file.

The descriptions are our own. The order of points is that of the data sets which MP-100
(arXiv 2207.10387) gathers, so that their labels fit; each file's `source` tells where it is from.
"""

from __future__ import annotations

__all__ = [
    "mp100_schema",
    "read_schema",
    "read_schemas",
    "schema",
    "schema_json",
    "schemas",
    "word_key",
]

import difflib
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from headsight.errors import AnnotationError, InputError
from headsight.language.schema import KeypointSchema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FOLDER = Path(__file__).with_name("schemas")
_NEAREST = 3


@cache
def schemas() -> Mapping[str, KeypointSchema]:
    """Every shipped schema by its name: sorted by kind, fewer points first."""
    found = [read_schema(path) for path in _FOLDER.glob("*.json")]
    found.sort(key=lambda schema: (schema.name.rpartition("-")[0], len(schema)))
    return MappingProxyType({schema.name: schema for schema in found})


def schema(name: str | Path) -> KeypointSchema:
    """The schema of a name ("person-17"), a category ("dog", "dog_body"), or a JSON file.

    Case, spaces, hyphens and underscores do not matter. Of a file with many schemas one is named
    behind a hash, itself or by its category: "objects/schemas.json#dog".

    Example:
        >>> schema("polar bear").name
        'animal-17'

    Raises:
        InputError: no such schema, or a category that several schemas are for.
        AnnotationError: a file that is no schema.
    """
    file, _, chosen = str(name).partition("#")
    if isinstance(name, Path) or file.endswith(".json"):
        return _chosen(Path(file), chosen) if chosen else read_schema(Path(name))
    known = schemas()
    wanted = word_key(name)
    by_name = {word_key(known_name): s for known_name, s in known.items()}
    if wanted in by_name:
        return by_name[wanted]
    by_category: dict[str, list[KeypointSchema]] = {}
    for candidate in known.values():
        for category in candidate.categories:
            by_category.setdefault(word_key(category), []).append(candidate)
    found = by_category.get(wanted) or by_category.get(wanted.removesuffix("body"), [])
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"'{name}' is what several keypoint schemas are for:"
            f" {', '.join(s.name for s in found)}. Name one of these."
        )
    raise InputError(_no_such(str(name)))


def mp100_schema(category_id: int) -> KeypointSchema:
    """The schema of a category of MP-100 by its id, 1 to 100.

    Raises:
        InputError: no such category.
    """
    for candidate in schemas().values():
        if category_id in candidate.mp100:
            return candidate
    raise InputError(f"MP-100 has no category {category_id}; expected an id from 1 to 100.")


def read_schema(path: Path) -> KeypointSchema:
    """The schema in a JSON file.

    Raises:
        AnnotationError: no file, no JSON, or no schema; the message names the file.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise AnnotationError(
            f"{path} cannot be read: {error.strerror}. Give a file that `headsight schema new`"
            " wrote, or one of the names that `headsight schema show` lists."
        ) from error
    except ValueError as error:
        raise AnnotationError(f"{path} is no JSON: {error}. Mend that place.") from error
    if isinstance(values, dict) and "schemas" in values:
        many = read_schemas(path)
        raise AnnotationError(
            f"{path} holds {len(many)} schemas: {_spoken(many)}. Name one of them or a category:"
            f" {path}#{many[0].name if many else 'NAME'}."
        )
    try:
        return KeypointSchema.from_dict(values)
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}") from error


def read_schemas(path: Path) -> list[KeypointSchema]:
    """The schemas in the `schemas.json` of rendered objects, each with its categories there.

    Raises:
        AnnotationError: no such file, or another form; the message names the file.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
        kinds: dict[str, list[str]] = {}
        for category, name in values["categories"].items():
            kinds.setdefault(name, []).append(category)
        found = [KeypointSchema.from_dict(one) for one in values["schemas"]]
        return [replace(one, categories=tuple(kinds[one.name])) for one in found]
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(
            f"{path} holds no schemas: {type(error).__name__} {error}. Expected the schemas.json"
            " that `headsight scenes --objects` writes."
        ) from error


def _chosen(path: Path, name: str) -> KeypointSchema:
    """Of the schemas in a file that of a name or a category."""
    many = read_schemas(path)
    wanted = word_key(name)
    found = [s for s in many if word_key(s.name) == wanted]
    found = found or [s for s in many if wanted in map(word_key, s.categories)]
    if not found:
        raise InputError(f"{path} has no schema '{name}'. It holds {_spoken(many)}.")
    return found[0]


def _spoken(many: Sequence[KeypointSchema]) -> str:
    return ", ".join(f"{s.name} ({', '.join(s.categories)})" for s in many) or "none"


def word_key(word: str) -> str:
    """What is left of a name or a category when case, spaces and marks do not matter.

    Example:
        >>> word_key("Swivel-chair") == word_key("swivelchair")
        True
    """
    return re.sub(r"[\W_]+", "", word.lower())


def schema_json(schema: KeypointSchema) -> str:
    """The file of a schema, laid out for people: a keypoint, a pair, an edge on a line each."""
    lines = []
    for key, value in schema.to_dict().items():
        rows = value if isinstance(value, list) and value and not _is_flat(value) else None
        shown = json.dumps(value, ensure_ascii=False)
        if rows is not None:
            shown = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
            shown = f"[\n{shown}\n ]"
        lines.append(f" {json.dumps(key)}: {shown}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _is_flat(values: list[object]) -> bool:
    return all(isinstance(value, (str, int)) for value in values)


def _no_such(name: str) -> str:
    """What to say: the nearest names and categories, then all names."""
    spoken = {
        word_key(word): f"{word} ({s.name})" for s in schemas().values() for word in s.categories
    } | {word_key(known): known for known in schemas()}
    near = difflib.get_close_matches(word_key(name), spoken, n=_NEAREST, cutoff=0.5)
    nearest = f" Nearest: {', '.join(spoken[key] for key in near)}." if near else ""
    return (
        f"No keypoint schema is called '{name}' or is for it.{nearest} Known:"
        f" {', '.join(schemas())}. Or write your own: headsight schema new."
    )
