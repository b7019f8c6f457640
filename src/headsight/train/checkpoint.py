"""A stage's checkpoint: weights, their average and the optimisers' state in one file."""

from __future__ import annotations

__all__ = ["load_average_", "resume_", "save_checkpoint"]

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from headsight.errors import CheckpointError, ResumeError


def save_checkpoint(
    path: Path,
    state: Mapping[str, Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    average: Mapping[str, Tensor],
    step: int,
    fingerprint: str,
) -> None:
    """Write everything that a stage goes on from, so that `path` is old or new, never half.

    Raises:
        CheckpointError: it cannot be written (the one before stays).
    """
    tensors = {f"weight/{k}": v for k, v in state.items()}
    tensors |= {f"average/{k}": v for k, v in average.items()}
    for number, optimizer in enumerate(optimizers):
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimizer/{number}/{index}/{key}"] = torch.as_tensor(value)
    tensors = {k: _copy(v) for k, v in tensors.items()}
    part = path.with_suffix(".part")
    try:
        save_file(tensors, part, metadata={"step": str(step), "fingerprint": fingerprint})
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path} cannot be written: {error}. Make room on its disk and start again: the"
            " training goes on from the checkpoint before."
        ) from error


def load_average_(
    module: nn.Module, checkpoint: Path, *, skip: tuple[str, ...] = (), learned_only: bool = False
) -> None:
    """Load the averaged weights of a stage's checkpoint into `module`.

    Weights whose names begin like `skip` are left as they are; with `learned_only` also those that
    the checkpoint does not hold, because they did not learn.

    Raises:
        CheckpointError: the file does not exist or does not fit.
    """
    if not checkpoint.exists():
        raise CheckpointError(f"{checkpoint} does not exist. Run the stage before this one first.")
    with safe_open(checkpoint, "pt") as file:
        names = [n for n in file.keys() if n.startswith("average/")]  # noqa: SIM118
        state = {n.removeprefix("average/"): file.get_tensor(n) for n in names}
    kept = {
        name: value
        for name, value in module.state_dict().items()
        if (skip and name.startswith(skip)) or (learned_only and name not in state)
    }
    try:
        module.load_state_dict(state | kept)
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint} does not fit this recipe: {error}") from error


def resume_(
    path: Path,
    module: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    average: dict[str, Tensor],
    fingerprint: str,
) -> int:
    """Load `path` into everything and return the number of finished steps; 0 without a file.

    Raises:
        ResumeError: the file was made with another fingerprint.
        CheckpointError: the file is damaged.
    """
    if not path.exists():
        return 0
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    weights = {}
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}). Delete it to train the stage from its first step."
        ) from error
    if metadata.get("fingerprint") != fingerprint:
        raise ResumeError(
            f"{path} was made with other settings ({metadata.get('fingerprint')}, now"
            f" {fingerprint}). Use the old recipe, or choose a new output folder."
        )
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "weight":
            weights[rest] = tensor
        elif kind == "average":
            average[rest].copy_(tensor)
        else:
            number, index, key = rest.split("/", 2)
            states[int(number)].setdefault(int(index), {})[key] = tensor
    module.load_state_dict({**module.state_dict(), **weights})
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return int(metadata["step"])


def _copy(value: Tensor) -> Tensor:
    """On the CPU; a copy, as tied weights would share memory."""
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
