"""Where checkpoints come from: a folder or a hub id, and files that are never opened."""

from __future__ import annotations

__all__ = ["HUB_ID", "bars_on_terminals_only", "local_checkpoint", "refuse_file", "refuse_pickle"]

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from headsight.errors import CheckpointError, InputError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""`org/name`; match the whole."""
_FILES = ("*.json", "*.txt", "*.safetensors")
"""What is fetched: settings, vocabularies and weights, never code or pickles."""


def local_checkpoint(folder_or_id: str | Path) -> Path:
    """The folder itself, or where the files of a hub id lie, fetched if they are not there yet.

    Raises:
        InputError: neither a folder nor of the form org/name.
        CheckpointError: a file, or an id whose files cannot be had.
    """
    path = Path(folder_or_id).expanduser()
    if path.is_dir():
        return path
    refuse_file(path)
    if not HUB_ID.fullmatch(str(folder_or_id)):
        raise InputError(
            f"No folder is called '{folder_or_id}', and it is no hub id of the form org/name. Pass"
            " the folder that save_pretrained wrote, or such an id."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(folder_or_id), allow_patterns=list(_FILES)))
    except (OSError, ValueError) as error:  # all that the hub client raises on purpose is either
        raise CheckpointError(
            f"{folder_or_id} cannot be fetched: {' '.join(str(error).split())[:200]} Check the id"
            " and the network, or download the checkpoint and pass its folder."
        ) from error


def refuse_file(path: Path) -> None:
    """Pass unless `path` is a file.

    Raises:
        CheckpointError: it is one, and perhaps a pickle.
    """
    if not path.is_file():
        return
    refuse_pickle(path)
    raise CheckpointError(
        f"{path} is a file, but a model is a folder with config.json and model.safetensors. Pass"
        " the folder."
    )


def refuse_pickle(path: Path) -> None:
    """Pass unless `path` is a format that may run code when it is read.

    Raises:
        CheckpointError: it is one.
    """
    if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"):
        raise CheckpointError(
            f"{path} may hold a pickle, which could run code when opened, so it was not opened."
            " Only safetensors are read: convert the weights first."
        )


@contextmanager
def bars_on_terminals_only() -> Iterator[None]:
    """Keep transformers' loading bars out of logs and pipes: within, only a terminal shows them."""
    logging: Any = import_module("transformers.utils.logging")  # only partly typed
    is_to_be_quiet = logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    if is_to_be_quiet:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if is_to_be_quiet:
            logging.enable_progress_bar()
