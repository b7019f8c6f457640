"""What a stage leaves on the disk: folders that are whole or not there."""
# mypy: disable-error-code="no-untyped-call"
# (transformers, peft and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["replace_folder", "save_adapter", "save_model"]

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from headsight.errors import CheckpointError
from headsight.models.base import AttentiveVLM
from headsight.models.checkpoints import bars_on_terminals_only


def replace_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a folder beside `path`, and put it in its place when it is whole.

    Raises:
        CheckpointError: it cannot be written, as on a full disk; what was at `path` stays.
    """
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(part)
        for file in part.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be written: {error}. Make room on its disk and run again: the stage"
            " goes on from its last checkpoint."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def save_adapter(learner: Any, path: Path) -> None:
    """Write a peft model's adapter in peft's own form."""
    learner.save_pretrained(path)
    (path / "README.md").unlink(missing_ok=True)  # peft's empty form of a model card


def save_model(vlm: AttentiveVLM, path: Path) -> None:
    """Write a model with its processor, in the dtype of its config, to which it is rounded.

    Raises:
        CheckpointError: weights that are not finite in that dtype.
    """
    model = vlm.model.eval()
    dtype = getattr(model.config, "dtype", None) or model.dtype
    for name, value in model.state_dict().items():
        if not torch.isfinite(value.to(dtype)).all():
            raise CheckpointError(
                f"{name} does not fit into {dtype} any more: the training has diverged. Lower the"
                " learning rate and run the stage anew."
            )
    model.to(dtype)
    with bars_on_terminals_only():
        model.save_pretrained(path)
    vlm.processor.save_pretrained(path)  # type: ignore[attr-defined]
