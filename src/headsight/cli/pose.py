"""`headsight pose`: the pose of the head in a given box."""

from __future__ import annotations

__all__ = ["pose"]

from typing import TYPE_CHECKING, Annotated

import typer

from headsight.cli import options
from headsight.cli.answer import answer_pictures

if TYPE_CHECKING:
    from headsight.detections import Detections
    from headsight.grounder import Grounder
    from headsight.picture import Picture


def pose(
    pictures: options.Pictures,
    box: Annotated[
        list[str],
        typer.Option("--box", metavar="X0,Y0,X1,Y1", help="In pixels; may be given several times."),
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
    """Tell the yaw, pitch and roll of the head in a box; the whole picture is looked at.

    Examples:
      headsight pose photo.jpg --box 159,23,297,179
      headsight pose photo.jpg --box 159,23,297,179 --box 300,52,371,140 --json
    """
    import numpy as np

    from headsight.language.box_text import parse_box_text

    for text in box:
        parse_box_text(text)  # a malformed box is an error before anything is loaded

    def ask(grounder: Grounder, picture: Picture) -> Detections:
        boxes = [parse_box_text(text, image_wh=picture.image_wh) for text in box]
        return grounder.pose(picture, np.stack(boxes), constrain=constrain)

    answer_pictures(
        pictures,
        ask,
        model=model, device=device, quantize=quantize, as_json=as_json, raw=raw, save=save,
        overwrite=overwrite, quiet=quiet, verbose=verbose,
    )  # fmt: skip
