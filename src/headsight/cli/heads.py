"""`headsight heads`: every head with its box and pose."""

from __future__ import annotations

from headsight.cli import run

__all__ = ["heads"]


def heads(
    pictures: run.Pictures,
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
    """Find every head: box, yaw, pitch and roll.

    Examples:

      headsight heads photo.jpg

      headsight heads photo.jpg --save drawn.png

      headsight heads holiday/ --json > heads.json
    """
    run.answer_pictures(
        pictures,
        lambda grounder, picture: grounder.heads(picture, constrain=constrain),
        model=model, device=device, as_json=as_json, raw=raw, save=save,
        overwrite=overwrite, quiet=quiet, verbose=verbose,
    )  # fmt: skip
