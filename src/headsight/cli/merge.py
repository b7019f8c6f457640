"""`headsight merge` and `headsight fold`: checkpoints and adapters into one checkpoint."""

from __future__ import annotations

__all__ = ["fold", "merge"]

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsight.cli import options

if TYPE_CHECKING:
    from headsight.merging.job import MergeJob

Out = Annotated[Path, typer.Option("--out", help="Folder of the result.")]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", help="bfloat16, float16 or float32; the base's by default."),
]
ShardSize = Annotated[
    str | None, typer.Option("--out-shard-size", help="Most bytes a file: 5GB by default.")
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Read and check everything, print the plan, write nothing."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace --out.")]


def merge(
    out: Out,
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="YAML with mergekit's keys.")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="Model folder that the others came from.")
    ] = None,
    expert: Annotated[
        list[str] | None,
        typer.Option(
            "--expert", help="Model folder, FOLDER+ADAPTER, or an adapter for --base. Repeatable."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="layer-cosine (default), task-arithmetic, linear, slerp, ties, dare-linear,"
            " dare-ties or passthrough.",
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option("--threshold", help="layer-cosine: 0.95 (default), or quantile:0.2."),
    ] = None,
    granularity: Annotated[
        str | None, typer.Option("--granularity", help="layer-cosine: module, block or part.")
    ] = None,
    space: Annotated[
        str | None, typer.Option("--space", help="layer-cosine: weight, delta or factors.")
    ] = None,
    weight: Annotated[
        list[float] | None,
        typer.Option("--weight", help="One a model (linear: the base first), or one for all."),
    ] = None,
    density: Annotated[
        list[float] | None,
        typer.Option("--density", help="ties and dare: share kept, one an expert or one for all."),
    ] = None,
    scale: Annotated[
        float | None, typer.Option("--lambda", help="Factor of the summed changes.")
    ] = None,
    t: Annotated[float | None, typer.Option("--t", help="slerp: 0 is the base.")] = None,
    dtype: Dtype = None,
    out_shard_size: ShardSize = None,
    missing: Annotated[
        str | None,
        typer.Option("--missing", help="Tensors that a model lacks: error, base or skip."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="dare: of what is dropped.")] = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No summary, no progress bar.")] = False,
) -> None:
    """Merge checkpoints of one architecture, tensor by tensor; a killed run goes on where it was.

    Beside the weights stand merge-report.json, its chart and a model card.

    Examples:
      headsight merge --base A --expert B --method layer-cosine --threshold 0.95 --out C
      headsight merge --base A --expert B --expert C --method ties --density 0.2 --out D
      headsight merge --base A --expert adapter/ --method task-arithmetic --lambda 0.5 --out C
      headsight merge config.yml --out C --dry-run
    """
    from headsight.errors import ConfigError
    from headsight.merging.job import MergeJob
    from headsight.merging.selection import parse_threshold
    from headsight.merging.yaml_file import parse_bytes, read_job

    overrides: dict[str, Any] = {
        "threshold": None if threshold is None else parse_threshold(threshold),
        "granularity": granularity,
        "space": space,
        "dtype": dtype,
        "shard_bytes": None if out_shard_size is None else parse_bytes(out_shard_size),
        "missing": missing,
        "seed": seed,
    }
    set_here = {
        "--base": base, "--expert": expert, "--method": method, "--weight": weight,
        "--density": density, "--lambda": scale, "--t": t,
    }  # fmt: skip
    if config is not None:
        if doubled := [name for name, value in set_here.items() if value not in (None, [])]:
            raise ConfigError(f"{doubled[0]} and {config} both say it. Say it in the file alone.")
        _run(read_job(config, overrides), out, dry_run, overwrite, as_json, quiet)
        return
    parameters = {"lambda": scale, "t": t}
    job = MergeJob(
        **_models(method or "layer-cosine", base, expert or [], weight or [], density or []),
        parameters={k: v for k, v in parameters.items() if v is not None},
        **{k: v for k, v in overrides.items() if v is not None},
    )
    _run(job, out, dry_run, overwrite, as_json, quiet)


def fold(
    base: Annotated[str, typer.Option("--base", help="Model folder.")],
    adapter: Annotated[str, typer.Option("--adapter", help="LoRA adapter folder of peft.")],
    out: Out,
    dtype: Dtype = None,
    out_shard_size: ShardSize = None,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    as_json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No summary, no progress bar.")] = False,
) -> None:
    """Put a LoRA adapter into the weights of its base, tensor by tensor, with little memory.

    Examples:
      headsight fold --base A --adapter adapter/ --out C
    """
    from headsight.merging.run import fold_job
    from headsight.merging.yaml_file import parse_bytes

    shard_bytes = parse_bytes(out_shard_size or "5GB")
    job = fold_job(base, adapter, dtype=dtype, shard_bytes=shard_bytes)
    _run(job, out, dry_run, overwrite, as_json, quiet)


def _models(
    method: str, base: str | None, experts: list[str], weights: list[float], densities: list[float]
) -> dict[str, Any]:
    """The models of a call without a file, each with its own weight and density."""
    from headsight.errors import ConfigError
    from headsight.merging.job import Model
    from headsight.merging.methods import find_method

    way = find_method(method)
    if not experts:
        raise ConfigError("No model is given to be merged. Give --expert FOLDER, or a YAML file.")
    sources = [base, *experts] if base and way.name == "linear" else experts
    own: list[dict[str, float]] = [{} for _ in sources]
    for key, values in (("weight", weights), ("density", densities)):
        if len(values) not in (0, 1, len(sources)):
            raise ConfigError(
                f"There are {len(values)} --{key} for {len(sources)} models ({', '.join(sources)})."
                " Give one for each, or one for all."
            )
        for index, one in enumerate(own):
            if values:
                one[key] = values[index if len(values) > 1 else 0]
    models = tuple(Model(source, one) for source, one in zip(sources, own, strict=True))
    return {"method": way.name, "base": base, "models": models}


def _run(
    job: MergeJob, out: Path, dry_run: bool, overwrite: bool, as_json: bool, quiet: bool
) -> None:
    from headsight.merging.engine import run_plan
    from headsight.merging.plan import make_plan
    from headsight.merging.run import check

    if dry_run:
        sys.stdout.write(check(job, out, overwrite=overwrite))
        return
    plan = make_plan(job)
    with progress_of(plan.nbytes * (2 if job.is_selection else 1), quiet) as advance:
        report = run_plan(plan, out, overwrite=overwrite, advance=advance)
    if as_json:
        sys.stdout.write(json.dumps(report.to_dict(), indent=1) + "\n")
    elif not quiet:
        sys.stdout.write(report.summary())


@contextmanager
def progress_of(total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar of bytes on stderr where that is a terminal; what it gives is told what was done."""
    if quiet or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)
        yield lambda done: progress.advance(task, done)
