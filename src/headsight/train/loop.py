"""One training stage: a plain loop on accelerate that can be killed at any step.

Started again, it goes on with the same numbers. Batches are a pure function of the step, the
optimiser state and a running average of the weights are stored with the weights (safetensors,
written to a part file and renamed), so a resumed run repeats nothing and skips nothing.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from headsight.errors import CheckpointError, ConfigError, require
from headsight.files import write_atomic
from headsight.train.checkpoint import resume_, save_checkpoint
from headsight.train.optimizers import build_optimizers

__all__ = ["LoopConfig", "Parts", "StageJob", "averaged_weights", "on_cpus", "run_stage"]

_log = logging.getLogger(__name__)


@runtime_checkable
class StageJob(Protocol):
    """What a stage brings to the loop."""

    @property
    def module(self) -> nn.Module:
        """What is trained, saved and averaged."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups with a peak `lr` and an `optimizer`: `adamw` (default) or `muon`.

        Muon takes matrices and 1 x 1 convolutions only.
        """

    def batch(self, step: int) -> Any:
        """The batch of `step`, always the same one; called ahead of time in threads.

        `Parts` are run one after another and their gradients added.
        """

    def loss(self, batch: Any, module: nn.Module) -> tuple[Tensor, dict[str, float]]:
        """The loss and the figures to log.

        `module` is `self.module` as it is to be called: with several processes it is wrapped, and
        only a call of the wrapper makes their gradients one.
        """

    def validate(self) -> dict[str, float]:
        """Held-out figures, with the averaged weights in place."""


class Parts(tuple[Any, ...]):
    """A batch in pieces, for want of memory or because their shapes differ."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how often."""

    steps: int
    """Optimiser steps."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    weight_decay: float = 0.02
    """AdamW weight decay."""
    clip_norm: float = 1.0
    """Largest gradient norm."""
    average_decay: float = 0.999
    """Decay a step of the running average of the weights, in [0, 1)."""
    log_every: int = 50
    """Steps between log lines."""
    save_every: int = 500
    """Steps between checkpoints."""
    validate_every: int = 2000
    """Steps between validations."""
    bf16: bool = False
    """Autocast to bfloat16."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Of AdamW."""
    trained_only: bool = False
    """Keep in checkpoints, and average, only what learns: for an adapter of a large model."""
    prefetch: int = 4
    """Batches prepared ahead."""

    def __post_init__(self) -> None:
        for name in ("steps", "clip_norm", "log_every", "save_every", "validate_every"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be positive.")
        for name in ("warmup_steps", "weight_decay", "prefetch"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be 0 or more.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas are {self.betas}, but must be in [0, 1).")
        if not 0 <= self.average_decay < 1:
            raise ConfigError(f"average_decay is {self.average_decay}, but must be in [0, 1).")


def run_stage(
    job: StageJob, config: LoopConfig, folder: Path, *, fingerprint: str, quiet: bool = False
) -> Path:
    """Train `job` to its last step and return the checkpoint.

    Goes on from the checkpoint in `folder` if there is one.

    Raises:
        ResumeError: the checkpoint in `folder` was made with other settings (`fingerprint`
            differs).
        CheckpointError: the loss or its gradient is not finite any more (the last checkpoint is
            whole), or a checkpoint cannot be written (the one before stays).
    """
    precision = "bf16" if config.bf16 else "no"
    accelerate = require("accelerate")
    # it keeps the precision of the process's first stage, and refuses another
    accelerate.state.AcceleratorState._reset_state()
    accelerator = accelerate.Accelerator(mixed_precision=precision, cpu=on_cpus())
    is_main = accelerator.is_main_process
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.safetensors"
    job.module.to(accelerator.device)
    groups = job.parameter_groups()
    optimizers = build_optimizers(groups, weight_decay=config.weight_decay, betas=config.betas)
    peaks = [[group["lr"] for group in o.param_groups] for o in optimizers]
    average = {k: v.clone() for k, v in _state(job.module, config).items()}
    start = resume_(checkpoint, job.module, optimizers, average, fingerprint)
    module = accelerator.prepare(job.module)
    optimizers = [accelerator.prepare(o) for o in optimizers]
    with (
        _Log(folder if is_main else None, start) as log,
        _progress(quiet or not is_main, config.steps, start, folder.name) as report,
        _Ahead(job, config) as ahead,
    ):
        seen: dict[str, float] = {}
        for step in range(start, config.steps):
            share = _schedule(step, config)
            for optimizer, tops in zip(optimizers, peaks, strict=True):
                for group, peak in zip(optimizer.param_groups, tops, strict=True):
                    group["lr"] = peak * share
            batch = ahead.take(step)
            figures: dict[str, float] = {}
            parts = batch if isinstance(batch, Parts) else (batch,)
            for number, part in enumerate(parts, 1):
                # processes meet once a step, as one of them may have more parts than another
                alone = nullcontext() if number == len(parts) else accelerator.no_sync(module)
                with alone:
                    with accelerator.autocast():
                        loss, told = job.loss(part, module)
                    accelerator.backward(loss)
                for key, value in {"loss": float(loss.detach()), **told}.items():
                    figures[key] = figures.get(key, 0.0) + value
            norm = accelerator.clip_grad_norm_(module.parameters(), config.clip_norm)
            _refuse_divergence(step + 1, figures["loss"], float(norm))
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            # early steps average over what there is, so that the start is forgotten quickly
            decay = min(config.average_decay, (step + 1) / (step + 10))
            _average_(average, _state(job.module, config), decay)
            for key, value in figures.items():
                seen[key] = value if key not in seen else 0.95 * seen[key] + 0.05 * value
            done = step + 1
            if done % config.log_every == 0:
                log.write(done, {**seen, "lr": peaks[0][0] * share})
            report(done, seen)
            if is_main and (done % config.validate_every == 0 or done == config.steps):
                with averaged_weights(job.module, average):
                    held_out = {f"val_{k}": v for k, v in job.validate().items()}
                log.write(done, held_out)
                report(done, held_out)
            if is_main and (done % config.save_every == 0 or done == config.steps):
                kept = _state(job.module, config)
                save_checkpoint(checkpoint, kept, optimizers, average, done, fingerprint)
    accelerator.wait_for_everyone()
    return checkpoint


def on_cpus() -> bool:
    """True where several processes were launched on a machine without CUDA."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available()


@contextmanager
def averaged_weights(module: nn.Module, average: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the block `module` holds the averaged weights."""
    state = module.state_dict()
    kept = {k: state[k].detach().clone() for k in average}
    was_training = module.training
    module.load_state_dict({**state, **average})
    module.eval()
    try:
        yield
    finally:
        module.load_state_dict({**state, **kept})
        module.train(was_training)


def _refuse_divergence(step: int, loss: float, norm: float) -> None:
    """Stop before a step that would spoil the weights, and with them the next checkpoint."""
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise CheckpointError(
            f"Step {step}: the loss is {loss:g} and the norm of its gradient {norm:g}, so the"
            " training has diverged or began with weights that are not finite. Check the model it"
            " starts from, or lower the learning rate and start anew in another output folder."
        )


def _schedule(step: int, config: LoopConfig) -> float:
    """Linear warm-up, then a cosine down to 2 % of the peak."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


def _state(module: nn.Module, config: LoopConfig) -> dict[str, Tensor]:
    """What is kept of the module: all of it, or only what learns."""
    state = module.state_dict()
    if config.trained_only:
        learning = {name for name, p in module.named_parameters() if p.requires_grad}
        state = {name: value for name, value in state.items() if name in learning}
    return {name: value.detach() for name, value in state.items()}


@torch.no_grad()
def _average_(average: dict[str, Tensor], state: Mapping[str, Tensor], decay: float) -> None:
    for key, value in state.items():
        if value.dtype.is_floating_point:
            average[key].lerp_(value, 1 - decay)
        else:
            average[key].copy_(value)


class _Ahead:
    """Prepares the next batches in threads."""

    def __init__(self, job: StageJob, config: LoopConfig) -> None:
        self._job = job
        self._config = config
        self._pool = ThreadPoolExecutor(max_workers=2)
        self._futures: dict[int, Future[Any]] = {}

    def __enter__(self) -> _Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def take(self, step: int) -> Any:
        """The batch of `step`; the following ones begin to be made."""
        last = min(step + self._config.prefetch, self._config.steps - 1)
        for wanted in range(step, last + 1):
            if wanted not in self._futures:
                self._futures[wanted] = self._pool.submit(self._job.batch, wanted)
        return self._futures.pop(step).result()


class _Log:
    """`log.csv` (long form: step, seconds, name, value), and TensorBoard where it is installed."""

    def __init__(self, folder: Path | None, start: int) -> None:
        """No folder: nothing is written."""
        self._board: Any = None
        self._file: Any = None
        if folder is None:
            return
        path = folder / "log.csv"
        lines = ["step,seconds,name,value"]
        if start and path.exists():  # drop what a killed run logged after its last checkpoint
            lines += [line for line in path.read_text().splitlines() if _is_kept(line, start)]
        write_atomic(path, "".join(f"{line}\n" for line in lines).encode())
        self._file = path.open("a", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._began = time.monotonic()
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        if self._file is None:
            return
        seconds = f"{time.monotonic() - self._began:.1f}"
        for name, value in figures.items():
            self._csv.writerow([step, seconds, name, f"{value:.6g}"])
            if self._board is not None:
                self._board.add_scalar(name, value, step)
        self._file.flush()
        _log.info("step=%d %s", step, json.dumps({k: round(v, 4) for k, v in figures.items()}))

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def _is_kept(line: str, last: int) -> bool:
    """True of whole lines of the log about steps up to `last`."""
    step, *rest = line.split(",")
    return step.isdigit() and int(step) <= last and len(rest) == 3


@contextmanager
def _progress(quiet: bool, steps: int, start: int, title: str) -> Iterator[Any]:
    """A progress bar on stderr with the latest figures; silent when stderr is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done, figures: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=steps, completed=start, figures="")

        def report(done: int, figures: Mapping[str, float]) -> None:
            said = " ".join(f"{k} {v:.3g}" for k, v in figures.items())
            progress.update(task, completed=done, figures=said)

        yield report
