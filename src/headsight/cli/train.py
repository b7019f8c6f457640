"""`headsight train`: run a training recipe."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

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
        bool, typer.Option("--dry-run", help="Check the recipe and print the plan.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every line to stderr.")] = False,
) -> None:
    """Train a model by a recipe, stage by stage; a killed run goes on where it was.

    nano's recipe, whose head tells how its data are made, is src/headsight/train/recipes/nano.yaml.

    Examples:
      headsight train nano.yaml --dry-run
      headsight train nano.yaml --output runs/nano --export my-nano
      headsight train nano.yaml --stage answers
    """
    from headsight.train.recipe import read_recipe

    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)
    plan = read_recipe(recipe, overrides={"output": output})
    if dry_run:
        typer.echo(f"{plan.name}: {len(plan.stages)} stages to {plan.output}")
        for part in plan.stages:
            pictures = part.loop.steps * part.batch_size
            typer.echo(f"  {part.name}: {part.kind}, {part.loop.steps} steps, {pictures} pictures")
            for source in part.sources:
                state = "found" if source.labels.exists() else "MISSING"
                typer.echo(f"    {source.share:g} x {source.labels} ({state})")
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
