"""`headsight eval forget`: what a model gained and lost by learning something new."""

from __future__ import annotations

__all__ = ["forget"]

import json
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsight.cli import options
from headsight.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from headsight.cli.skills import Skill
    from headsight.eval.forget_report import SkillRun
    from headsight.merging.drift import ModuleDrift

_SUFFIXES = (".md", ".html", ".json")
_SCENES = 40
"""Scenes that are rendered where no data is named."""


def forget(
    before: Annotated[
        list[str],
        typer.Option(
            "--before", help="Model, or JSON of an eval run (may be given several times)."
        ),
    ],
    after: Annotated[
        list[str],
        typer.Option("--after", help="The same model after it learned, or JSON of eval runs."),
    ],
    skill: Annotated[
        list[str] | None,
        typer.Option(
            "--skill",
            metavar="KIND=SET",
            help="boxes=, pose= or refer= and its data; may be given several times.",
        ),
    ] = None,
    new: Annotated[
        list[str] | None,
        typer.Option("--new", help="Skill that was taught in between, such as pose."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="Only the first so many pictures or expressions."),
    ] = None,
    constrain: options.Constrain = False,
    device: options.Device = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Report: .md, .html or .json; a journal beside it resumes."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start again and replace --out.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of scenes and bootstrap.")] = 0,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Compare a model before and after it learned: skills, bad answers by kind, weights.

    Both are asked the same; a skill counts as forgotten or gained only where the 95 % interval of
    the paired differences, drawn by pictures, leaves out zero. Without --skill, boxes, poses and
    expressions are asked about scenes rendered on the spot (extra scenes). Runs that are there
    already are given as JSON of eval pose, eval refer or eval heads.

    Examples:
      headsight eval forget --before ./base --after ./taught --out report.html
      headsight eval forget --before nano --after ./mine --skill pose=aflw2000_sample --new pose
      headsight eval forget --before base-pose.json --after taught-pose.json --json
    """
    from rich.progress import Progress

    from headsight.cli.journalled import open_journal, plain
    from headsight.cli.probes import progress_on_stderr
    from headsight.eval.forget_report import forget_report, require_known
    from headsight.files import Journal
    from headsight.versions import versions

    _check_out(out, overwrite)
    sides = {"before": before, "after": after}
    names = _names(before, after)
    with ExitStack() as stack:
        progress: Progress = stack.enter_context(progress_on_stderr(quiet))
        measured = {side: _from_files(given) for side, given in sides.items()}
        journal: Journal | None = None
        skills: list[Skill] = []
        if any(runs is None for runs in measured.values()):
            skills = _skills(skill, stack, out=out, limit=limit, seed=seed, progress=progress)
            require_known(new or (), [s.name for s in skills])  # before hours are spent
            settings = {
                "before": before, "after": after, "skills": [s.settings() for s in skills],
                "constrain": constrain, "seed": seed,
            }  # fmt: skip
            if out is not None:
                journal = stack.enter_context(
                    closing(open_journal(out, settings, overwrite=overwrite))
                )
        elif skill:
            raise InputError("--skill is for models, but both sides are files. Leave it out.")
        failures: list[dict[str, str]] = []
        for side, [model] in ((s, sides[s]) for s, runs in measured.items() if runs is None):
            measured[side] = _measure(
                model, side, skills, failures,
                constrain=constrain, device=device, journal=journal, progress=progress,
            )  # fmt: skip
    drift, note = _drift(before, after)
    old, now = measured["before"] or {}, measured["after"] or {}
    report = forget_report(
        _without(old, failures), _without(now, failures),
        names=names, new=new or (), drift=drift, seed=seed,
    )  # fmt: skip
    result = plain({**report, "notes": note, "versions": versions(), "failures": failures})
    _write(result, out=out, as_json=as_json)
    for failure in failures:
        sys.stderr.write(f"headsight: {failure['id']}: {failure['error']}\n")
    if failures:
        raise typer.Exit(1)


def _check_out(out: Path | None, overwrite: bool) -> None:
    if out is None:
        return
    if out.suffix not in _SUFFIXES:
        raise InputError(f"--out is {out}; expected a name ending in {', '.join(_SUFFIXES)}.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists. Choose another --out, or give --overwrite.")


def _names(before: list[str], after: list[str]) -> tuple[str, str]:
    """What the table calls the sides: short, if they then differ."""
    short = Path(before[0]).stem, Path(after[0]).stem
    full = before[0].rstrip("/"), after[0].rstrip("/")
    return short if short[0] != short[1] else full


def _from_files(given: list[str]) -> dict[str, SkillRun] | None:
    """The runs in JSON files; None where a model is given.

    Raises:
        InputError: files and models mixed, or several models.
    """
    from headsight.cli.skills import read_runs

    are_files = [g.endswith(".json") for g in given]
    if not any(are_files):
        if len(given) > 1:
            raise InputError(f"{', '.join(given)} are several models; expected one on each side.")
        return None
    if not all(are_files):
        raise InputError(f"{', '.join(given)} mixes files and models. Give one or the other.")
    return read_runs([Path(g) for g in given])


def _skills(
    asked: list[str] | None,
    stack: ExitStack,
    *,
    out: Path | None,
    limit: int | None,
    seed: int,
    progress: Any,
) -> list[Skill]:
    """The probes that are asked for, or those about rendered scenes."""
    from tempfile import TemporaryDirectory

    from headsight.cli.head_samples import rendered_scenes
    from headsight.cli.skills import SKILLS, parse_skills

    if asked:
        return parse_skills(asked, limit=limit)
    if out is not None:
        folder = out.with_name(out.stem + "-scenes")
    else:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="headsight-"))) / "scenes"
    rendered_scenes(folder, limit or _SCENES, seed, progress)
    return parse_skills([f"{kind}={folder}" for kind in SKILLS], limit=None)


def _measure(
    model: str,
    side: str,
    skills: list[Skill],
    failures: list[dict[str, str]],
    *,
    constrain: bool,
    device: str,
    journal: Any,
    progress: Any,
) -> dict[str, SkillRun]:
    from headsight.grounder import load

    grounder = load(model, device=device)
    runs = {}
    for skill in skills:
        run, failed = skill.run(
            grounder, f"{side}/{skill.name}", constrain=constrain, journal=journal,
            progress=progress,
        )  # fmt: skip
        runs[skill.name] = run
        failures += failed
    return runs


def _without(runs: dict[str, SkillRun], failures: list[dict[str, str]]) -> dict[str, SkillRun]:
    """The runs without the pictures or expressions that could not be asked of one of the models."""
    from dataclasses import replace

    bad = {f["item"] for f in failures}
    if not bad:
        return runs
    return {
        name: replace(run, scores={n: s.without(bad) for n, s in run.scores.items()})
        for name, run in runs.items()
    }


def _drift(before: list[str], after: list[str]) -> tuple[list[ModuleDrift] | None, list[str]]:
    """Drift of the weights where both sides are models in folders, and why not elsewhere."""
    from headsight.merging.drift import weight_drift
    from headsight.models.base import model_folder

    folders = [model_folder(g[0]) for g in (before, after)]
    if not all(folder.is_dir() for folder in folders):
        return None, []
    try:
        return weight_drift(*folders), []
    except CheckpointError as error:
        return None, [str(error)]


def _write(result: dict[str, Any], *, out: Path | None, as_json: bool) -> None:
    from headsight.eval.forget_report import to_html, to_markdown
    from headsight.files import write_atomic

    text = json.dumps(result, indent=1) + "\n"
    if out is not None:
        made = {".md": to_markdown, ".html": to_html}.get(out.suffix)
        write_atomic(out, (text if made is None else made(result)).encode())
    if as_json:
        sys.stdout.write(text)
    else:
        _show(result)


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from headsight.eval.forget_report import summary, tables

    console = Console()
    for title, header, rows in tables(result):
        table = Table(title=title)
        for column in header:
            table.add_column(column)
        for row in rows:
            style = {"forgot": "red", "gained": "green"}.get(row[-1])
            table.add_row(*row, style=style)
        console.print(table)
    console.print(summary(result))
    for note in result["notes"]:
        console.print(f"Weights are not compared: {note}")
