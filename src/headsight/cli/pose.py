"""`headsight pose`: the pose of the head in a given box."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headsight.cli import run

if TYPE_CHECKING:
    from headsight.detections import Detections
    from headsight.grounder import Grounder
    from headsight.picture import Picture

__all__ = ["pose"]


def pose(
    pictures: run.Pictures,
    box: Annotated[
        list[str], typer.Option("--box", help="x0,y0,x1,y1 in pixels; may be given several times.")
    ],
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
    """Tell the yaw, pitch and roll of the head in a box; the whole picture is looked at.

    Examples:

      headsight pose photo.jpg --box 120,40,180,110

      headsight pose photo.jpg --box 120,40,180,110 --box 300,52,371,140 --json
    """
    import numpy as np

    from headsight.language.box_text import parse_box_text

    for text in box:
        parse_box_text(text)  # a malformed box is an error before anything is loaded

    def ask(grounder: Grounder, picture: Picture) -> Detections:
        boxes = [parse_box_text(text, image_wh=picture.image_wh) for text in box]
        return grounder.pose(picture, np.stack(boxes), constrain=constrain)

    run.answer_pictures(
        pictures,
        ask,
        model=model, device=device, as_json=as_json, raw=raw, save=save,
        overwrite=overwrite, quiet=quiet, verbose=verbose,
    )  # fmt: skip
