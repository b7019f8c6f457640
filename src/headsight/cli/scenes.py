"""`headsight scenes`: labelled training pictures with exact truth."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from headsight.errors import InputError

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
        str | None,
        typer.Option(
            "--split",
            help="train or heldout (other people); with --objects seen or unseen (other kinds).",
        ),
    ] = None,
    objects: Annotated[
        bool,
        typer.Option("--objects", help="Animals, things and figures with named keypoints instead."),
    ] = False,
    categories: Annotated[
        list[str] | None,
        typer.Option("--category", help="With --objects: only these kinds; repeatable."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew in a full folder.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Render labelled training pictures: boxes and exact poses of all heads, as JPEG and COCO JSON.

    The first run on a machine bakes the bodies, which takes about a minute. With --objects: dogs,
    chairs, cars, shirts, hands and more, with COCO keypoints and schemas that describe each point.

    Examples:
      headsight scenes --n 100 --out scenes

      headsight scenes --n 5000 --out scenes --assets makehuman --backgrounds photos --resume

      headsight scenes --objects --n 1000 --size 256 --split unseen --out objects-unseen
    """
    write: Callable[..., Path]
    if objects:
        write = _objects(size, split, tuple(categories or ()), tuple(backgrounds or ()))
    elif categories:
        raise InputError("--category chooses among objects. Give --objects too, or leave it out.")
    else:
        from headsight.data.synth import SceneConfig, write_scenes

        config = SceneConfig(
            image_wh=_size(size),
            people=_range(people),
            crowd_share=crowds,
            portrait_share=portraits,
            assets=assets,
            backgrounds=tuple(backgrounds or ()),
            split=_split(split or "train"),
        )
        write = partial(write_scenes, config=config)
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
        target = write(
            out,
            n=n,
            seed=seed,
            workers=min(workers, n),
            overwrite=overwrite,
            resume=resume,
            on_scene=lambda count: progress.update(task, completed=count),
        )
    if as_json:
        count = len(json.loads(target.read_text("utf-8"))["annotations"])
        document = {
            "schema": "headsight.objects/1" if objects else "headsight.scenes/2",
            "annotations": str(target),
            "pictures": n,
            "objects" if objects else "heads": count,
        }
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        sys.stdout.write(f"{target}\n")


def _objects(
    size: str, split: str | None, categories: tuple[str, ...], backgrounds: tuple[Path, ...]
) -> Callable[..., Path]:
    from headsight.data.synth.objects import ObjectsConfig, write_objects

    chosen = split or "seen"
    if chosen not in ("seen", "unseen"):
        raise InputError(
            f"--split is {chosen!r}, but with --objects 'seen' or 'unseen' is expected."
        )
    config = ObjectsConfig(
        image_wh=_size(size),
        split=cast('Literal["seen", "unseen"]', chosen),
        categories=categories,
        backgrounds=backgrounds,
    )
    return partial(write_objects, config=config)


def _size(text: str) -> tuple[int, int]:
    words = text.lower().split("x")
    if len(words) > 2 or not all(w.isdigit() for w in words):
        raise InputError(
            f"--size is {text!r}, but a side such as 448 or a size such as 640x480 is expected."
        )
    return int(words[0]), int(words[-1])


def _range(text: str) -> tuple[int, int]:
    words = text.split("-")
    if len(words) > 2 or not all(w.isdigit() for w in words):
        raise InputError(
            f"--people is {text!r}, but a number such as 3 or a range such as 1-4 is expected."
        )
    return int(words[0]), int(words[-1])


def _split(text: str) -> Literal["train", "heldout"]:
    if text == "train" or text == "heldout":
        return text  # type: ignore[return-value]
    raise InputError(f"--split is {text!r}, but 'train' or 'heldout' is expected.")
