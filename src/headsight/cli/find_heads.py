"""`headsight find-heads`: which attention heads of a model look at what the words name."""

from __future__ import annotations

__all__ = ["find_heads"]

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer

from headsight.cli import options
from headsight.cli.head_search import beside, chart_path, check_places, run_search, sheet_path
from headsight.cli.written import tell_written

if TYPE_CHECKING:
    from headsight.attention.head_set import HeadSet
    from headsight.attention.selection import SelectionRule
    from headsight.attention.selection_counts import Selection
    from headsight.data.refs import RefSample
    from headsight.models.base import VLM, AttentiveVLM
    from headsight.tasks.looking import Question

_ROWS = 10
"""Heads that are printed."""


def find_heads(
    output: Annotated[Path, typer.Option("--out", help="Write the heads here (JSON).")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="A refs folder or file, a .jsonl file, a COCO .json file, a scenes folder; the"
            " default is rendered where there is none.",
        ),
    ] = "scenes",
    model: options.Model = "nano",
    split: Annotated[str | None, typer.Option("--split", help="Of the data set.")] = None,
    images: options.Images = None,
    number: Annotated[int, typer.Option("--n", min=1, help="Expressions of a draw.")] = 1000,
    trials: Annotated[
        int,
        typer.Option("--trials", min=1, help="Draws; their frequencies are averaged (paper: 5)."),
    ] = 1,
    keep: Annotated[int, typer.Option("--k", min=1, help="Heads that are kept.")] = 3,
    preset: Annotated[
        str,
        typer.Option("--preset", help="paper, or robust: no heads that always look at one place."),
    ] = "paper",
    criteria: Annotated[
        str | None, typer.Option("--criteria", help="both, sum or entropy (paper: both).")
    ] = None,
    tau: Annotated[
        float | None, typer.Option("--tau", help="Attention a head needs; the elbow by default.")
    ] = None,
    sum_filter: Annotated[
        str | None, typer.Option("--sum-filter", help="The elbow of the mean, or per_sample.")
    ] = None,
    weighting: Annotated[
        str | None, typer.Option("--weighting", help="Entropy by area (paper) or by mass.")
    ] = None,
    taken: Annotated[
        int | None, typer.Option("--taken", help="Heads taken in each sample (paper: 10).")
    ] = None,
    skip_layers: Annotated[
        int | None, typer.Option("--skip-layers", help="First layers left out (paper: 2).")
    ] = None,
    views: Annotated[
        str, typer.Option("--views", help="global, or merged: with the tiles of the picture.")
    ] = "global",
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Question with {words}; the words by default.")
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            "--query",
            help="Token that looks: last_text (paper), last_prompt, mean_text, answer (nano).",
        ),
    ] = None,
    kernel: options.Kernel = None,
    sigma: options.Sigma = None,
    choice: Annotated[
        str,
        typer.Option("--choice", help="fixed heads, or greedy: those each picture would choose."),
    ] = "fixed",
    seed: Annotated[int, typer.Option("--seed", help="Of the first draw; then one up each.")] = 0,
    device: options.Device = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace --out and its pictures.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.NoBar = False,
) -> None:
    """Find the localization heads of a model (arXiv 2503.06287), for `ground --heads`.

    Beside --out stand a chart (.png) and a contact sheet of the heads' maps (-maps.png). A killed
    run goes on where it stopped.

    Examples:
      headsight find-heads --model ./llava-1.5-7b --data refcoco/ --split train --out heads.json
      headsight find-heads --data scenes/ --n 500 --skip-layers 1 --taken 3 --out h.json
      headsight find-heads --model ./my-vlm --data instances_val2017.json --n 200 --out heads.json
      headsight find-heads --model ./my-vlm --data refcoco/ --trials 5 --preset robust --out h.json
    """
    from rich.console import Console
    from rich.progress import Progress

    from headsight.attention.head_set import HeadSet
    from headsight.cli.head_samples import read_samples
    from headsight.geometry.heatmaps import gaussian_taps
    from headsight.tasks.finding import Search, draw_samples

    rule = _rule(
        preset, criteria=criteria, tau=tau, sum_filter=sum_filter, weighting=weighting,
        num_low=taken, skip_layers=skip_layers,
    )  # fmt: skip
    for option, value in (("query", query), ("views", views), ("choice", choice)):
        _check_choice(option, value, HeadSet)
    # wrong ones are refused before anything is loaded
    gaussian_taps(1 if kernel is None else kernel, 0 if sigma is None else sigma)
    check_places(output, overwrite=overwrite)
    console = Console(stderr=True)
    with Progress(console=console, disable=quiet or not console.is_terminal) as progress:
        name, samples = read_samples(
            data, split=split, images=images, number=number * trials, seed=seed,
            scenes=beside(output, "-scenes"), progress=progress,
        )  # fmt: skip
        search = Search(draw_samples(len(samples), number, trials=trials, seed=seed), rule)
        vlm = _load(model, device)
        question = _question(vlm, prompt, query, views)
        drawn = [samples[index] for index in search.order]
        seeds = tuple(seed + trial for trial in range(trials))
        found_with = _found_with(vlm, question, name, drawn, seeds)
        settings = {"n": number, "rule": vars(rule), **found_with}
        run_search(vlm, samples, search, question, settings, output, progress)
    selection, std = _summed(search.selections)
    smoothing = _smoothing(vlm, question, drawn, kernel, sigma)
    found = HeadSet.of(
        selection, k=keep, frequency_std=std, choice=choice, **smoothing, **found_with
    )
    _write(found, selection, std, vlm, drawn, output)
    for key, message in search.failures:
        sys.stderr.write(f"headsight: {key}: {message}\n")
    told = json.dumps(found.to_dict(), indent=1) + "\n" if as_json else _told(found, selection)
    sys.stdout.write(told)
    tell_written(output, chart_path(output), sheet_path(output), quiet=quiet)
    if search.failed:
        raise typer.Exit(1)


def _found_with(
    vlm: AttentiveVLM,
    question: Question,
    name: str,
    drawn: Sequence[RefSample],
    seeds: tuple[int, ...],
) -> dict[str, Any]:
    """The fields of a head set that say what its heads were found with."""
    from headsight.attention.head_set import model_fingerprint
    from headsight.data.ref_sample import fingerprint
    from headsight.versions import versions

    return {
        "model": model_fingerprint(vlm.model),
        "model_id": vlm.name,
        "revision": str(getattr(vlm.model.config, "_commit_hash", None) or ""),
        "prompt": question.prompt,
        "query": question.query,
        "opening": question.opening,
        "views": question.views,
        "seeds": seeds,
        "data": f"{name} {fingerprint(drawn)}",
        "versions": versions(),
    }


def _smoothing(
    vlm: AttentiveVLM,
    question: Question,
    drawn: Sequence[RefSample],
    kernel: int | None,
    sigma: float | None,
) -> dict[str, Any]:
    """The fields of a head set that say how its maps are smoothed."""
    from headsight.cli.head_search import seen_kind

    kind = seen_kind(vlm, question, drawn)
    if kind == "regions" and kernel is None and sigma is None:
        kernel, sigma = 1, 0.0  # the boxes that tokens hold have sharp edges, which are kept
    return {
        "view_kind": kind,
        "kernel": 7 if kernel is None else kernel,
        "sigma": 1.0 if sigma is None else sigma,
    }


def _write(
    found: HeadSet,
    selection: Selection,
    std: Any,
    vlm: AttentiveVLM,
    drawn: Sequence[RefSample],
    output: Path,
) -> None:
    """The heads, and the pictures beside them; the state of the search goes.

    Raises:
        InputError: there are no heads to write.
    """
    from headsight.cli.head_search import contact_sheet, state_path, write_picture
    from headsight.draw_heads import draw_selection
    from headsight.errors import InputError

    if not found.heads:
        raise InputError(
            "No head qualifies: every map is flat, or every head looks at one place. Use more"
            " expressions, or --preset paper."
        )
    write_picture(chart_path(output), draw_selection(selection, found.heads, std))
    write_picture(sheet_path(output), contact_sheet(vlm, found, drawn))
    found.save(output)
    state_path(output).unlink(missing_ok=True)


def _rule(preset: str, **changes: Any) -> SelectionRule:
    """The preset, with what was given besides."""
    from headsight.attention.selection import PRESETS, SelectionRule
    from headsight.errors import InputError

    if preset not in PRESETS:
        raise InputError(f"--preset is '{preset}'; expected one of {', '.join(PRESETS)}.")
    given = {name: value for name, value in changes.items() if value is not None}
    for name, value in given.items():
        _check_choice(name, value, SelectionRule)
    return replace(PRESETS[preset], **given)


def _check_choice(name: str, value: Any, holder: type) -> None:
    """Pass if `value` is no word, or one of those that the field `name` of `holder` may be."""
    from headsight.errors import InputError

    if not isinstance(value, str) or value in (known := get_args(get_type_hints(holder)[name])):
        return
    option = name.replace("_", "-")
    raise InputError(f"--{option} is '{value}'; expected one of {', '.join(known)}.")


def _load(model: str, device: str) -> AttentiveVLM:
    from headsight.errors import InputError
    from headsight.models.base import AttentiveVLM, load_vlm

    vlm = load_vlm(model, device=device)
    if not isinstance(vlm, AttentiveVLM):
        raise InputError(f"The attention of '{model}' cannot be looked at. Load it from a folder.")
    return vlm


def _question(vlm: VLM, prompt: str | None, query: str | None, views: str) -> Question:
    """Our own models are asked as they were taught, and look before they say the first number."""
    from headsight.errors import InputError
    from headsight.language.dialects import DIALECTS
    from headsight.language.dialects.opening import opening
    from headsight.models.base import NativeVLM
    from headsight.tasks.looking import PROMPT, Question

    is_ours = not isinstance(vlm, NativeVLM)
    dialect = DIALECTS[vlm.dialect if isinstance(vlm, NativeVLM) else "headsight"]
    token: Any = query or ("answer" if is_ours else "last_text")
    asks = is_ours or token == "answer"
    template = prompt or (dialect.prompt("{words}") if asks else PROMPT)
    if "{words}" not in template:
        raise InputError(f"--prompt is {template!r}, but must hold {{words}}.")
    begun = opening(dialect) if token == "answer" else ""
    chosen: Any = views
    return Question(prompt=template, query=token, opening=begun, views=chosen)


def _summed(selections: list[Selection]) -> tuple[Selection, Any]:
    """Their mean, and the deviation of the frequencies where there are several."""
    from headsight.attention.selection_counts import frequency_spread, mean_selection

    std = frequency_spread(selections)[1] if len(selections) > 1 else None
    return mean_selection(selections), std


def _told(found: HeadSet, selection: Selection) -> str:
    from headsight.attention.selection_counts import diagnose

    draws = f" in each of {len(found.seeds)} draws" if len(found.seeds) > 1 else ""
    lines = [f"{found.n} expressions{draws}; heads of layer, head (from 0):"]
    kept = set(found.heads)
    for row in found.table[:_ROWS]:
        mark = "*" if (row.layer, row.head) in kept else " "
        spread = "" if row.frequency_std is None else f" +- {row.frequency_std:.1%}"
        lines.append(
            f" {mark} {row.layer:3d},{row.head:3d}  taken in {row.frequency:6.1%}{spread}"
            f"  attention on the picture {row.mean_sum:.2f}"
        )
    lines += [
        f"   {note.head[0]},{note.head[1]} {fault}"
        for note in diagnose(selection, found.heads)
        for fault in note.faults
    ]
    able = int(selection.candidates.sum())
    if able <= selection.rule.num_low:
        lines.append(
            f"   all {able} heads that qualify are taken every time, so frequencies tell nothing;"
            " lower --taken"
        )
    return "\n".join(lines) + "\n"
