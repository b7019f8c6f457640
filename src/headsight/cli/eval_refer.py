"""`headsight eval refer` and `headsight eval segment`: expressions against labelled pictures."""

from __future__ import annotations

__all__ = ["refer", "segment"]

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsight.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from headsight.data.refs import RefSample, RefSet

Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="refexp_coco_sample, a refs(...).p file, a .jsonl file, or a folder of refs, ReasonSeg"
        " or scenes.",
    ),
]
Split = Annotated[
    str | None, typer.Option("--split", help="val (if not told), train, testA, test, ... or all.")
]
Images = Annotated[
    Path | None, typer.Option("--images", help="Folder of the pictures, if not beside the labels.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first so many expressions.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", help="Write the result here; a journal beside it resumes."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start again and replace --output.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]

_LISTED = 20
"""Most left-out or failed expressions that are listed one by one."""


def refer(
    data: Data,
    model: options.Model = "nano",
    split: Split = None,
    images: Images = None,
    method: options.Method = "auto",
    heads: options.Heads = None,
    k: options.HeadCount = None,
    choice: options.HeadChoice = None,
    kernel: options.Kernel = None,
    sigma: options.Sigma = None,
    segmenter: options.Segmenter = None,
    sam_prompt: options.SamPrompt = "box",
    rec_box: options.RecBox = "attention",
    server: options.Server = None,
    device: options.Device = "auto",
    limit: Limit = None,
    output: Output = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    as_json: options.Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure referring expressions by boxes: Acc at IoU 0.25 to 0.9, bad answers, intervals.

    acc@ and mean_iou are of expressions for one place; set_acc of those for several (all of them
    and no other); n_acc of those for nothing, t_acc of all others: whether that something is
    there is answered rightly. right is the share of all; multi_box the share of those for one
    place that several boxes answer.

    Examples:
      headsight eval refer --data refexp_coco_sample
      headsight eval refer --data refcocog/ --split val --model ./my-vlm --output result.json
      headsight eval refer --data expressions.jsonl --limit 50 --json
      headsight eval refer --data refcoco/ --model ./my-vlm --heads heads.json --k 5 --sigma 0
    """
    reading = {"k": k, "choice": choice, "kernel": kernel, "sigma": sigma}
    _evaluate(
        "refer", data, model=model, split=split, images=images, method=method, heads=heads,
        reading=reading, segmenter=segmenter, sam_prompt=sam_prompt, rec_box=rec_box,
        server=server, device=device, limit=limit, output=output, overwrite=overwrite, seed=seed,
        as_json=as_json, quiet=quiet,
    )  # fmt: skip


def segment(
    data: Data,
    model: options.Model = "nano",
    split: Split = None,
    images: Images = None,
    method: options.Method = "auto",
    heads: options.Heads = None,
    k: options.HeadCount = None,
    choice: options.HeadChoice = None,
    kernel: options.Kernel = None,
    sigma: options.Sigma = None,
    segmenter: options.Segmenter = None,
    sam_prompt: options.SamPrompt = "box",
    rec_box: options.RecBox = "attention",
    server: options.Server = None,
    device: options.Device = "auto",
    limit: Limit = None,
    output: Output = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    as_json: options.Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure referring expressions by masks: cIoU, gIoU, P at IoU 0.5 to 0.9, intervals.

    The masks are those of `headsight ground --mask`: coarse ones without a --segmenter.

    Examples:
      headsight eval segment --data refcoco/ --split testA --model ./my-vlm --output result.json
      headsight eval segment --data ReasonSeg/ --split val --limit 20
      headsight eval segment --data refcoco/ --model ./llava --heads heads.json --segmenter ./sam
    """
    reading = {"k": k, "choice": choice, "kernel": kernel, "sigma": sigma}
    _evaluate(
        "segment", data, model=model, split=split, images=images, method=method, heads=heads,
        reading=reading, segmenter=segmenter, sam_prompt=sam_prompt, rec_box=rec_box,
        server=server, device=device, limit=limit, output=output, overwrite=overwrite, seed=seed,
        as_json=as_json, quiet=quiet,
    )  # fmt: skip


def _evaluate(
    protocol: str,
    data: str,
    *,
    model: str,
    split: str | None,
    images: Path | None,
    method: str,
    heads: Path | None,
    reading: Mapping[str, Any],
    segmenter: str | None,
    sam_prompt: str,
    rec_box: str,
    server: str | None,
    device: str,
    limit: int | None,
    output: Path | None,
    overwrite: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from headsight.attention.head_set import HeadSet
    from headsight.cli.asking import PictureAsker, unpack
    from headsight.cli.journalled import open_journal, plain, run_journalled, versions
    from headsight.cli.masks import mask_options
    from headsight.cli.method import chosen_heads
    from headsight.data.ref_sample import fingerprint
    from headsight.errors import InputError
    from headsight.files import write_atomic
    from headsight.grounder import load

    looking = chosen_heads(method, heads, model, server=server)
    head_set = None if looking is None else HeadSet.load(looking).changed(**reading)
    if looking is None and any(value is not None for value in reading.values()):
        raise InputError("--k, --choice, --kernel and --sigma read attention heads: give --heads.")
    if protocol == "refer" and segmenter is not None and rec_box != "sam":
        raise InputError(
            f"--segmenter {segmenter} changes no box by itself. Add --rec-box sam, or use headsight"
            " eval segment."
        )
    masking = mask_options(
        mask=protocol == "segment", segmenter=segmenter, sam_prompt=sam_prompt, rec_box=rec_box,
        by_heads=looking is not None, device=device,
    )  # fmt: skip
    refs = _read(data, split, images, with_masks=protocol == "segment")
    samples = _by_picture(refs.samples[:limit])
    judge, summarise, rule = _protocol(protocol)
    settings = {
        "protocol": protocol, "data": refs.name, "split": refs.split, "expressions": len(samples),
        "fingerprint": fingerprint(samples), "model": model, "server": server, "method": method,
        "heads": None if head_set is None else head_set.to_dict(),
        "segmenter": segmenter, "sam_prompt": sam_prompt, "rec_box": rec_box,
        "rule": rule, "seed": seed,
    }  # fmt: skip
    opened = (
        nullcontext()
        if output is None
        else closing(open_journal(output, settings, overwrite=overwrite))
    )
    console = Console(stderr=True)
    with opened as journal:
        grounder = load(model, device=device, server=server)
        known = {record.get("id") for record in (journal.records if journal else [])}
        unknown = [s for s in samples if s.id not in known]
        ask = PictureAsker(grounder, unknown, heads=head_set, masking=masking)

        with Progress(console=console, disable=quiet or not console.is_terminal) as progress:
            outcome = run_journalled(
                [(s.id, s) for s in samples],
                ask,
                lambda sample, record: (sample.id, judge(unpack(record, sample), sample)),
                journal=journal,
                progress=progress,
                what="expressions",
            )
    judged = [one for _, one in outcome.judged]
    first = outcome.first or {"exchanges": []}
    result = {
        "schema": f"headsight.eval-{protocol}/1",
        "settings": settings,
        "versions": versions(),
        "prompt": first["exchanges"][0]["prompt"] if first["exchanges"] else None,
        "seconds_per_expression": _median(outcome.seconds),
        "figures": plain(summarise(judged, seed=seed)),
        **_items(protocol, judged, [name for name, _ in outcome.judged]),
        "notes": list(refs.notes),
        "left_out": {
            "expressions": len(refs.problems),
            "first": [p._asdict() for p in refs.problems[:_LISTED]],
        },
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
    if outcome.failures or refs.problems:
        raise typer.Exit(1 if outcome.judged else 3)


def _read(data: str, split: str | None, images: Path | None, *, with_masks: bool) -> RefSet:
    """The expressions; with masks only those that have one, before a model is asked in vain."""
    from dataclasses import replace

    from headsight.cli.scene_expressions import scene_expressions
    from headsight.data.refs import Problem, read_refs
    from headsight.errors import AnnotationError

    refs = read_refs(data, split=split, images=images, expressions=scene_expressions)
    if not with_masks:
        return refs
    if not any(s.regions for s in refs.samples):
        raise AnnotationError(
            f"{refs.name} has no masks. Use headsight eval refer, or labels with segmentation."
        )
    bare = [Problem(s.id, "It has no true mask.") for s in refs.samples if not s.has_mask]
    usable = tuple(s for s in refs.samples if s.has_mask)
    return replace(refs, samples=usable, problems=(*refs.problems, *bare))


def _protocol(name: str) -> tuple[Callable[..., Any], Callable[..., dict[str, Any]], str]:
    if name == "refer":
        from headsight.eval import refer as boxes

        return boxes.judge_refer, boxes.summarise_refer, boxes.RULE
    from headsight.eval import segment as masks

    return masks.judge_segment, masks.summarise_segment, masks.RULE


def _items(protocol: str, judged: list[Any], names: list[str]) -> dict[str, Any]:
    """Scores of every expression by boxes, so that two results can be compared in pairs."""
    if protocol != "refer":
        return {}
    from headsight.eval.item_scores import refer_scores

    scores = refer_scores(judged, names)
    return {"items": {name: one.to_dict() for name, one in scores.items()}}


def _by_picture(samples: tuple[RefSample, ...]) -> list[RefSample]:
    """All expressions about a picture one after the other."""
    grouped: dict[Path, list[RefSample]] = {}
    for sample in samples:
        grouped.setdefault(sample.image, []).append(sample)
    return [sample for group in grouped.values() for sample in group]


def _median(values: list[float]) -> float:
    import numpy as np

    return float(np.median(values)) if values else float("nan")


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    figures, settings = result["figures"], result["settings"]
    where = " ".join(part for part in (settings["data"], settings["split"]) if part)
    title = f"{where}: {figures['expressions']} expressions"
    table = Table(title=title, caption="\n".join(result["notes"]) or None)
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, value in figures.items():
        if isinstance(value, float):
            span = figures["interval"].get(name)
            table.add_row(name, _cell(value), f"{span[0]:.3f} to {span[1]:.3f}" if span else "")
    answers = figures["answers"]
    if answers["asked"]:
        table.add_row("answers that cannot be used", f"{answers['invalid']:.3f}", "")
    for name, number in answers["failures"].items():
        table.add_row(f"  {name}", str(number), "")
    for name, number in figures.get("mask_kinds", {}).items():
        table.add_row(f"masks: {name}", str(number), "")
    table.add_row("seconds an expression (median)", f"{result['seconds_per_expression']:.2f}", "")
    left_out = result["left_out"]["expressions"] + len(result["failures"])
    if left_out:
        table.add_row("left out", str(left_out), "")
    console = Console()
    console.print(table)
    console.print(_group_table(figures))


def _group_table(figures: dict[str, Any]) -> Table:
    """One row a category, type, size and number of places."""
    from rich.table import Table

    groups = [
        (title.removeprefix("by_"), name, row)
        for title in ("by_target", "by_size", "by_type", "by_category")
        for name, row in figures[title].items()
    ]
    columns = list(groups[0][2]) if groups else []
    table = Table(title="groups")
    for column in ("group", "of"):
        table.add_column(column)
    for column in columns:
        table.add_column(column, justify="right")
    for title, name, row in groups:
        cells = [f"{v:.0f}" if k == "expressions" else _cell(v) for k, v in row.items()]
        table.add_row(name, title, *cells)
    return table


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
