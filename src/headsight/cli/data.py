"""`headsight data`: look at published data sets of heads, build and convert their labels."""

from __future__ import annotations

__all__ = ["build", "check", "convert"]

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsight.cli import options

if TYPE_CHECKING:
    from headsight.data.folder_check import Checked
    from headsight.data.head_filter import HeadFilter
    from headsight.data.ref_sample import Problem

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the unpacked data set.")]
Looked = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="Folder of the unpacked data set, or a file of keypoints."),
]
KindName = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help="crowdhuman, wider_face, agora, panoptic, agora_hpe, cmu_hpe, biwi, aflw2000 or"
        " 300w_lp; told by the files if left out.",
    ),
]
CheckedKind = Annotated[
    str | None,
    typer.Option("--kind", help="As of `data convert`, or mp100; told by the files if left out."),
]
Split = Annotated[
    str | None, typer.Option("--split", help="Only this part, such as train; all if left out.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]

_LISTED = 20
"""Most pictures with a problem that are listed one by one."""


def check(
    folder: Looked,
    kind: CheckedKind = None,
    split: Split = None,
    images: options.Images = None,
    decode: Annotated[
        bool,
        typer.Option("--decode/--no-decode", help="Decode every picture, which takes longest."),
    ] = True,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Tell what is missing or wrong in a data set, before hours are spent on it.

    Files and pictures that are missing, torn labels, broken pictures, boxes outside their picture,
    angles that look like radians, and how many pictures and heads there are beside the published
    numbers. Leaves with 1 where something is wrong, with 3 where nothing can be used. Of MP-100:
    which pictures are there, source by source. Of a COCO keypoint file: every bad record.

    Examples:
      headsight data check CrowdHuman/
      headsight data check mp100/ --no-decode
      headsight data check my_keypoints.json
      headsight data check 300W_LP/ --no-decode --json
    """
    with _progress(quiet) as progress:
        result, show = _looked(folder, kind, split, images, decode=decode, progress=progress)
    if as_json:
        document = {"schema": "headsight.data-check/1", "folder": str(folder), **result.to_dict()}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    elif not quiet:
        show(folder, result)
    _tell(result.problems)
    if not result.is_good:
        raise typer.Exit(1 if result.usable else 3)


def _looked(
    folder: Path,
    kind: str | None,
    split: str | None,
    images: Path | None,
    *,
    decode: bool,
    progress: tuple[Callable[[int], None], Callable[[], None]],
) -> tuple[Any, Callable[[Path, Any], None]]:
    """What a look at a data set finds, and what prints that."""
    from headsight.cli.data_keypoints import show_keypoint_file, show_mp100
    from headsight.data.folder_check import check_heads
    from headsight.data.head_kinds import open_heads
    from headsight.data.keypoint_check import check_keypoints
    from headsight.data.keypoint_files import read_keypoints
    from headsight.data.mp100 import check_mp100, find_mp100

    begin, advance = progress
    if folder.is_file():
        labels = read_keypoints(folder, images=images)
        begin(len({i.image for i in labels.instances}))
        looked = check_keypoints(labels, decode=decode, on_picture=advance)
        return looked, show_keypoint_file
    if kind == "mp100" or (kind is None and find_mp100(folder)):
        found = check_mp100(folder, part=split, decode=decode, on_size=begin, on_picture=advance)
        return found, show_mp100
    heads = open_heads(folder, kind, split=split)
    begin(len(heads))
    return check_heads(heads, decode=decode, on_picture=advance), _show_check


def build(
    name: Annotated[str, typer.Argument(metavar="NAME", help="agora-hpe or cmu-hpe.")],
    raw: Annotated[Path, typer.Argument(metavar="RAW", help="Folder of AGORA or CMU Panoptic.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    overwrite: Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Build AGORA-HPE or CMU-HPE: head boxes and yaw, pitch, roll from 3D face points.

    Pictures are linked, not copied, where the file system allows it.

    Examples:
      headsight data build agora-hpe AGORA/ --out AGORA-HPE/
      headsight data build cmu-hpe panoptic-toolbox/ --out CMU-HPE/
    """
    from headsight.data.build_hpe import BUILDERS
    from headsight.errors import InputError

    if name not in BUILDERS:
        raise InputError(f"Nothing called '{name}' can be built. Choose: {', '.join(BUILDERS)}.")
    if not raw.is_dir():
        raise InputError(f"{raw} is no folder. Pass the folder that the raw set was unpacked into.")
    with _progress(quiet) as (begin, advance):
        built = BUILDERS[name](raw, out, overwrite=overwrite, on_size=begin, on_picture=advance)
    document = {
        "schema": "headsight.data-build/1",
        "files": [str(f) for f in built.files],
        "pictures": built.pictures,
        "heads": built.heads,
        "left_out": built.left_out,
        "problems": [p._asdict() for p in built.problems],
    }
    if as_json:
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        for split, path in zip(built.pictures, built.files, strict=True):
            counts = f"{built.pictures[split]} pictures, {built.heads[split]} heads"
            sys.stdout.write(f"{path}: {counts}{_left_out(built.left_out)}\n")
    _tell(built.problems)
    if built.problems:
        raise typer.Exit(1)


def convert(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="As of `data check`, or auto: told by the files.")
    ],
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", help="File to write, ending in .jsonl.")],
    split: Split = None,
    input_px: Annotated[
        int | None,
        typer.Option("--input-px", min=1, help="Side of the square that the model sees, as 490."),
    ] = None,
    min_box_px: Annotated[
        float | None,
        typer.Option("--min-box-px", help="Ignore heads whose shorter side is less, on it."),
    ] = None,
    most_heads: Annotated[
        int | None,
        typer.Option("--most-heads", min=1, help="Ignore all but so many largest heads."),
    ] = None,
    as_seen: Annotated[
        bool,
        typer.Option("--as-seen", help="Turn poses from the camera's axes to the line of sight."),
    ] = False,
    overwrite: Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the labels of a data set as training labels, one JSON line a picture.

    Pictures stay where they are and are named relative to the file. Boxes are of whole heads,
    estimated where a set has boxes of faces or landmarks.

    Examples:
      headsight data convert 300w_lp 300W_LP/ --out 300w_lp.jsonl
      headsight data convert agora_hpe AGORA-HPE/ --as-seen --out agora.jsonl
      headsight data convert crowdhuman CrowdHuman/ --split train --out heads.jsonl --most-heads 20
    """
    from headsight.data.as_seen import poses_as_seen
    from headsight.data.head_kinds import open_heads
    from headsight.data.label_lines import convert_heads

    with _progress(quiet) as (begin, advance):
        found = open_heads(folder, None if kind == "auto" else kind, split=split)
        begin(len(found))
        done = convert_heads(
            poses_as_seen(found) if as_seen else found,
            out,
            rules=_rules(input_px, min_box_px, most_heads),
            overwrite=overwrite,
            on_picture=advance,
        )
    if as_json:
        document = {
            "schema": "headsight.data-convert/1",
            "file": str(out),
            "pictures": done.pictures,
            "heads": done.heads,
            "poses": done.poses,
            "left_out": done.left_out,
            "problems": [p._asdict() for p in done.problems],
        }
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        counts = f"{done.pictures} pictures, {done.heads} heads, {done.poses} with a pose"
        sys.stdout.write(f"{out}: {counts}{_left_out(done.left_out)}\n")
    _tell(done.problems)
    if done.problems:
        raise typer.Exit(1)


def _rules(
    input_px: int | None, min_box_px: float | None, most_heads: int | None
) -> HeadFilter | None:
    """The filter that the options ask for; None where no option is given."""
    from headsight.data.head_filter import HeadFilter

    if input_px is None and min_box_px is None and most_heads is None:
        return None
    usual = HeadFilter()
    least = 0.0 if min_box_px is None else min_box_px
    return HeadFilter(
        input_px=input_px or usual.input_px,
        min_box_px=least,
        min_pose_px=max(least, usual.min_pose_px),
        most_heads=most_heads or sys.maxsize,
    )


@contextmanager
def _progress(quiet: bool) -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    """A bar on stderr where that is a terminal: what tells its length, and what advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("pictures", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    shown = console.is_terminal and not quiet
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task("pictures", total=None)
        yield (
            lambda total: progress.update(task, total=total),
            lambda: progress.advance(task),
        )


def _left_out(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    return "; left out: " + ", ".join(f"{number} {reason}" for reason, number in counts.items())


def _tell(problems: Sequence[Problem]) -> None:
    for problem in problems[:_LISTED]:
        sys.stderr.write(f"headsight: {problem.id}: {problem.error}\n")
    if len(problems) > _LISTED:
        sys.stderr.write(f"headsight: and {len(problems) - _LISTED} more; --json lists them all\n")


def _show_check(folder: Path, result: Checked) -> None:
    from rich.console import Console
    from rich.table import Table

    from headsight.data.head_kinds import KINDS

    table = Table(title=f"{folder}: {KINDS[result.kind].title}")
    for column in ("part", "labelled pictures", "usable", "heads", "with a pose"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, row in result.splits.items():
        table.add_row(
            name,
            _beside(row, "labelled"),
            str(row["pictures"]),
            _beside(row, "heads"),
            str(row["poses"]),
        )
    console = Console()
    console.print(table)
    for reason, number in result.left_out.items():
        sys.stdout.write(f"left out: {number} ({reason})\n")
    for warning in result.warnings:
        sys.stdout.write(f"WRONG: {warning}\n")
    for note in result.notes:
        sys.stdout.write(f"note: {note}\n")
    problems: Sequence[Any] = result.problems
    sys.stdout.write(
        f"{len(problems)} pictures cannot be used.\n"
        if problems
        else "Every picture can be used.\n"
    )


def _beside(row: Mapping[str, int], name: str) -> str:
    published = row.get(f"published_{name}")
    return f"{row[name]}" if published is None else f"{row[name]} of {published}"
