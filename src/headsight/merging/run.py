"""The calls of the Python interface: merge, fold and diff."""

from __future__ import annotations

__all__ = ["Difference", "TensorDifference", "check", "diff", "fold", "fold_job", "merge"]

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headsight.errors import CheckpointError
from headsight.merging.blocks import ReadBlocks
from headsight.merging.engine import check_place, check_room, run_plan, scan
from headsight.merging.job import MergeJob, Model
from headsight.merging.moments import Moments, moments
from headsight.merging.naming import natural_key
from headsight.merging.plan import make_plan
from headsight.merging.report import MergeReport
from headsight.merging.source import Source, open_source


def merge(job: MergeJob, out: str | Path, *, overwrite: bool = False) -> MergeReport:
    """Merge checkpoints into the folder `out`, which then loads like its parents.

    A killed call goes on where it was when it is made again.

    Raises:
        CheckpointError: inputs that do not fit each other (all that is wrong at once), weights
            that are NaN, or a full disk.
        ConfigError: `out` is there already, or is one of the models.
        ResumeError: what an earlier call left beside `out` belongs to another merge.
    """
    return run_plan(make_plan(job), Path(out), overwrite=overwrite)


def check(job: MergeJob, out: str | Path, *, overwrite: bool = False) -> str:
    """What a merge would do, in a few lines; every weight is read, nothing is written.

    Raises:
        CheckpointError: whatever `merge` would stop at.
        ConfigError: as `merge`.
    """
    plan = make_plan(job)
    check_place(plan, Path(out), overwrite=overwrite)
    check_room(plan, Path(out))
    if problems := scan(plan):
        raise CheckpointError(" ".join(problems))
    tensors = sum(len(file.tensors) for file in plan.files)
    files = f"{len(plan.files)} {'file' if len(plan.files) == 1 else 'files'}"
    lines = [f"{job.way.name}: {tensors} tensors, {plan.nbytes / 1e9:.3g} GB in {files}: {out}"]
    lines += [f"  model: {source.name}" for source in plan.sources]
    lines += [f"  base: {job.base}"] if job.base else []
    return "\n".join([*lines, *(f"  note: {note}" for note in plan.notes), ""])


def fold(
    base: str | Path,
    adapter: str | Path,
    out: str | Path,
    *,
    dtype: str | None = None,
    shard_bytes: int = 5_000_000_000,
    overwrite: bool = False,
) -> MergeReport:
    """Put a LoRA adapter of peft into the weights of its base, tensor by tensor.

    Weights that the adapter does not touch are copied byte for byte; the others are computed in
    float32 and rounded once.

    Raises:
        CheckpointError, ConfigError, ResumeError: as `merge`.
    """
    job = fold_job(base, adapter, dtype=dtype, shard_bytes=shard_bytes)
    return merge(job, out, overwrite=overwrite)


def fold_job(
    base: str | Path, adapter: str | Path, *, dtype: str | None, shard_bytes: int
) -> MergeJob:
    """Folding as a merge: the adapter on its base passes through."""
    return MergeJob(
        method="passthrough",
        base=str(base),
        models=(Model(f"{base}+{adapter}"),),
        dtype=dtype,
        shard_bytes=shard_bytes,
    )


@dataclass(frozen=True)
class TensorDifference:
    """How one tensor differs between two models."""

    name: str
    cosine: float
    relative_norm: float
    """Length of the difference over that of the first model's tensor."""
    max_abs: float
    bytes: int
    """In the first model."""


@dataclass(frozen=True)
class Difference:
    """How two models differ."""

    tensors: tuple[TensorDifference, ...]
    """Of those that both have, in the order of names."""
    only_in_one: tuple[str, ...]
    only_in_two: tuple[str, ...]


def diff(one: str | Path, two: str | Path) -> Difference:
    """Compare two models; adapters may be `folder+adapter`, or alone if they fit the first.

    Raises:
        CheckpointError: they share no tensor, one has another shape, or a weight is NaN.
    """
    first = open_source(one)
    second = open_source(two, base=first.checkpoint)
    names = [sorted(s.tensors, key=natural_key) for s in (first, second)]
    shared = [n for n in names[0] if n in second.tensors]
    wrong = [n for n in shared if first.tensors[n].shape != second.tensors[n].shape]
    if wrong or not shared:
        what = f"{wrong[0]} has another shape in {two}" if wrong else "They share no tensor"
        raise CheckpointError(f"{what}. Only models of one architecture can be compared.")
    return Difference(
        tuple(_difference(name, first, second) for name in shared),
        tuple(n for n in names[0] if n not in second.tensors),
        tuple(n for n in names[1] if n not in first.tensors),
    )


def _difference(name: str, first: Source, second: Source) -> TensorDifference:
    one, two = first.reader(name), second.reader(name)
    blocks = ReadBlocks(name, one, [two], (first.name, second.name))
    total, largest = Moments(), 0.0
    if one.stored.is_float and two.stored.is_float and not blocks.are_equal():
        for block in blocks:
            assert block.base is not None
            total += moments(block.base, block.tensors[0])
            largest = max(largest, float(np.abs(block.tensors[0] - block.base).max()))
    return TensorDifference(name, total.cosine, total.relative_norm, largest, one.stored.nbytes)
