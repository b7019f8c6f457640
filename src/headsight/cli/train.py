"""`headsight train`: run a training recipe."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headsight.errors import InputError

if TYPE_CHECKING:
    from headsight.train.recipe import Recipe

__all__ = ["train"]


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe in YAML.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder of checkpoints and logs; replaces the recipe's.")
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="Run only this stage (may be given several times).")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Afterwards write the model into this folder.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads; all by default.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check recipe, data and model, and print the plan.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every line to stderr.")] = False,
) -> None:
    """Train a model by a recipe, stage by stage; a killed run goes on where it was.

    A recipe that names a `model` teaches it a skill (LoRA, rehearsal of old data, merging; see
    docs/teaching.md); every stage leaves a checkpoint, its lineage and a report. One that names
    none trains from nothing, as nano's: src/headsight/train/recipes/nano.yaml.

    On several GPUs: accelerate launch -m headsight train RECIPE.yaml

    Examples:
      headsight train hpe.yaml --dry-run
      headsight train hpe.yaml --output runs/hpe
      headsight train nano.yaml --output runs/nano --export my-nano
      headsight train nano.yaml --stage answers
    """
    from headsight.teach.plan import is_plan
    from headsight.train.recipe import read_recipe

    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)
    if is_plan(recipe):
        if export is not None:
            raise InputError(
                "--export is for recipes that train from nothing; a teaching recipe leaves a model"
                " folder in every stage."
            )
        _teach(recipe, output, stage or (), threads, dry_run=dry_run, quiet=quiet)
        return
    plan = read_recipe(recipe, overrides={"output": output})
    if dry_run:
        _tell_plan(plan)
        return
    import torch

    if threads:
        torch.set_num_threads(threads)
    from headsight.train.run import run_recipe

    checkpoint = run_recipe(plan, quiet=quiet, only=stage or ())
    if export is not None:
        from headsight.train.export import export_model

        export_model(plan, checkpoint, export)
        checkpoint = export
    typer.echo(str(checkpoint))


def _tell_plan(plan: Recipe) -> None:
    """What a recipe that trains from nothing would do.

    Raises:
        ConfigError: options that a stage does not have.
    """
    typer.echo(f"{plan.name}: {len(plan.stages)} stages to {plan.output}")
    for part in plan.stages:
        pictures = part.loop.steps * part.batch_size
        typer.echo(f"  {part.name}: {part.kind}, {part.loop.steps} steps, {pictures} pictures")
        for source in part.sources:
            state = "found" if source.labels.exists() else "MISSING"
            typer.echo(f"    {source.share:g} x {source.labels} ({state})")
        if part.kind == "crop_regressor":
            from headsight.train.crop_regressor import build_regressor

            build_regressor(part)


def _teach(
    recipe: Path,
    output: Path | None,
    stages: Sequence[str],
    threads: int | None,
    *,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Run a teaching recipe, or say what it would do."""
    from headsight.teach.plan import read_plan

    plan = read_plan(recipe, overrides={"output": output})
    if dry_run:
        from headsight.teach.check import check_plan, refuse_faults

        told, wrong = check_plan(plan, only=stages, thorough=True)
        typer.echo("\n".join(told))
        refuse_faults(wrong, str(recipe))
        return
    import torch

    if threads:
        torch.set_num_threads(threads)
    from headsight.teach.stages import run_plan

    typer.echo(str(run_plan(plan, quiet=quiet, only=stages)))
