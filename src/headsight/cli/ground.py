"""`headsight ground`: words to boxes."""

from __future__ import annotations

from typing import Annotated

import typer

from headsight.cli import run

__all__ = ["ground"]


def ground(
    pictures: run.Pictures,
    words: Annotated[str, typer.Argument(help='What to find, such as "the man in the red shirt".')],
    model: run.Model = "nano",
    device: run.Device = "auto",
    save: run.Save = None,
    overwrite: run.Overwrite = False,
    constrain: run.Constrain = False,
    as_json: run.Json = False,
    raw: run.Raw = False,
    quiet: run.Quiet = False,
    verbose: run.Verbose = False,
) -> None:
    """Find what the words name; nano names people by their heads.

    Examples:

      headsight ground photo.jpg "the man in the red shirt"

      headsight ground site/ "every head with a hard hat" --save drawn/
    """
    from headsight.language.prompts import clean_expression

    expression = clean_expression(words)
    run.answer_pictures(
        pictures,
        lambda grounder, picture: grounder.ground(picture, expression, constrain=constrain),
        model=model, device=device, as_json=as_json, raw=raw, save=save,
        overwrite=overwrite, quiet=quiet, verbose=verbose,
    )  # fmt: skip
