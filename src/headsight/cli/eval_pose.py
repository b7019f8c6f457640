"""`headsight eval pose`: how a model asked about whole pictures tells head poses."""

from __future__ import annotations

__all__ = ["pose"]

import json
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from headsight.cli import options

if TYPE_CHECKING:
    from headsight.data.heads import HeadSample

_LISTED = 20
"""Most failed pictures that are listed one by one."""
_SHOWN = {
    "heads": "heads",
    "unread": "heads without a readable pose",
    "yaw": "yaw",
    "pitch": "pitch",
    "roll": "roll",
    "mae": "MAE",
    "geodesic_mean": "geodesic, mean",
    "geodesic_median": "geodesic, median",
    "geodesic_p90": "geodesic, 90 % below",
    "over_90": "share beyond 90 degrees",
    "mae_penalised": "MAE, each without a pose 90",
    "geodesic_penalised": "geodesic, each without a pose 90",
}


def pose(
    data: Annotated[
        str,
        typer.Option("--data", help="aflw2000_sample, panoptic_sample, a COCO file or a folder."),
    ],
    model: options.Model = "nano",
    boxes: Annotated[
        str,
        typer.Option("--boxes", help="gt: ask in the true boxes; own: in those the model finds."),
    ] = "gt",
    constrain: options.Constrain = False,
    device: options.Device = "auto",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first so many pictures.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write the result here; a journal beside it resumes."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again and replace --output.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")] = 0,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Measure head poses: errors on readable answers, bad answers by kind, and both together.

    Errors are in degrees, over all yaws (full) and below 90 (narrow). They are of answers that
    could be read; in the penalised ones every other answer, and with --boxes own every missed
    head, counts 90. Boxes are matched one to one at IoU 0.5. A crop regressor tells poses in true
    boxes only.

    Examples:
      headsight eval pose --data aflw2000_sample
      headsight eval pose --data scenes-heldout/ --boxes own --output result.json
      headsight eval pose --data scenes-heldout/ --model ./my-regressor --json
    """
    from headsight.cli.journalled import open_journal, plain, run_journalled
    from headsight.cli.probes import HeadProbe, fingerprint_heads, progress_on_stderr
    from headsight.data.heads import read_heads
    from headsight.errors import InputError
    from headsight.eval.vlm_headpose import BoxChoice, judge_poses, pose_items, summarise_poses
    from headsight.files import write_atomic
    from headsight.grounder import load
    from headsight.versions import versions

    if boxes not in get_args(BoxChoice):
        raise InputError(f"--boxes is {boxes!r}; expected gt or own.")
    samples = read_heads(data)[:limit]
    _require_poses(samples, data)
    settings = {
        "data": data, "fingerprint": fingerprint_heads(samples), "model": model, "boxes": boxes,
        "constrain": constrain, "limit": limit, "seed": seed,
    }  # fmt: skip
    opened = (
        nullcontext()
        if output is None
        else closing(open_journal(output, settings, overwrite=overwrite))
    )
    with opened as journal:
        probe = HeadProbe(load(model, device=device), boxes=boxes, constrain=constrain)
        with progress_on_stderr(quiet) as progress:
            outcome = run_journalled(
                [(str(s.image), s) for s in samples],
                probe,
                lambda sample, record: judge_poses(
                    probe.answers(record, sample), sample, boxes=probe.boxes
                ),
                journal=journal,
                progress=progress,
                what="pictures",
            )
    items = pose_items(outcome.judged)
    result = {
        "schema": "headsight.eval-pose/1",
        "settings": settings,
        "versions": versions(),
        "seconds_per_picture": sum(outcome.seconds) / max(len(outcome.seconds), 1),
        "figures": plain(summarise_poses(outcome.judged, seed=seed)),
        "items": {name: scores.to_dict() for name, scores in items.items()},
        "failures": outcome.failures,
    }
    text = json.dumps(plain(result), indent=1)
    if output is not None:
        write_atomic(output, text.encode() + b"\n")
    if as_json:
        sys.stdout.write(text + "\n")
    else:
        _show(result)
    for failure in outcome.failures[:_LISTED]:
        sys.stderr.write(f"headsight: {failure['id']}: {failure['error']}\n")
    if outcome.failures:
        raise typer.Exit(1 if outcome.judged else 3)


def _require_poses(samples: list[HeadSample], data: str) -> None:
    import numpy as np

    from headsight.errors import AnnotationError

    if not any(np.isfinite(s.rotations).all((1, 2)).any() for s in samples):
        raise AnnotationError(
            f"{data} labels no head pose. Use headsight eval heads, or data with head_pose."
        )


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    figures, settings = result["figures"], result["settings"]
    pose, boxes = figures["pose"], figures["boxes"]
    whose = "true boxes" if settings["boxes"] == "gt" else "the model's own boxes"
    table = Table(title=f"{settings['data']}: {figures['pictures']} pictures, poses in {whose}")
    for column in ("figure", "full", "narrow", "95 % interval (full)"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, title in _SHOWN.items():
        span = pose["interval"].get(name)
        cells = [_cell(name, pose[part][name]) for part in ("full", "narrow")]
        table.add_row(title, *cells, f"{span[0]:.2f} to {span[1]:.2f}" if span else "")
    table.add_row("heads that no box found", str(pose["missed"]), "", "")
    for name in ("recall", "precision", "mean_iou", "mean_iou_penalised") if boxes else ():
        span = boxes["interval"].get(name)
        text = f"{span[0]:.3f} to {span[1]:.3f}" if span else ""
        table.add_row(f"boxes: {name}", _cell(name, boxes[name], digits=3), "", text)
    table.add_row("seconds a picture", f"{result['seconds_per_picture']:.2f}", "", "")
    console = Console()
    console.print(table)
    if figures["invalid"]:
        console.print(_answer_table(figures))


def _answer_table(figures: dict[str, Any]) -> Any:
    """One row a kind of question: rates, then what was answered to it."""
    from rich.table import Table

    kinds = sorted({kind for row in figures["confusion"].values() for kind in row})
    table = Table(title="answers, and what was answered to what")
    for column in ("asked", "answers", "strict invalid", "invalid", "swapped", "blended", *kinds):
        table.add_column(column, justify="left" if column == "asked" else "right")
    for asked, report in figures["invalid"].items():
        rates = (f"{report[n]:.1%}" for n in ("strict_invalid", "invalid", "swapped", "blended"))
        said = (str(figures["confusion"][asked].get(kind, 0)) for kind in kinds)
        table.add_row(asked, str(report["asked"]), *rates, *said)
    return table


def _cell(name: str, value: float | None, *, digits: int = 2) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if name in ("heads", "unread") else f"{value:.{digits}f}"
