"""What the asking commands share: opening many pictures, showing, saving, exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsight.errors import HeadsightError, InputError

if TYPE_CHECKING:
    from headsight.detections import Detections
    from headsight.grounder import Grounder
    from headsight.picture import Picture

__all__ = [
    "Constrain", "Device", "Json", "Model", "Overwrite", "Pictures", "Quiet", "Raw", "Save", "Verbose",
    "answer_pictures",
]  # fmt: skip

Pictures = Annotated[list[str], typer.Argument(help="Pictures, folders or patterns such as 'in/*.jpg'.")]
Model = Annotated[str, typer.Option("--model", help="Name of a model, or a local folder.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Raw = Annotated[bool, typer.Option("--raw", help="Show each question and answer as the model saw and said it.")]
Save = Annotated[
    Path | None,
    typer.Option("--save", help="Write the drawn picture here; a folder for several pictures."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what --save would write.")]
Constrain = Annotated[
    bool, typer.Option("--constrain", help="Let the model write well-formed answers only.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar, no table.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Log to stderr.")]

SCHEMA = "headsight.results/1"


def answer_pictures(
    arguments: Sequence[str],
    ask: Callable[[Grounder, Picture], Detections],
    *,
    model: str,
    device: str,
    as_json: bool,
    raw: bool,
    save: Path | None,
    overwrite: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Ask about every picture; a bad one is reported and the others go on.

    Raises:
        typer.Exit: 1 where some pictures failed, 3 where all of them did.
        HeadsightError: nothing can be asked at all (no picture, no model, a place that may not be written).
    """
    import logging

    from headsight.picture import expand_sources, open_picture

    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, stream=sys.stderr)
    paths = expand_sources(arguments)
    targets = _targets(paths, save, overwrite)
    first = open_picture(paths[0]) if len(paths) == 1 else None  # fail before a model is loaded
    from headsight.grounder import load

    grounder = load(model, device=device)
    results: list[tuple[Path, Detections]] = []
    failures: list[tuple[Path, HeadsightError]] = []
    with _progress(len(paths), quiet) as advance:
        for path, target in zip(paths, targets, strict=True):
            try:
                found = ask(grounder, first or open_picture(path))
            except HeadsightError as error:
                if len(paths) == 1:
                    raise
                failures.append((path, error))
                sys.stderr.write(f"headsight: {path}: {error}\n")
            else:
                if target is not None:
                    _write_picture(found, target)
                results.append((path, found))
                if not as_json:
                    _show(path, found, raw=raw, quiet=quiet)
            advance()
    if as_json:
        _print_json(results, failures, model=grounder.vlm.name, raw=raw)
    if failures:
        raise typer.Exit(1 if results else 3)


def _targets(paths: Sequence[Path], save: Path | None, overwrite: bool) -> list[Path | None]:
    if save is None:
        return [None] * len(paths)
    if len(paths) == 1 and not save.is_dir():
        targets = [save]
    else:
        targets = [save / f"{path.stem}.png" for path in paths]
        seen: dict[Path, int] = {}
        for index, target in enumerate(targets):  # a.jpg and a.png both become a.png
            seen[target] = seen.get(target, 0) + 1
            if seen[target] > 1:
                targets[index] = target.with_name(f"{target.stem}-{seen[target]}.png")
    from headsight.picture import PICTURE_SUFFIXES

    for target in targets:
        if target.suffix.lower() not in PICTURE_SUFFIXES:
            raise InputError(
                f"--save {target} does not end like a picture. Use .png or .jpg, or an existing folder."
            )
        if target.exists() and not overwrite:
            raise InputError(f"{target} exists. Choose another --save, or give --overwrite.")
    return list(targets)


def _write_picture(found: Detections, target: Path) -> None:
    import io

    from PIL import Image

    from headsight.files import write_atomic

    buffer = io.BytesIO()
    kind = Image.registered_extensions()[target.suffix.lower()]
    found.draw().save(buffer, kind)
    write_atomic(target, buffer.getvalue())


def _show(path: Path, found: Detections, *, raw: bool, quiet: bool) -> None:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not quiet:
        table = Table(title=f"{path}: {len(found)} found", title_justify="left")
        for name in ("", "box (x0, y0, x1, y1)", "yaw", "pitch", "roll", "score"):
            table.add_column(name, justify="left" if "box" in name else "right")
        for number, (box, pose, score) in enumerate(
            zip(found.boxes, found.poses, found.scores, strict=True), 1
        ):
            angles = [f"{v:+.0f}°" if np.isfinite(v) else "-" for v in pose]
            corners = ", ".join(f"{v:.0f}" for v in box)
            table.add_row(str(number), corners, *angles, f"{score:.2f}")
        console.print(table)
    if raw:
        for exchange in found.exchanges:
            console.print(f"Q: {exchange.prompt}", markup=False, highlight=False, soft_wrap=True)
            console.print(f"A: {exchange.text}", markup=False, highlight=False, soft_wrap=True)


def _print_json(
    results: Sequence[tuple[Path, Detections]],
    failures: Sequence[tuple[Path, HeadsightError]],
    *,
    model: str,
    raw: bool,
) -> None:
    pictures: list[dict[str, Any]] = []
    for _, found in results:
        document = found.to_dict()
        if not raw:
            document["exchanges"] = [
                {k: v for k, v in e.items() if k == "reading"} for e in document["exchanges"]
            ]
        pictures.append(document)
    failed = [{"source": str(p), "error": str(e), "kind": type(e).__name__} for p, e in failures]
    whole = {"schema": SCHEMA, "model": model, "pictures": pictures, "failures": failed}
    sys.stdout.write(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def _progress(total: int, quiet: bool) -> Any:
    from contextlib import contextmanager

    @contextmanager
    def bar() -> Any:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        if quiet or total < 2 or not console.is_terminal:
            yield lambda: None
            return
        with Progress(console=console) as progress:
            task = progress.add_task("pictures", total=total)
            yield lambda: progress.advance(task)

    return bar()
