"""Running a search for heads so that a kill loses little, and what is written beside its result."""

from __future__ import annotations

__all__ = [
    "SAVE_SECONDS",
    "beside",
    "chart_path",
    "check_places",
    "contact_sheet",
    "run_search",
    "seen_kind",
    "sheet_path",
    "state_path",
    "write_picture",
]

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headsight.errors import HeadsightError, ImageError, InputError, ResumeError
from headsight.files import write_atomic

if TYPE_CHECKING:
    from PIL import Image
    from rich.progress import Progress

    from headsight.attention.head_set import HeadSet
    from headsight.data.refs import RefSample
    from headsight.draw_head_maps import SheetRow
    from headsight.models.base import AttentiveVLM
    from headsight.models.image_views import ViewKind
    from headsight.tasks.finding import Search
    from headsight.tasks.looking import Question

SAVE_SECONDS = 1.0
"""Work that a kill may cost; more where saving itself takes long."""
_SAVE_SHARE = 0.05
"""Share of the time that may go into saving."""
_SHEET_ROWS, _SHEET_HEADS = 6, 5


def state_path(output: Path) -> Path:
    """Where the state of an unfinished search is kept."""
    return output.with_name(output.name + ".state")


def beside(output: Path, ending: str) -> Path:
    """`heads.json` and "-maps.png" give heads-maps.png."""
    return output.with_name(output.stem + ending)


def chart_path(output: Path) -> Path:
    """Where the chart of the selection goes."""
    return output.with_suffix(".png")


def sheet_path(output: Path) -> Path:
    """Where the contact sheet of the maps goes."""
    return beside(output, "-maps.png")


def check_places(output: Path, *, overwrite: bool) -> None:
    """Pass if the heads and the pictures beside them may be written.

    Raises:
        InputError: one of them is there, unless an unfinished search wrote it, or they are one.
    """
    if output == chart_path(output):
        raise InputError(
            f"--out is {output}, but heads are written as JSON, with the chart beside them as .png."
            " Give a name that ends in .json."
        )
    places = [output]
    if not state_path(output).exists():
        places += [chart_path(output), sheet_path(output)]
    there = [place for place in places if place.exists()]
    if there and not overwrite:
        raise InputError(f"{there[0]} exists. Choose another --out, or give --overwrite.")


def run_search(
    vlm: AttentiveVLM,
    samples: Sequence[RefSample],
    search: Search,
    question: Question,
    settings: Mapping[str, Any],
    output: Path,
    progress: Progress,
) -> None:
    """Look at all samples, from where an earlier run with the same settings stopped.

    Raises:
        ResumeError: the state beside `output` is of other settings.
    """
    from headsight.tasks.finding import search_heads

    path, plain = state_path(output), json.loads(json.dumps(settings))
    _restore(search, path, plain)
    bar = progress.add_task("expressions", total=len(search.order), completed=search.done)
    saved, cost = time.perf_counter(), 0.0
    for _ in search_heads(vlm, samples, search, question):
        progress.update(bar, completed=search.done)
        began = time.perf_counter()
        if began - saved >= max(SAVE_SECONDS, cost / _SAVE_SHARE):
            record = {"settings": plain, **search.to_dict()}
            write_atomic(path, json.dumps(record).encode())
            saved = time.perf_counter()
            cost = saved - began


def seen_kind(vlm: AttentiveVLM, question: Question, samples: Sequence[RefSample]) -> ViewKind:
    """The kind of view that the model has of the first picture that can be opened."""
    from headsight.picture import open_picture
    from headsight.tasks.looking import view_of

    for sample in samples:
        try:
            return view_of(vlm, open_picture(sample.image), question.prompt).kind
        except ImageError:
            continue
    return "whole"


def contact_sheet(vlm: AttentiveVLM, heads: HeadSet, samples: Sequence[RefSample]) -> Image.Image:
    """Where the heads look on the first samples that can be looked at."""
    from headsight.draw_head_maps import draw_head_maps

    rows: list[SheetRow] = []
    for sample in samples:
        if len(rows) == _SHEET_ROWS:
            break
        try:
            rows.append(_sheet_row(vlm, heads, sample))
        except HeadsightError:  # told already when it was counted
            continue
    frequency = {(row.layer, row.head): row.frequency for row in heads.table}
    titles = [f"L{at[0]} H{at[1]}, {frequency[at]:.0%}" for at in heads.heads[:_SHEET_HEADS]]
    return draw_head_maps(rows, titles)


def write_picture(path: Path, image: Image.Image) -> None:
    """Write a PNG, all of it or nothing."""
    import io

    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())


def _restore(search: Search, path: Path, settings: Mapping[str, Any]) -> None:
    if not path.exists():
        return
    try:
        record = json.loads(path.read_text("utf-8"))
        is_same = record["settings"] == settings
    except (KeyError, TypeError, ValueError) as error:
        raise ResumeError(f"{path} cannot be read ({error}). Delete it to start again.") from error
    if not is_same:
        raise ResumeError(
            f"{path} was made with other settings or data. Delete it to start again, or choose"
            " another --out."
        )
    search.restored(record)


def _sheet_row(vlm: AttentiveVLM, heads: HeadSet, sample: RefSample) -> SheetRow:
    import numpy as np

    from headsight.draw_head_maps import SheetRow
    from headsight.geometry.heatmaps import map_to_box
    from headsight.picture import open_picture
    from headsight.tasks.looking import Question, look, read_looks

    picture = open_picture(sample.image)
    looks = look(vlm, picture, sample.text, Question.of(heads))
    _, heat = read_looks(looks, heads)
    found = map_to_box(heat, looks.view.region, image_wh=picture.image_wh, valid=looks.valid)
    return SheetRow(
        picture.image,
        sample.text,
        np.stack([looks.maps[head] for head in heads.heads[:_SHEET_HEADS]]),
        heat,
        looks.view.region,
        np.array([found.box] if found.box else [], np.float64).reshape(-1, 4),
        np.asarray(sample.boxes, np.float64),
    )
