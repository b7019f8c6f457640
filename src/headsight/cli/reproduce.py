"""`headsight reproduce`: run what stands in the repository's folder of reproductions."""

from __future__ import annotations

__all__ = ["at_once", "in_processes", "reproduce", "run_headsight"]

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from headsight.errors import InputError

T = TypeVar("T")


def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Folder below reproductions/.")
    ] = None,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="OPTIONS", help="The reproduction's own.")
    ] = None,
) -> None:
    """Run a paper's reproduction: recipe, measured table beside the published one.

    Without a name all are listed; what stands behind the name are its own options. The
    scripts belong to the repository: run this in a clone of it.

    Examples:
      headsight reproduce
      headsight reproduce hpe-cogvlm --quick
      headsight reproduce hpe-cogvlm -- --help
    """
    folder = _folder()
    known = sorted(path.parent.name for path in folder.glob("*/reproduce.py"))
    if name is None:
        typer.echo("\n".join(known))
        return
    if name not in known:
        raise InputError(f"No reproduction is called '{name}'. Known: {', '.join(known)}.")
    script = folder / name / "reproduce.py"
    finished = subprocess.run([sys.executable, str(script), *(words or ())], check=False)
    raise typer.Exit(finished.returncode)


def _folder() -> Path:
    """Beside the sources, or in the working folder.

    Raises:
        InputError: neither is there.
    """
    beside = Path(__file__).parents[3] / "reproductions"
    for folder in (Path("reproductions"), beside):
        if folder.is_dir():
            return folder
    raise InputError(
        f"There is no folder reproductions here or at {beside}. Clone the repository and run this"
        " inside it."
    )


def run_headsight(*words: str) -> None:
    """Run a command in a process of its own, on one thread; its messages are shown.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "headsight", *words], check=True, env=environment)


def at_once(tasks: Sequence[Callable[[], T]], jobs: int) -> list[T]:
    """The results of all tasks, so many of which run at once, in threads: they start processes.

    Raises:
        subprocess.CalledProcessError: a process failed; the other tasks are done first.
    """
    with ThreadPoolExecutor(jobs) as pool:
        begun = [pool.submit(task) for task in tasks]
    return [one.result() for one in begun]


def in_processes(commands: Sequence[Sequence[str]], jobs: int) -> None:
    """So many commands at once.

    Raises:
        subprocess.CalledProcessError: one failed; the others are done first.
    """
    at_once([partial(run_headsight, *words) for words in commands], jobs)
