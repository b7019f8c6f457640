"""`headsight schema`: new, check, show."""

from __future__ import annotations

__all__ = ["check", "new", "show"]

import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headsight.cli import options

if TYPE_CHECKING:
    from headsight.language.schema import KeypointSchema

Schemas = Annotated[
    list[str],
    typer.Argument(metavar="SCHEMA", help="JSON files (FILE#NAME of many), names, categories."),
]
_WIDTH = 96
_EXAMPLE_POINTS = "top, left side, right side, bottom"


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the schema, such as mug-4.")],
    points: Annotated[
        str | None,
        typer.Option("--points", help=f"Names, with commas between: '{_EXAMPLE_POINTS}'."),
    ] = None,
    like: Annotated[
        str | None, typer.Option("--like", help="Start from this schema: its points and texts.")
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option("--category", help="What it is for, in words; may be given several times."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the file here instead of printing it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --output.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a keypoint schema to fill in: names, places for descriptions, left and right paired.

    Replace every TODO with where the point lies, naming another point; then run schema check.

    Examples:
      headsight schema new mug-4 --points "left rim, right rim, handle, base" --output mug.json
      headsight schema new mydog --like dog --output mydog.json
    """
    from headsight.cli.written import tell_written
    from headsight.errors import InputError
    from headsight.files import write_atomic
    from headsight.language.schema_library import schema, schema_json
    from headsight.language.schema_template import copy_schema, schema_template

    if points is not None and like is not None:
        raise InputError("--points and --like were both given. Give one: names, or a schema.")
    words = tuple(category or ())
    made = (
        copy_schema(schema(like), name, categories=words)
        if like is not None
        else schema_template(name, (points or _EXAMPLE_POINTS).split(","), categories=words)
    )
    if output is None:
        sys.stdout.write(schema_json(made))
        return
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists. Give another --output, or --overwrite.")
    write_atomic(output, schema_json(made).encode())
    tell_written(output, quiet=quiet)


def check(schemas: Schemas, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Tell what is wrong with keypoint schemas: each broken rule, and how to mend it.

    Names must differ, every description must tell the place beside another named point, left and
    right must be the object's own and paired. Leaves with 1 where a rule is broken, with 3 where
    a file is no schema.

    Examples:
      headsight schema check mug.json
      headsight schema check person-17 animal-17 --json
    """
    from headsight.cli.show import visible
    from headsight.language.schema_library import schema
    from headsight.language.schema_lint import lint_schema

    found = {name: lint_schema(schema(name)) for name in schemas}
    if as_json:
        rows = [
            {"schema": name, "problems": [problem._asdict() for problem in problems]}
            for name, problems in found.items()
        ]
        sys.stdout.write(_document("headsight.schema-check/1", {"schemas": rows}))
    elif not quiet:
        for name, problems in found.items():
            number = len(schema(name))
            said = f"{len(problems)} problems" if problems else f"{number} keypoints, all is well"
            sys.stdout.write(f"{visible(name)}: {said}\n")
            sys.stdout.writelines(f"  {visible(p.where)}: {visible(p.said)}\n" for p in problems)
    if any(found.values()):
        raise typer.Exit(1)


def show(
    name: Annotated[
        str | None, typer.Argument(metavar="[SCHEMA]", help="JSON file, name or category.")
    ] = None,
    vague: Annotated[
        bool, typer.Option("--vague", help="Names only, as comparisons of descriptions ask them.")
    ] = False,
    on: Annotated[
        str | None,
        typer.Option("--on", help="Draw it on an object of these labels: a COCO keypoint file."),
    ] = None,
    images: options.Images = None,
    item: Annotated[int, typer.Option("--item", min=0, help="Which object of --on, from 0.")] = 0,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write the drawing of --on here.")
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """List the shipped keypoint schemas, or show the points of one with their descriptions.

    With --on, its names are drawn on labelled points, so that you see whether order and sides are
    those of the labels: the object's own left is blue, its right orange.

    Examples:
      headsight schema show
      headsight schema show dog
      headsight schema show person-17 --json
      headsight schema show mug.json --on annotations.json --save drawn.png
    """
    from headsight.errors import InputError
    from headsight.language.schema_library import schema, schema_json, schemas

    if (on is None) != (save is None) or (on is not None and name is None):
        raise InputError(
            "A drawing needs a SCHEMA, --on LABELS and --save PICTURE. Give all three."
        )
    if on is not None and save is not None and name is not None:
        _save_drawing(schema(name), on, images, item, save, overwrite=overwrite, quiet=quiet)
        return
    if name is None:
        known = schemas().values()
        if as_json:
            rows = [{"name": s.name, "points": len(s), "for": list(s.categories)} for s in known]
            sys.stdout.write(_document("headsight.schemas/1", {"schemas": rows}))
        else:
            sys.stdout.write(_table(list(known)))
        return
    chosen = schema(name)
    chosen = chosen.vague() if vague else chosen
    sys.stdout.write(schema_json(chosen) if as_json else _page(chosen))


def _save_drawing(
    chosen: KeypointSchema,
    on: str,
    images: Path | None,
    item: int,
    save: Path,
    *,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Draw a schema's names on the labelled points of one object."""
    import io

    from headsight.cli.written import tell_written
    from headsight.data.keypoint_files import read_keypoints
    from headsight.draw_keypoints import draw_keypoints, frame_object
    from headsight.errors import AnnotationError, InputError
    from headsight.files import write_atomic

    if save.exists() and not overwrite:
        raise InputError(f"{save} exists. Give another --save, or --overwrite.")
    found = [i for i in read_keypoints(on, images=images).instances if i.visible.any()]
    if item >= len(found):
        raise InputError(f"{on} has {len(found)} labelled objects. Give --item below that.")
    labelled = found[item]
    if len(labelled.points) != len(chosen):
        raise AnnotationError(
            f"Object {item} of {on} ({labelled.category}) has {len(labelled.points)} points, but"
            f" the schema {chosen.name} has {len(chosen)}. Give the schema of these labels."
        )
    part, points = frame_object(labelled.open().image, labelled.points[labelled.visible])
    placed = labelled.points * float("nan")
    placed[labelled.visible] = points
    data = io.BytesIO()
    draw_keypoints(part, placed, chosen).save(data, "png")
    write_atomic(save, data.getvalue())
    tell_written(save, quiet=quiet)


def _table(known: list[KeypointSchema]) -> str:
    width = max(len(schema.name) for schema in known)
    lines = [f"{'schema':<{width}}  points  for"]
    for schema in known:
        words = textwrap.shorten(", ".join(schema.categories), _WIDTH - width - 10, placeholder="…")
        lines.append(f"{schema.name:<{width}}  {len(schema):>6}  {words}")
    return "\n".join([*lines, ""])


def _page(schema: KeypointSchema) -> str:
    """One schema for reading: numbers from 0, as in labels; what each point is joined with."""
    from headsight.cli.show import visible

    lines = [f"{schema.name}: {len(schema)} keypoints"]
    if schema.categories:
        lines += textwrap.wrap(f"for {', '.join(schema.categories)}", _WIDTH)
    if schema.source:
        lines += textwrap.wrap(f"order: {schema.source}", _WIDTH)
    joined: dict[int, list[str]] = {}
    for first, second in schema.skeleton:
        joined.setdefault(first, []).append(schema.names[second])
        joined.setdefault(second, []).append(schema.names[first])
    for index, point in enumerate(schema.keypoints):
        lines.append(f"{index:>3}  {point.name}")
        lines += textwrap.wrap(
            point.description, _WIDTH, initial_indent="     ", subsequent_indent="     "
        )
        if index in joined:
            lines.append(f"     joined with: {', '.join(joined[index])}")
    return "\n".join([*map(visible, lines), ""])


def _document(kind: str, values: dict[str, object]) -> str:
    return json.dumps({"schema": kind, **values}, indent=1, ensure_ascii=False) + "\n"
