"""Where checkpoints come from: a folder or a hub id, and files that are never opened."""

from __future__ import annotations

__all__ = [
    "HUB_ID",
    "bars_on_terminals_only",
    "check_hub",
    "hub_answers",
    "local_checkpoint",
    "not_fetched",
    "refuse_file",
    "refuse_pickle",
]

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from headsight.errors import CheckpointError, InputError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""`org/name`; match the whole."""
_FILES = ("*.json", "*.txt", "*.safetensors")
"""What is fetched: settings, vocabularies and weights, never code or pickles."""


PATIENCE = 5.0
"""Seconds in which the hub must take a connection; its own client would try for half a minute."""


def hub_answers(*, patience: float = PATIENCE) -> bool:
    """Whether the hub, or the proxy before it, takes a connection; without one, only the cache is.

    A name that is not resolved counts as no answer, and so does one that takes too long.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    hub = urlsplit(constants.ENDPOINT)
    proxies = {} if proxy_bypass(hub.hostname or "") else getproxies()
    door = urlsplit(proxies.get(hub.scheme) or proxies.get("all") or constants.ENDPOINT)
    port = door.port or (80 if door.scheme == "http" else 443)
    answered = Event()

    def knock() -> None:
        with suppress(OSError), socket.create_connection((door.hostname, port), timeout=patience):
            answered.set()

    knocking = Thread(target=knock, daemon=True)  # a name server may take longer than any timeout
    knocking.start()
    knocking.join(patience)
    return answered.is_set()


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

    name = str(folder_or_id)
    only_cache = not check_hub(name)
    try:
        files = list(_FILES)
        return Path(snapshot_download(name, allow_patterns=files, local_files_only=only_cache))
    except (OSError, ValueError) as error:  # all that the hub client raises on purpose is either
        raise not_fetched(name, str(error)) from error


def check_hub(name: str) -> bool:
    """Whether the hub answers; False where it does not, but the cache holds files of `name`.

    Raises:
        CheckpointError: neither the hub nor the cache can be asked for `name`.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    if hub_answers():
        return True
    if isinstance(try_to_load_from_cache(name, "config.json"), str):
        return False
    why = "is switched off (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "does not answer"
    raise not_fetched(name, f"the hub {constants.ENDPOINT} {why}, and the cache has no such model.")


def not_fetched(name: str, reason: str) -> CheckpointError:
    """The error for a hub id that cannot be had."""
    return CheckpointError(
        f"{name} cannot be loaded: {' '.join(reason.split())[:300]} Check the id and the network,"
        " or download the checkpoint elsewhere and pass its folder."
    )


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
