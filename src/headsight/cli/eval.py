"""`headsight eval heads`: boxes and poses against labelled pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsight.cli import options
from headsight.errors import HeadsightError

if TYPE_CHECKING:
    from headsight.data.heads import HeadSample

__all__ = ["heads"]

_COUNTS = ("heads", "posed_heads")


def heads(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="aflw2000_sample, panoptic_sample, hardhat_workers, a COCO file or a folder.",
        ),
    ],
    model: options.Model = "nano",
    device: options.Device = "auto",
    limit: options.Limit = None,
    words: Annotated[
        str | None,
        typer.Option("--words", help="Ask for these instead of what the data set is labelled for."),
    ] = None,
    boxes_from: options.BoxesFrom = None,
    constrain: options.Constrain = False,
    min_size: Annotated[
        float, typer.Option("--min-size", help="Heads with a smaller side, px, count neither way.")
    ] = 0.0,
    output: options.Output = None,
    overwrite: options.StartAgain = False,
    seed: options.BootstrapSeed = 0,
    as_json: options.Json = False,
    quiet: options.NoBar = False,
) -> None:
    """Measure heads: AP50, recall by size, pose errors, unreadable answers, intervals.

    Names stand for folders of the directory that the variable HEADSIGHT_DATA names. Angles are in
    degrees, of the heads that were found; over_90 is the share that errs by more than 90 degrees,
    narrow_mae is of heads with a yaw below 99, mae_penalised counts 90 for each head that was
    missed. A crop regressor is given the true boxes, or with --boxes-from those that another model
    finds; any other model finds its own if not told otherwise.

    Examples:
      headsight eval heads --data aflw2000_sample
      headsight eval heads --data scenes-heldout/ --output result.json
      headsight eval heads --data hardhat_workers --limit 50 --json
      headsight eval heads --data scenes-heldout/ --model ./my-regressor --boxes-from nano
    """
    from dataclasses import replace

    import numpy as np

    from headsight.cli.given_boxes import OWN, box_source
    from headsight.cli.journalled import plain
    from headsight.cli.written import tell_written
    from headsight.data.heads import read_heads
    from headsight.eval.heads import summarise
    from headsight.eval.item_scores import head_scores
    from headsight.files import write_atomic
    from headsight.versions import versions

    samples = read_heads(data)[:limit]
    if min_size:
        small = [(s.boxes[:, 2:] - s.boxes[:, :2]).min(1) < min_size for s in samples]
        samples = [
            replace(
                s,
                boxes=s.boxes[~t],
                rotations=s.rotations[~t],
                ignore=np.concatenate([s.ignore, s.boxes[t]]),
            )
            for s, t in zip(samples, small, strict=True)
        ]
    if words is not None:
        samples = [replace(s, words=words) for s in samples]
    settings = {
        "data": data, "model": model, "limit": limit, "words": words,
        "constrain": constrain, "min_size": min_size, "seed": seed,
    }  # fmt: skip
    if (source := box_source(model, boxes_from)) != OWN:
        settings["boxes_from"] = source
    named, failures, seconds = _run(
        samples, settings, device=device, output=output, overwrite=overwrite, quiet=quiet
    )
    judged = [one for _, one in named]
    items = head_scores(judged, [name for name, _ in named])
    result = {
        "schema": "headsight.eval-heads/1",
        "settings": settings,
        "versions": versions(),
        "seconds_per_picture": seconds,
        "figures": plain(summarise(judged, seed=seed)),
        "items": {name: scores.to_dict() for name, scores in items.items()},
        "failures": failures,
    }
    text = json.dumps(result, indent=1)
    if output is not None:
        write_atomic(output, text.encode() + b"\n")
        tell_written(output, quiet=quiet)
    if as_json:
        sys.stdout.write(text + "\n")
    else:
        _show(result)
    if failures:
        raise typer.Exit(1 if judged else 3)


def _run(
    samples: list[HeadSample],
    settings: dict[str, Any],
    *,
    device: str,
    output: Path | None,
    overwrite: bool,
    quiet: bool,
) -> tuple[list[Any], list[dict[str, str]], float]:
    """Judge every picture, by name; what a journal beside `output` holds is not asked again."""
    import time

    import numpy as np
    from rich.console import Console
    from rich.progress import Progress

    from headsight.cli.given_boxes import OWN, HeadAsker
    from headsight.cli.head_records import pack_heads, unpack_heads
    from headsight.data.heads import picture_name
    from headsight.errors import InputError, ResumeError
    from headsight.eval.heads import judge
    from headsight.files import Journal

    journal = None
    done: dict[str, dict[str, Any]] = {}
    if output is not None:
        path = output.with_name(output.name + ".journal")
        if output.exists() and not overwrite:
            raise InputError(f"{output} exists. Choose another --output, or give --overwrite.")
        if overwrite and path.exists():
            path.unlink()
        journal = Journal(path)
        if not journal.records:
            journal.add({"settings": settings})
        if journal.records[0].get("settings") != settings:
            raise ResumeError(
                f"{path} was made with other settings. Give --overwrite to start again."
            )
        done = {r["image"]: r for r in journal.records[1:]}
    ask = HeadAsker(
        str(settings["model"]),
        str(settings.get("boxes_from", OWN)),
        device=device,
        constrain=bool(settings["constrain"]),
    )
    judged, failures, times = [], [], []
    console = Console(stderr=True)
    with Progress(console=console, disable=quiet or not console.is_terminal) as progress:
        for sample in progress.track(samples, description="pictures"):
            key = str(sample.image)
            try:
                if key not in done:
                    began = time.perf_counter()
                    found = ask(sample)
                    record = {
                        "image": key,
                        "seconds": time.perf_counter() - began,
                        **pack_heads(found),
                    }
                    done[key] = record
                    if journal is not None:
                        journal.add(record)
                times.append(float(done[key]["seconds"]))
                found = unpack_heads(done[key], sample.image_wh)
                judged.append(
                    (picture_name(sample), judge(found, sample, min_size=settings["min_size"]))
                )
            except HeadsightError as error:
                failures.append({"image": key, "error": str(error)})
    if journal is not None:
        journal.close()
    return judged, failures, float(np.median(times)) if times else float("nan")


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    figures = result["figures"]
    settings = result["settings"]
    given = f", boxes from {settings['boxes_from']}" if "boxes_from" in settings else ""
    table = Table(title=f"{settings['data']}: {figures['pictures']} pictures{given}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, value in figures.items():
        if isinstance(value, dict) or name == "pictures" or value is None:
            continue
        span = figures.get("interval", {}).get(name)
        table.add_row(
            name,
            f"{value:.0f}" if name in _COUNTS else f"{value:.3f}",
            "" if not span else f"{span[0]:.3f} to {span[1]:.3f}",
        )
    for name, row in figures["recall_by_size"].items():
        if row["recall"] is not None:
            table.add_row(f"recall, {name} ({row['heads']:.0f})", f"{row['recall']:.3f}", "")
    for kind, row in figures["answers"].items():
        title = f"{kind}: answers not well-formed ({row['asked']})"
        table.add_row(title, f"{row['not_strict']:.1%}", "")
    table.add_row("seconds a picture (median)", f"{result['seconds_per_picture']:.2f}", "")
    Console().print(table)
