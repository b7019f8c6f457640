"""`headsight find-heads`: which attention heads of a model look at what the words name."""

from __future__ import annotations

__all__ = ["find_heads"]

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsight.cli import options

if TYPE_CHECKING:
    from headsight.attention.head_set import HeadSet
    from headsight.attention.selection import SelectionRule
    from headsight.attention.selection_counts import SelectionCounts
    from headsight.data.refs import RefSample
    from headsight.models.base import VLM
    from headsight.picture import Picture

_EVERY = 25
"""Samples after which the counts are written, for a run that goes on after a kill."""


def find_heads(
    data: Annotated[
        str,
        typer.Option("--data", help="Pictures with expressions: as for `eval refer`."),
    ],
    output: Annotated[Path, typer.Option("--out", help="Write the heads here (JSON).")],
    model: options.Model = "nano",
    split: Annotated[str | None, typer.Option("--split", help="Of the data set.")] = None,
    number: Annotated[int, typer.Option("--n", help="Expressions that are drawn.")] = 1000,
    keep: Annotated[int, typer.Option("--k", help="Heads that are kept.")] = 3,
    preset: Annotated[
        str,
        typer.Option("--preset", help="paper, or robust: no heads that always look at one place."),
    ] = "paper",
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Question with {words}; the words by default.")
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            "--query", help="Token that looks: last_text, last_prompt, mean_text or answer."
        ),
    ] = None,
    skip_layers: Annotated[
        int | None, typer.Option("--skip-layers", help="First layers that are not candidates (2).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
    device: options.Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Find the localization heads of a model (arXiv 2503.06287), for `ground --heads`.

    Beside --out stands a chart (.png). A killed run goes on where it stopped.

    Examples:
      headsight find-heads --model ./llava-1.5-7b --data refcoco/ --split train --out heads.json
      headsight find-heads --data scenes/ --n 500 --skip-layers 1 --out nano-heads.json
    """
    from dataclasses import asdict, replace

    from headsight.attention.head_set import QUERIES, HeadSet, model_fingerprint
    from headsight.attention.selection import PRESETS
    from headsight.cli.journalled import versions
    from headsight.draw_heads import draw_selection
    from headsight.errors import InputError
    from headsight.models.base import AttentiveVLM, load_vlm

    if preset not in PRESETS:
        raise InputError(f"--preset is '{preset}'; expected one of {', '.join(PRESETS)}.")
    if query not in (None, *QUERIES):
        raise InputError(f"--query is '{query}'; expected one of {', '.join(QUERIES)}.")
    rule = PRESETS[preset]
    if skip_layers is not None:
        rule = replace(rule, skip_layers=skip_layers)
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists. Choose another --out, or give --overwrite.")
    samples = _drawn(data, split, number, seed)
    vlm = load_vlm(model, device=device)
    if not isinstance(vlm, AttentiveVLM):
        raise InputError(f"The attention of '{model}' cannot be looked at. Load it from a folder.")
    template, token, opening = _question(vlm, prompt, query)
    settings = {
        "data": data, "split": split, "n": number, "seed": seed, "rule": asdict(rule),
        "prompt": template, "query": token, "opening": opening,
        "model": model_fingerprint(vlm.model),
    }  # fmt: skip
    counts, failures = _count(vlm, samples, settings, output, rule=rule, quiet=quiet)
    selection = counts.selection()
    found = HeadSet.of(
        selection,
        model=str(settings["model"]),
        k=keep,
        model_id=vlm.name,
        prompt=template,
        query=token,
        opening=opening,
        seeds=(seed,),
        data=f"{data}:{split or ''}:{len(samples)}",
        versions=versions(),
        **_reading(vlm, samples, template),
    )
    found.save(output)
    draw_selection(selection, found.heads).save(output.with_suffix(".png"))
    _state_path(output).unlink(missing_ok=True)
    for name, message in failures:
        sys.stderr.write(f"headsight: {name}: {message}\n")
    sys.stdout.write(json.dumps(found.to_dict(), indent=1) + "\n" if as_json else _told(found))
    if failures:
        raise typer.Exit(1)


def _drawn(data: str, split: str | None, number: int, seed: int) -> list[RefSample]:
    import numpy as np

    from headsight.cli.scene_expressions import scene_expressions
    from headsight.data.refs import read_refs
    from headsight.errors import InputError

    refs = read_refs(data, split=split, expressions=scene_expressions)
    named = [s for s in refs.samples if not s.is_none]
    if not named or number < 1:
        raise InputError(
            f"{data} holds {len(named)} expressions that name something, and --n is {number}."
            " At least one of each is needed."
        )
    order = np.random.default_rng(seed).permutation(len(named))[:number]
    return [named[i] for i in order]


def _question(vlm: VLM, prompt: str | None, query: str | None) -> tuple[str, Any, str]:
    """Template, token that looks, and how the answer begins.

    Our own models are asked as they were taught, and look before they say the first number.
    """
    from headsight.errors import InputError
    from headsight.language.dialects import DIALECTS
    from headsight.language.dialects.opening import opening
    from headsight.models.base import NativeVLM
    from headsight.tasks.looking import PROMPT

    is_ours = not isinstance(vlm, NativeVLM)
    dialect = DIALECTS[vlm.dialect if isinstance(vlm, NativeVLM) else "headsight"]
    token = query or ("answer" if is_ours else "last_text")
    asks = is_ours or token == "answer"
    template = prompt or (dialect.prompt("{words}") if asks else PROMPT)
    if "{words}" not in template:
        raise InputError(f"--prompt is {template!r}, but must hold {{words}}.")
    return template, token, opening(dialect) if token == "answer" else ""


def _reading(vlm: Any, samples: list[RefSample], template: str) -> dict[str, Any]:
    """How the maps are read: the boxes that tokens hold have sharp edges, which are kept."""
    from headsight.tasks.looking import view_of

    _, picture, _ = next(_opened(samples, [0], []))
    kind = view_of(vlm, picture, template).kind
    return {"view_kind": kind} | ({"kernel": 1, "sigma": 0.0} if kind == "regions" else {})


def _count(
    vlm: Any,
    samples: list[RefSample],
    settings: dict[str, Any],
    output: Path,
    *,
    rule: SelectionRule,
    quiet: bool,
) -> tuple[SelectionCounts, list[tuple[str, str]]]:
    from rich.console import Console
    from rich.progress import Progress

    from headsight.attention.selection_counts import SelectionCounts
    from headsight.errors import InputError
    from headsight.files import write_atomic
    from headsight.tasks.looking import discover

    path = _state_path(output)
    counts, done, failures = _state(path, settings)
    console = Console(stderr=True)
    with Progress(console=console, disable=quiet or not console.is_terminal) as progress:
        bar = progress.add_task("expressions", total=len(samples), completed=done)
        reached = [done]
        rest = _opened(samples, reached, failures)
        steps = discover(
            vlm,
            rest,
            rule=rule,
            prompt=settings["prompt"],
            query=settings["query"],
            opening=settings["opening"],
            counts=counts,
        )
        for step, (name, so_far, error) in enumerate(steps, start=1):
            counts = so_far
            if error is not None:
                failures.append((name, str(error)))
            progress.advance(bar)
            if step % _EVERY == 0:
                record = {
                    "settings": settings,
                    "done": reached[0],
                    "failures": failures,
                    "counts": SelectionCounts.to_dict(counts),
                }
                write_atomic(path, json.dumps(record).encode())
    if counts is None or counts.samples == 0:
        first = f" The first: {failures[0][1]}" if failures else ""
        raise InputError(f"None of the {len(samples)} expressions could be looked at.{first}")
    return counts, failures


def _opened(
    samples: list[RefSample], reached: list[int], failures: list[tuple[str, str]]
) -> Iterator[tuple[str, Picture, str]]:
    """Samples from the number in `reached` on, which is kept at the number of those gone by."""
    from headsight.errors import ImageError
    from headsight.picture import open_picture

    for index in range(reached[0], len(samples)):
        sample, reached[0] = samples[index], index + 1
        try:
            picture = open_picture(sample.image)
        except ImageError as error:
            failures.append((str(sample.id), str(error)))
            continue
        yield str(sample.id), picture, sample.text


def _state(
    path: Path, settings: dict[str, Any]
) -> tuple[SelectionCounts | None, int, list[tuple[str, str]]]:
    """Counts of a run that was stopped, and how many samples it had seen."""
    from headsight.attention.selection_counts import SelectionCounts
    from headsight.errors import ResumeError

    if not path.exists():
        return None, 0, []
    record = json.loads(path.read_text("utf-8"))
    if record["settings"] != settings:
        raise ResumeError(
            f"{path} was made with other settings. Delete it to start again, or choose another"
            " --out."
        )
    failures = [(str(a), str(b)) for a, b in record["failures"]]
    return SelectionCounts.from_dict(record["counts"]), int(record["done"]), failures


def _state_path(output: Path) -> Path:
    return output.with_name(output.name + ".state")


def _told(found: HeadSet) -> str:
    lines = [f"{found.n} expressions; heads of layer, head (from 0):"]
    kept = set(found.heads)
    for row in found.table[:10]:
        mark = "*" if (row.layer, row.head) in kept else " "
        lines.append(
            f" {mark} {row.layer:3d},{row.head:3d}  taken in {row.frequency:6.1%}"
            f"  attention on the picture {row.mean_sum:.2f}"
        )
    return "\n".join(lines) + "\n"
