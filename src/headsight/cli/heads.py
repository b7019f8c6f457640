"""`headsight heads`: every head with its box and pose."""

from __future__ import annotations

__all__ = ["heads"]

from typing import TYPE_CHECKING, Annotated

import typer

from headsight.cli import options
from headsight.cli.answer import answer_pictures

if TYPE_CHECKING:
    from headsight.tasks.tiling import Tiles


def heads(
    pictures: options.Pictures,
    tiles: Annotated[
        str,
        typer.Option(
            "--tiles", help="Look also at so many tiles a side, for small heads; or auto."
        ),
    ] = "1",
    model: options.Model = "nano",
    device: options.Device = "auto",
    quantize: options.Quantize = None,
    server: options.Server = None,
    dialect: options.Dialect = None,
    min_score: options.MinScore = 0.0,
    save: options.Save = None,
    overwrite: options.Overwrite = False,
    constrain: options.Constrain = False,
    as_json: options.Json = False,
    raw: options.Raw = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find every head: box, yaw, pitch and roll.

    Examples:
      headsight heads photo.jpg
      headsight heads photo.jpg --save drawn.png
      headsight heads holiday/ --json > heads.json
      headsight heads crowd.jpg --tiles auto --min-score 0.8
    """
    number = _tiles(tiles)
    answer_pictures(
        pictures,
        lambda grounder, picture: grounder.heads(
            picture, constrain=constrain, tiles=number
        ).with_min_score(min_score),
        model=model, device=device, quantize=quantize, server=server, dialect=dialect,
        as_json=as_json, raw=raw, save=save, overwrite=overwrite, quiet=quiet, verbose=verbose,
    )  # fmt: skip


def _tiles(text: str) -> Tiles:
    """The option as the Python API takes it.

    Raises:
        InputError: not such a number.
    """
    if text == "auto":
        return "auto"
    from headsight.tasks.tiling import tile_count

    return tile_count(int(text) if text.isdecimal() else text, (1, 1))
