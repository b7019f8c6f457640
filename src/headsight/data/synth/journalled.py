"""A folder of pictures with a journal: one JSON line per finished picture, to resume by."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from PIL import Image

from headsight.errors import InputError, ResumeError

__all__ = ["JOURNAL", "open_folder", "save_picture", "write_text"]

JOURNAL = "journal.jsonl"


def open_folder(
    folder: Path, header: dict[str, Any], *, overwrite: bool, resume: bool
) -> list[dict[str, Any]]:
    """Make the folder ready for pictures; the records of what an earlier run finished in it.

    Raises:
        InputError: the folder holds something and neither `overwrite` nor `resume` is given.
        ResumeError: the folder's journal is damaged or begins with another `header`.
    """
    journal = folder / JOURNAL
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
