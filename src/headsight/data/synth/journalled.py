"""A folder of pictures with a journal: one JSON line per finished picture, to resume by."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headsight.errors import InputError, ResumeError

__all__ = [
    "open_folder",
    "save_picture",
    "settings_hash",
    "write_scenes_of",
    "write_text",
]

_JOURNAL = "journal.jsonl"


@runtime_checkable
class Rendered(Protocol):
    """A picture and what is known of it."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3)."""


RenderedScene = TypeVar("RenderedScene", bound=Rendered)


def open_folder(
    folder: Path, header: dict[str, Any], *, overwrite: bool, resume: bool
) -> list[dict[str, Any]]:
    """Make the folder ready for pictures; the records of what an earlier run finished in it.

    Raises:
        InputError: the folder holds something and neither `overwrite` nor `resume` is given.
        ResumeError: the folder's journal is damaged or begins with another `header`.
    """
    journal = folder / _JOURNAL
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{str(folder)!r} is a file, but a folder for the scenes is expected.")
    if journal.exists() and resume:
        return _read_journal(journal, header)
    if folder.exists() and any(folder.iterdir()):
        if not overwrite:
            raise InputError(
                f"Folder {str(folder)!r} is not empty. Choose another --out, or give --overwrite to"
                " start anew or --resume to go on."
            )
        for old in (*folder.glob("images/*.jpg"), *folder.glob("*.json*"), *folder.glob("*.jpg")):
            old.unlink()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    write_text(journal, json.dumps(header) + "\n")
    return []


def write_scenes_of(
    scenes: Iterable[tuple[int, RenderedScene]],
    folder: Path,
    done: list[dict[str, Any]],
    to_record: Callable[[RenderedScene], dict[str, Any]],
    *,
    quality: int,
    on_scene: Callable[[int], None] | None,
) -> list[dict[str, Any]]:
    """The records of all pictures, in order, once those that are missing are written.

    Each picture is finished before its line goes into the journal.

    Args:
        scenes: what is missing, numbered.
        folder: as `open_folder` made it.
        done: records of what is there.
        to_record: what is told of a scene, beside its number and file.
        quality: of the JPEG files.
        on_scene: called with the number of pictures that are there, at first and after each.
    """
    records = list(done)
    if on_scene:
        on_scene(len(records))
    with (folder / _JOURNAL).open("a", encoding="utf-8") as journal:
        for index, scene in scenes:
            name = f"images/{index:06d}.jpg"
            save_picture(Image.fromarray(scene.image), folder / name, quality)
            record = {"index": index, "file_name": name, **to_record(scene)}
            journal.write(json.dumps(record) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
            records.append(record)
            if on_scene:
                on_scene(len(records))
    return sorted(records, key=lambda record: int(record["index"]))


def settings_hash(config: Any, seed: int, quality: int) -> str:
    """A mark of all settings, by which a resumed run knows its own journal."""
    values = {k: str(v) for k, v in asdict(config).items()}
    values |= {"seed": str(seed), "quality": str(quality)}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def save_picture(image: Image.Image, path: Path, quality: int) -> None:
    """Write a JPEG so that `path` is whole or absent."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        image.save(file, "JPEG", quality=quality)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write text so that `path` holds the old or all of the new."""
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _read_journal(journal: Path, header: dict[str, Any]) -> list[dict[str, Any]]:
    text = journal.read_text("utf-8")
    lines = text.splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):  # the last line was torn by a kill
        write_text(journal, "".join(whole))
    try:
        records = [json.loads(line) for line in whole]
    except json.JSONDecodeError as error:
        raise ResumeError(
            f"{journal} is damaged: {error}. Give --overwrite to start anew."
        ) from error
    if not records or records[0] != header:
        raise ResumeError(
            f"{journal} was written with other settings or another seed."
            " Use the same ones, or give --overwrite to start anew."
        )
    return records[1:]
