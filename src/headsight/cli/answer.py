"""What the asking commands share: many pictures in, results out, one bad picture harms no other."""

from __future__ import annotations

__all__ = ["answer_pictures"]

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from headsight.errors import HeadsightError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from headsight.detections import Detections
    from headsight.grounder import Grounder
    from headsight.picture import Picture

Ask = Callable[["Grounder", "Picture"], "Detections"]

LOG = logging.getLogger(__name__)
_JPEG_QUALITY = 92


def answer_pictures(
    arguments: Sequence[str],
    ask: Ask,
    *,
    model: str,
    device: str,
    quantize: int | None,
    server: str | None = None,
    dialect: str | None = None,
    as_json: bool,
    raw: bool,
    save: Path | None,
    overwrite: bool,
    quiet: bool,
    verbose: bool,
    drawn: Callable[[Detections], Image] | None = None,
) -> None:
    """Ask about every picture; a bad one is reported and the others go on.

    `drawn` makes the picture that is saved, where it is not the usual one.

    Raises:
        typer.Exit: 1 where some pictures failed; where all did, 3, or 2 if the question was wrong.
        HeadsightError: nothing can be asked at all (no picture, no model, a place to save that
            may not be written).
    """
    from headsight.cli.show import results_json, table, transcript
    from headsight.picture import expand_sources, open_picture

    level = logging.INFO if verbose else logging.ERROR
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)  # what others say at their own level, they write themselves
    logging.basicConfig(level=level, handlers=[handler], format="%(name)s %(message)s")
    for argument in arguments:
        if "://" in argument:
            open_picture(argument)  # tells that addresses are not fetched; a path would not
    paths = expand_sources(arguments)
    targets = _targets(paths, save, overwrite)
    session = _Session(model, device=device, quantize=quantize, server=server, dialect=dialect)
    documents: list[dict[str, Any]] = []
    failures: list[tuple[Path, HeadsightError]] = []
    with _progress(len(paths), quiet) as advance:
        for path, target in zip(paths, targets, strict=True):
            found = session.try_to_answer(path, ask)
            if not isinstance(found, HeadsightError) and target is not None:
                found = _try_to_save(found, target, quiet=quiet, drawn=drawn)
            if isinstance(found, HeadsightError):
                failures.append((path, found))
                prefix = "" if len(paths) == 1 or str(path) in str(found) else f"{path}: "
                sys.stderr.write(f"headsight: {prefix}{found}\n")
            elif as_json:
                documents.append(found.to_dict())
            else:
                sys.stdout.write("" if quiet else table(str(path), found))
                sys.stdout.write(transcript(found) if raw else "")
            advance()
    if as_json:
        reports = [
            {"source": str(path), "kind": type(error).__name__, "error": str(error)}
            for path, error in failures
        ]
        sys.stdout.write(results_json(documents, reports, model=session.name, raw=raw))
    if failures:
        raise typer.Exit(_exit_code(failures, len(paths)))


class _Session:
    """The model, loaded when the first picture has been opened."""

    def __init__(self, model: str, **options: Any) -> None:
        self._model, self._options = model, options
        self._grounder: Grounder | None = None

    @property
    def name(self) -> str | None:
        """Of the model that answered; None where none had to be loaded."""
        return None if self._grounder is None else self._grounder.vlm.name

    def try_to_answer(self, path: Path, ask: Ask) -> Detections | HeadsightError:
        """What was found, or what is wrong with this picture.

        Raises:
            HeadsightError: the model cannot be loaded.
        """
        from headsight.picture import open_picture

        try:
            picture = open_picture(path)
        except HeadsightError as error:
            return error
        if self._grounder is None:
            from headsight.grounder import load

            began = time.perf_counter()
            self._grounder = load(self._model, **self._options)
            seconds = time.perf_counter() - began
            LOG.info("event=loaded model=%s seconds=%.2f", self._grounder.vlm.name, seconds)
        began = time.perf_counter()
        try:
            found = ask(self._grounder, picture)
        except HeadsightError as error:
            return error
        seconds = time.perf_counter() - began
        LOG.info("event=answered picture=%s places=%d seconds=%.2f", path, len(found), seconds)
        return found


def _exit_code(failures: Sequence[tuple[Path, HeadsightError]], pictures: int) -> int:
    if len(failures) < pictures:
        return 1
    return 2 if all(isinstance(error, InputError) for _, error in failures) else 3


def _targets(paths: Sequence[Path], save: Path | None, overwrite: bool) -> list[Path | None]:
    """Where each drawn picture goes.

    Raises:
        InputError: a place that may not be written.
    """
    if save is None:
        return [None] * len(paths)
    from headsight.picture import PICTURE_SUFFIXES

    if len(paths) == 1 and not save.is_dir() and not str(save).endswith(os.sep):
        targets = [save]
    elif save.is_file() or save.suffix.lower() in PICTURE_SUFFIXES:
        raise InputError(
            f"--save {save} is one file, but there are {len(paths)} pictures. Give a folder."
        )
    else:
        targets = _names_in(save, paths)
    sources = {path.resolve() for path in paths}
    for target in targets:
        if target.suffix.lower() not in PICTURE_SUFFIXES:
            raise InputError(
                f"--save {target} does not end like a picture. Use .png or .jpg, or a folder"
                f" ({save}{os.sep})."
            )
        if target.resolve() in sources:
            raise InputError(
                f"--save would replace the picture {target} itself. Choose another folder or name."
            )
        if target.exists() and not overwrite:
            raise InputError(f"{target} exists. Choose another --save, or give --overwrite.")
    return list(targets)


def _names_in(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """A name for each picture: its own, numbered where several share one (a.jpg and a.png)."""
    taken: set[str] = set()
    targets = []
    for path in paths:
        name, number = path.stem, 1
        while name in taken:
            number += 1
            name = f"{path.stem}-{number}"
        taken.add(name)
        targets.append(folder / f"{name}.png")
    return targets


def _try_to_save(
    found: Detections,
    target: Path,
    *,
    quiet: bool,
    drawn: Callable[[Detections], Image] | None,
) -> Detections | HeadsightError:
    """`found`, once its drawn picture lies at `target`."""
    import io

    from PIL.Image import registered_extensions

    from headsight.cli.written import tell_written
    from headsight.files import write_atomic

    buffer = io.BytesIO()
    kind = registered_extensions()[target.suffix.lower()]
    image = found.draw() if drawn is None else drawn(found)
    image.save(buffer, kind, **({"quality": _JPEG_QUALITY} if kind == "JPEG" else {}))
    try:
        write_atomic(target, buffer.getvalue())
    except OSError as error:
        return HeadsightError(f"{target} cannot be written: {error.strerror}. Check --save.")
    tell_written(target, quiet=quiet)
    return found


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar on stderr for several pictures, where stderr is a terminal; gives what advances it."""
    if quiet or total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("pictures", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # redirected, stdout would end up on stderr: only do so where both are the same terminal
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as progress:
        task = progress.add_task("pictures", total=total)
        yield lambda: progress.advance(task)
