"""`headsight ground`: words to boxes."""

from __future__ import annotations

__all__ = ["ground"]

from typing import Annotated

import typer

from headsight.cli import options
from headsight.cli.answer import answer_pictures


def ground(
    pictures: options.Pictures,
    words: Annotated[
        str,
        typer.Argument(metavar="WORDS", help='What to find, such as "the man in the red shirt".'),
    ],
    model: options.Model = "nano",
    device: options.Device = "auto",
    quantize: options.Quantize = None,
    save: options.Save = None,
    overwrite: options.Overwrite = False,
    constrain: options.Constrain = False,
    as_json: options.Json = False,
    raw: options.Raw = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find what the words name; nano names people by their heads.

    Examples:
      headsight ground photo.jpg "the man in the red shirt"
      headsight ground site/ "every head with a hard hat" --save drawn/
      headsight ground photo.jpg "the largest head" --json
    """
    from headsight.language.prompts import clean_expression

    expression = clean_expression(words)  # wrong words are an error before anything is loaded
    answer_pictures(
        pictures,
        lambda grounder, picture: grounder.ground(picture, expression, constrain=constrain),
        model=model, device=device, quantize=quantize, as_json=as_json, raw=raw, save=save,
        overwrite=overwrite, quiet=quiet, verbose=verbose,
    )  # fmt: skip
