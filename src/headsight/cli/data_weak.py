"""`headsight data weak-labels`: poses that a teacher tells, for heads that have none."""

from __future__ import annotations

__all__ = ["weak_labels"]

import json
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsight.cli import options
from headsight.cli.data import KindName, Overwrite, Split

if TYPE_CHECKING:
    from headsight.data.head_folder import LeftOut
    from headsight.data.heads import HeadSample
    from headsight.grounder import Grounder

Make = Callable[[], "HeadSample | LeftOut"]

_LISTED = 20


def weak_labels(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A data set's folder, or pictures without one.")
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write, ending in .jsonl.")],
    model: options.Model = "nano",
    device: options.Device = "auto",
    kind: KindName = None,
    split: Split = None,
    agree_deg: Annotated[
        float, typer.Option("--agree-deg", help="Most that a mirrored look may differ.")
    ] = 15.0,
    weight: Annotated[float, typer.Option("--weight", help="Trust in a pose, below 1.")] = 0.5,
    input_px: Annotated[
        int, typer.Option("--input-px", min=1, help="Side of the square that is learned from.")
    ] = 490,
    min_box_px: Annotated[
        float, typer.Option("--min-box-px", help="Ignore smaller heads; px of that square.")
    ] = 7.0,
    min_pose_px: Annotated[
        float, typer.Option("--min-pose-px", help="Ask no pose of smaller heads; the same px.")
    ] = 14.0,
    most_heads: Annotated[
        int, typer.Option("--most-heads", min=1, help="Ignore all but so many largest heads.")
    ] = 20,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first so many pictures.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Label the poses of heads with a teacher: any model that tells the pose of a head in a box.

    Boxes are those of the data set; of pictures without labels they are found by the teacher too.
    A pose is kept where the teacher says nearly the same of the mirrored picture. What is done is
    kept beside the file: the same command goes on where it was stopped.

    Examples:
      headsight data weak-labels CrowdHuman/ --split train --model ./teacher --out weak.jsonl
      headsight data weak-labels photos/ --out weak.jsonl --limit 100
    """
    from rich.console import Console
    from rich.progress import Progress

    from headsight.cli.journalled import open_journal, run_journalled
    from headsight.data.head_filter import HeadFilter
    from headsight.errors import AnnotationError, InputError
    from headsight.files import write_atomic
    from headsight.grounder import load

    if out.suffix != ".jsonl":
        raise InputError(f"{out} does not end in .jsonl, as files of training labels do.")
    rules = HeadFilter(
        input_px=input_px, min_box_px=min_box_px, min_pose_px=min_pose_px, most_heads=most_heads
    )
    settings = {
        "source": source, "kind": kind, "split": split, "model": model, "agree_deg": agree_deg,
        "weight": weight, "input_px": input_px, "min_box_px": min_box_px,
        "min_pose_px": min_pose_px, "most_heads": most_heads,
    }  # fmt: skip
    teacher = _LateTeacher(lambda: load(model, device=device))
    items = _items(source, kind, split, teacher)[:limit]
    ask = _Asker(teacher, out, rules, agree_deg, weight, source=model)
    console = Console(stderr=True)
    with (
        closing(open_journal(out, settings, overwrite=overwrite)) as journal,
        Progress(console=console, disable=quiet or not console.is_terminal) as progress,
    ):
        outcome = run_journalled(
            items, ask, lambda _, record: record, journal=journal, progress=progress,
            what="pictures",
        )  # fmt: skip
    lines = [r["label"] for r in outcome.judged if r["label"] is not None]
    counts: Counter[str] = Counter()
    for record in outcome.judged:
        counts.update(record["counts"])
    for failure in outcome.failures[:_LISTED]:
        sys.stderr.write(f"headsight: {failure['id']}: {failure['error']}\n")
    if not lines:
        raise AnnotationError(f"Not one picture could be labelled, so {out} was not written.")
    write_atomic(out, "".join(json.dumps(line) + "\n" for line in lines).encode())
    heads = sum(len(line["heads"]) for line in lines)
    if as_json:
        document = {
            "schema": "headsight.data-weak-labels/1",
            "file": str(out),
            "settings": settings,
            "pictures": len(lines),
            "heads": heads,
            "counts": dict(counts),
            "failures": outcome.failures,
        }
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        told = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
        sys.stdout.write(f"{out}: {len(lines)} pictures, {heads} heads; poses: {told or 'none'}\n")
    if outcome.failures:
        raise typer.Exit(1)


class _LateTeacher:
    """A model that is loaded when it is first asked."""

    def __init__(self, load: Callable[[], Grounder]) -> None:
        self._load = load
        self._grounder: Grounder | None = None

    @property
    def grounder(self) -> Grounder:
        """The model."""
        if self._grounder is None:
            self._grounder = self._load()
        return self._grounder

    def __call__(self, picture: Any, boxes: Any) -> Any:
        """Rotations of the heads in the boxes."""
        return self.grounder.pose(picture, boxes).rotations


class _Asker:
    """Makes the journal's record of one picture."""

    def __init__(
        self,
        teacher: _LateTeacher,
        out: Path,
        rules: Any,
        agree_deg: float,
        weight: float,
        *,
        source: str,
    ) -> None:
        self._teacher, self._out, self._source = teacher, out, source
        self._rules = {"rules": rules, "agree_deg": agree_deg, "weight": weight}

    def __call__(self, item: tuple[str, Make]) -> dict[str, Any]:
        import time

        from headsight.data.head_folder import LeftOut, read_item
        from headsight.data.ref_sample import Problem
        from headsight.data.weak_labels import weak_pose_label
        from headsight.errors import AnnotationError

        began = time.perf_counter()
        found = read_item(*item)
        if isinstance(found, Problem):
            raise AnnotationError(found.error)
        if isinstance(found, LeftOut):
            return {"label": None, "counts": {}, "seconds": 0.0}
        weak = weak_pose_label(found, self._teacher, **self._rules)
        return {
            "label": weak.record(beside=self._out, source=self._source),
            "counts": dict(weak.counts),
            "seconds": time.perf_counter() - began,
        }


def _items(
    source: str, kind: str | None, split: str | None, teacher: _LateTeacher
) -> list[tuple[str, tuple[str, Make]]]:
    """Each picture's id and what reads it: of a data set, or plain pictures."""
    from headsight.data.head_kinds import find_kind, open_heads
    from headsight.errors import InputError

    folder = Path(source).expanduser()
    if kind is None and folder.is_dir():
        try:
            kind = find_kind(folder)
        except InputError:
            return _pictures(source, teacher)
    elif kind is None:
        return _pictures(source, teacher)
    found = open_heads(folder, kind, split=split)
    return [
        (f"{name}/{key}", (key, make)) for name, items in found.items.items() for key, make in items
    ]


def _pictures(source: str, teacher: _LateTeacher) -> list[tuple[str, tuple[str, Make]]]:
    from headsight.data.head_folder import find_pictures
    from headsight.picture import expand_sources

    folder = Path(source).expanduser()
    paths = list(find_pictures(folder)) if folder.is_dir() else []
    return [
        (str(path), (str(path), _Finder(path, teacher)))
        for path in paths or expand_sources([source])
    ]


class _Finder:
    """Makes a sample of a picture without labels: its heads are those that the teacher finds."""

    def __init__(self, path: Path, teacher: _LateTeacher) -> None:
        self._path, self._teacher = path, teacher

    def __call__(self) -> HeadSample:
        import numpy as np

        from headsight.data.heads import HeadSample
        from headsight.picture import open_picture

        picture = open_picture(self._path)
        boxes = np.array(self._teacher.grounder.heads(picture, poses=False).boxes, np.float64)
        unknown = np.full((len(boxes), 3, 3), np.nan)
        return HeadSample(self._path, picture.image_wh, boxes, unknown)
