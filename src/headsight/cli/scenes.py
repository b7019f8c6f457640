"""`headsight scenes`: labelled training pictures with exact truth."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["scenes"]


def scenes(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many pictures.")] = 100,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Another seed gives other pictures.")
    ] = 0,
    size: Annotated[str, typer.Option("--size", help="Side in px, or WIDTHxHEIGHT.")] = "448",
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes; 0 renders in this one.")
    ] = 2,
    people: Annotated[str, typer.Option("--people", help="Fewest-most people of a group.")] = "1-4",
    crowds: Annotated[float, typer.Option("--crowds", min=0, max=1, help="Share of crowds.")] = 0.2,
    portraits: Annotated[
        float, typer.Option("--portraits", min=0, max=1, help="Share of close-ups.")
    ] = 0.25,
    assets: Annotated[
        Path | None, typer.Option("--assets", help="MakeHuman-format folder: skins, hair, clothes.")
    ] = None,
    backgrounds: Annotated[
        list[Path] | None,
        typer.Option("--backgrounds", help="Pictures without people; repeatable."),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="train or heldout (other people).")
    ] = "train",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew in a full folder.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Render labelled training pictures: boxes and exact poses of all heads, as JPEG and COCO JSON.

    The first run on a machine bakes the bodies, which takes about a minute.

    Examples:
      headsight scenes --n 100 --out scenes

      headsight scenes --n 5000 --out scenes --assets makehuman --backgrounds photos --resume
    """
    from headsight.data.synth import SceneConfig, write_scenes

    config = SceneConfig(
        image_wh=_size(size),
        people=_range(people),
        crowd_share=crowds,
        portrait_share=portraits,
        assets=assets,
        backgrounds=tuple(backgrounds or ()),
        split=_split(split),
    )
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("scenes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("scenes", total=n)
        target = write_scenes(
            out,
            config,
            n,
            seed=seed,
            workers=min(workers, n),
            overwrite=overwrite,
            resume=resume,
            on_scene=lambda count: progress.update(task, completed=count),
        )
    if as_json:
        heads = len(json.loads(target.read_text("utf-8"))["annotations"])
        document = {
            "schema": "headsight.scenes/2",
            "annotations": str(target),
            "pictures": n,
            "heads": heads,
        }
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        sys.stdout.write(f"{target}\n")


def _size(text: str) -> tuple[int, int]:
    from headsight.errors import InputError

    words = text.lower().split("x")
    if len(words) > 2 or not all(w.isdigit() for w in words):
        raise InputError(
            f"--size is {text!r}, but a side such as 448 or a size such as 640x480 is expected."
        )
    return int(words[0]), int(words[-1])


def _range(text: str) -> tuple[int, int]:
    from headsight.errors import InputError

    words = text.split("-")
    if len(words) > 2 or not all(w.isdigit() for w in words):
        raise InputError(
            f"--people is {text!r}, but a number such as 3 or a range such as 1-4 is expected."
        )
    return int(words[0]), int(words[-1])


def _split(text: str) -> Literal["train", "heldout"]:
    from headsight.errors import InputError

    if text == "train" or text == "heldout":
        return text  # type: ignore[return-value]
    raise InputError(f"--split is {text!r}, but 'train' or 'heldout' is expected.")
