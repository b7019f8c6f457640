"""How a place is found: by what the model writes, or by where its attention heads look."""

from __future__ import annotations

__all__ = ["METHODS", "chosen_heads"]

from pathlib import Path

from headsight.errors import InputError

METHODS = ("native", "heads", "auto")


def chosen_heads(method: str, heads: Path | None) -> Path | None:
    """The file of heads to look with; None to let the model write. `auto` uses heads if given.

    Raises:
        InputError: an unknown method, heads without a file, or a file that is not to be used.
    """
    if method not in METHODS:
        raise InputError(f"--method is '{method}'; expected one of {', '.join(METHODS)}.")
    if method == "heads" and heads is None:
        raise InputError(
            "--method heads needs --heads FILE. Find the heads of your model once with"
            " `headsight find-heads --model ... --data ... --out heads.json`."
        )
    if method == "native" and heads is not None:
        raise InputError(f"--heads {heads} was given with --method native. Leave one of them out.")
    return heads
