"""`headsight ground`: words to boxes and masks."""

from __future__ import annotations

__all__ = ["ground"]

from pathlib import Path
from typing import Annotated

import typer

from headsight.cli import options
from headsight.cli.answer import answer_pictures


def ground(
    pictures: options.Pictures,
    words: Annotated[
        str,
        typer.Argument(
            metavar="WORDS", help='What to find, such as "the woman looking at the camera".'
        ),
    ],
    model: options.Model = "nano",
    device: options.Device = "auto",
    quantize: options.Quantize = None,
    server: options.Server = None,
    dialect: options.Dialect = None,
    method: options.Method = "auto",
    heads: options.Heads = None,
    mask: options.Mask = False,
    segmenter: options.Segmenter = None,
    sam_prompt: options.SamPrompt = "box",
    rec_box: options.RecBox = "attention",
    min_score: options.MinScore = 0.0,
    save: options.Save = None,
    overwrite: options.Overwrite = False,
    constrain: options.Constrain = False,
    as_json: options.Json = False,
    raw: options.Raw = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find what the words name; nano names people by their heads.

    Masks of a segmenter follow the outline; without one they are coarse, and are marked so: where
    the --heads look within the box, or the filled box.

    Examples:
      headsight ground photo.jpg "the woman looking at the camera"
      headsight ground site/ "every head with a hard hat" --save drawn/
      headsight ground photo.jpg "the largest head" --min-score 0.8 --json
      headsight ground photo.jpg "red cup" --model ./Qwen2.5-VL-3B-Instruct
      headsight ground photo.jpg "red cup" --model ./llava-1.5-7b --heads heads.json
      headsight ground photo.jpg "the woman" --mask --save drawn.png
      headsight ground photo.jpg "the woman" --segmenter ./sam-vit-base --save drawn.png
      headsight ground photo.jpg "red cup" --server http://localhost:8000 --model qwen2.5-vl
    """
    from headsight.cli.masks import mask_options
    from headsight.cli.method import chosen_heads
    from headsight.errors import InputError
    from headsight.language.prompts import clean_expression
    from headsight.picture import PICTURE_SUFFIXES

    if words.lower().endswith(PICTURE_SUFFIXES) and Path(words).is_file():
        raise InputError(
            f"The last argument, {words!r}, is a picture; expected the words there, after the"
            ' pictures, for instance "the woman looking at the camera".'
        )
    looking = chosen_heads(method, heads, model, server=server)
    expression = clean_expression(words)  # wrong words are an error before anything is loaded
    masking = mask_options(
        mask=mask, segmenter=segmenter, sam_prompt=sam_prompt, rec_box=rec_box,
        by_heads=looking is not None, device=device,
    )  # fmt: skip
    answer_pictures(
        pictures,
        lambda grounder, picture: grounder.ground(
            picture, expression, constrain=constrain, heads=looking, **masking
        ).with_min_score(min_score),
        model=model, device=device, quantize=quantize, server=server, dialect=dialect,
        as_json=as_json, raw=raw, save=save, overwrite=overwrite, quiet=quiet, verbose=verbose,
    )  # fmt: skip
