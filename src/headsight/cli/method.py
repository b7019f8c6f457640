"""How a place is found: by what the model writes, or by where its attention heads look."""

from __future__ import annotations

__all__ = ["METHODS", "chosen_heads"]

from pathlib import Path

from headsight.errors import InputError

METHODS = ("native", "heads", "auto")


def chosen_heads(
    method: str, heads: Path | None, model: str = "", *, server: str | None = None
) -> Path | None:
    """The file of heads to look with; None to let the model write. `auto` uses heads if given.

    A folder of a `model` may hold its own heads, as that of the shipped one does.

    Raises:
        InputError: an unknown method, heads without a file, a file that is not to be used, or heads
            of a model behind a server.
    """
    if method not in METHODS:
        raise InputError(f"--method is '{method}'; expected one of {', '.join(METHODS)}.")
    if server is not None and (method == "heads" or heads is not None):
        raise InputError(
            f"Attention heads are to be looked with, but the model is behind --server {server},"
            " which shows none. Pass the folder of the model as --model, or leave heads out."
        )
    if method == "heads" and heads is None and (own := _own_heads(model)) is not None:
        return own
    if method == "heads" and heads is None:
        raise InputError(
            "--method heads needs --heads FILE, or a heads.json in the folder of the model. Find"
            " them once with `headsight find-heads --model ... --data ... --out heads.json`."
        )
    if method == "native" and heads is not None:
        raise InputError(f"--heads {heads} was given with --method native. Leave one of them out.")
    return heads


def _own_heads(model: str) -> Path | None:
    """The heads beside the weights of a model, if there are any."""
    from headsight.models.base import model_folder

    path = model_folder(model) / "heads.json"
    return path if model and path.is_file() else None
