"""`headsight keypoints`: the named points of an object."""

from __future__ import annotations

__all__ = ["keypoints"]

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsight.cli import options
from headsight.cli.answer import answer_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

    from headsight.detections import Detections
    from headsight.grounder import Grounder
    from headsight.language.schema import KeypointSchema
    from headsight.picture import Picture
    from headsight.tasks.keypoints import Keypoints


MODEL = "nano-keypoints"
"""What is asked by default."""


def keypoints(
    pictures: options.Pictures,
    schema: Annotated[
        str,
        typer.Option("--schema", metavar="NAME|FILE", help="Which points: see headsight schema."),
    ],
    box: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="X0,Y0,X1,Y1", help="In pixels; may be given several times."),
    ] = None,
    find: Annotated[
        str | None,
        typer.Option("--find", metavar="WORDS", help="Ask about every object that these name."),
    ] = None,
    finder: Annotated[
        str | None,
        typer.Option("--finder", help="What finds; --model by default, nano for nano-keypoints."),
    ] = None,
    category: Annotated[
        str | None, typer.Option("--category", help="What the object is, in words.")
    ] = None,
    model: options.Model = MODEL,
    device: options.Device = "auto",
    quantize: options.Quantize = None,
    order: Annotated[
        str | None,
        typer.Option("--order", help="schema, confidence, or all names with commas between."),
    ] = None,
    mode: options.RoundMode = None,
    window: options.Window = None,
    decode: options.Decode = None,
    density: Annotated[
        Path | None,
        typer.Option("--density", help="Write a sheet of probability maps per object here."),
    ] = None,
    coco: Annotated[
        Path | None, typer.Option("--coco", help="Write a COCO keypoint file of all objects here.")
    ] = None,
    save: options.Save = None,
    overwrite: options.Overwrite = False,
    constrain: options.Constrain = False,
    as_json: options.Json = False,
    raw: options.Raw = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find the points of a schema on an object, each asked by its name and description.

    Without --box or --find the object fills the picture. No example picture is needed: a schema
    of your own is a JSON file (headsight schema new).

    Examples:
      headsight keypoints photo.jpg --schema face-5 --find "every head" --save drawn.png
      headsight keypoints photo.jpg --schema person-17 --box 159,23,297,479 --model ./my-model
      headsight keypoints zoo/ --schema dog --find "dog" --finder ./qwen2.5-vl --model ./my-model
      headsight keypoints photo.jpg --schema my_schema.json --density maps/ --json
    """
    from headsight.errors import InputError
    from headsight.language.box_text import parse_box_text
    from headsight.language.prompts import clean_expression
    from headsight.language.schema_library import schema as schema_of
    from headsight.tasks.keypoint_asking import Asking, asking_of, order_of

    points = schema_of(schema)  # a wrong schema, box or word is an error before anything is loaded
    for text in box or ():
        parse_box_text(text)
    if box and find:
        raise InputError("Both --box and --find are given. Leave one out.")
    if finder is not None and find is None:
        raise InputError("--finder is the model that finds what --find names. Give --find too.")
    if find is not None:
        find = clean_expression(find)
    _refuse_existing(coco, overwrite=overwrite)
    way: dict[str, Any] = {"mode": mode, "decode": decode, "order": _order(order)}
    told = Asking(**{name: value for name, value in way.items() if value is not None})
    order_of(told.order, points)
    records = _Records(points)
    sheets = None if density is None else _Sheets(density, overwrite=overwrite, quiet=quiet)
    if find is not None and finder is None and model == MODEL:
        finder = "nano"  # it tells points and finds nothing
    seeker = _Finder(finder, device)

    def ask(grounder: Grounder, picture: Picture) -> Detections:
        from headsight.tasks.keypoints import find_keypoints

        if sheets is not None:
            sheets.begin(picture)
        boxes = seeker.boxes(grounder, picture, box or [], find)
        asking = asking_of(
            grounder.vlm, **way, window=window, constrain=constrain or None,
            with_density=sheets is not None or None,
        )  # fmt: skip
        word = category or (find if find and len(points.categories) != 1 else None)
        found = find_keypoints(grounder.vlm, picture, boxes, points, category=word, asking=asking)
        if sheets is not None:
            sheets.add(found, asking.side)
        records.add(found)
        return found.to_detections()

    try:
        answer_pictures(
            pictures,
            ask,
            model=model, device=device, quantize=quantize, as_json=as_json, raw=raw, save=save,
            overwrite=overwrite, quiet=quiet, verbose=verbose,
            drawn=lambda found: _drawn(found, points),
        )  # fmt: skip
    finally:
        if coco is not None and records.images:
            records.write(coco, quiet=quiet)


class _Finder:
    """Where the objects are: as told, as found by words, or the whole picture."""

    def __init__(self, model: str | None, device: str) -> None:
        self._model, self._device = model, device
        self._grounder: Grounder | None = None

    def boxes(
        self, grounder: Grounder, picture: Picture, given: list[str], words: str | None
    ) -> Any:
        """Xyxy px (N, 4)."""
        import numpy as np

        from headsight.language.box_text import parse_box_text

        if words is not None:
            if self._model is not None and self._grounder is None:
                from headsight.grounder import load

                self._grounder = load(self._model, device=self._device)
            return (self._grounder or grounder).ground(picture, words).boxes
        if given:
            return np.stack([parse_box_text(text, image_wh=picture.image_wh) for text in given])
        width, height = picture.image_wh
        return np.array([[0.0, 0.0, width, height]])


class _Records:
    """A COCO keypoint file in the making."""

    def __init__(self, schema: KeypointSchema) -> None:
        self._schema = schema
        self.images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, found: Keypoints) -> None:
        """One picture with its objects."""
        number = len(self.images) + 1
        width, height = found.image_wh
        source = found.picture.source if found.picture is not None else ""
        self.images.append({"id": number, "file_name": source, "width": width, "height": height})
        detections = found.to_detections()
        for place, record in enumerate(detections.to_coco(image_id=number)):
            _, _, wide, high = record["bbox"]
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    **record,
                    "area": wide * high,
                    "iscrowd": 0,
                    "num_keypoints": int((detections.keypoints[place, :, 2] > 0).sum()),  # type: ignore[index]
                    "keypoint_scores": [round(float(s), 4) for s in found.scores[place]],
                }
            )

    def write(self, path: Path, *, quiet: bool) -> None:
        """Write all of it."""
        import json

        from headsight.cli.written import tell_written
        from headsight.files import write_atomic

        category = {
            "id": 1,
            "name": self._schema.name,
            "keypoints": list(self._schema.names),
            "skeleton": [[a + 1, b + 1] for a, b in self._schema.skeleton],
        }
        document = {
            "images": self.images, "annotations": self._annotations, "categories": [category]
        }  # fmt: skip
        write_atomic(path, json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n")
        tell_written(path, quiet=quiet)


class _Sheets:
    """A folder of probability maps."""

    def __init__(self, folder: Path, *, overwrite: bool, quiet: bool) -> None:
        self._folder, self._overwrite, self._quiet = folder, overwrite, quiet
        self._taken: set[str] = set()
        self._stem = ""

    def begin(self, picture: Picture) -> None:
        """Name the sheets of the next picture.

        Raises:
            InputError: there is one of that name, and none may be replaced.
        """
        self._stem = self._name(Path(picture.source).stem)
        _refuse_existing(self._folder / f"{self._stem}-1.png", overwrite=self._overwrite)

    def add(self, found: Keypoints, side: int) -> None:
        """A sheet for every object of the picture that was begun."""
        import io

        from headsight.cli.written import tell_written
        from headsight.cut_out import cut_out
        from headsight.draw_density import density_sheet
        from headsight.files import write_atomic

        assert found.densities is not None
        assert found.picture is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        for place, crop in enumerate(found.crops):
            path = self._folder / f"{self._stem}-{place + 1}.png"
            _refuse_existing(path, overwrite=self._overwrite)
            sheet = density_sheet(
                cut_out(found.picture.image, crop, side=side),
                found.densities[place],
                crop.to_crop(found.points[place]),
                found.schema.names,
            )
            buffer = io.BytesIO()
            sheet.save(buffer, "PNG")
            write_atomic(path, buffer.getvalue())
            tell_written(path, quiet=self._quiet)

    def _name(self, stem: str) -> str:
        """Its own, numbered where pictures share one (a.jpg and a.png)."""
        name, number = stem, 1
        while name in self._taken:
            number += 1
            name = f"{stem}.{number}"
        self._taken.add(name)
        return name


def _order(text: str | None) -> str | tuple[str, ...] | None:
    from headsight.tasks.keypoint_asking import ORDERS

    if text is None or text in ORDERS:
        return text
    return tuple(name.strip() for name in text.split(","))


def _refuse_existing(path: Path | None, *, overwrite: bool) -> None:
    from headsight.errors import InputError

    if path is not None and path.exists() and not overwrite:
        raise InputError(f"{path} exists. Choose another name, or give --overwrite.")


def _drawn(found: Detections, schema: KeypointSchema) -> Image:
    """Boxes, and in each of them edges, points and names."""
    from dataclasses import replace

    from headsight.draw_keypoints import draw_keypoints

    canvas = replace(found, keypoints=None).draw()
    for table in () if found.keypoints is None else found.keypoints:
        canvas = draw_keypoints(canvas, table[:, :2], schema, visible=table[:, 2] > 0)
    return canvas
