"""Referring expressions with their answers, from whatever files people have.

Names stand for the folders of the data directory (environment variable HEADSIGHT_DATA); nothing is
downloaded.
"""

from __future__ import annotations

__all__ = ["READERS", "Problem", "RefSample", "RefSet", "Region", "read_refs"]

import json
from collections.abc import Callable
from pathlib import Path

from headsight.data.coco_refs import read_coco_refs
from headsight.data.heads import data_folder
from headsight.data.reasonseg import read_reasonseg
from headsight.data.ref_jsonl import read_expressions, read_ref_jsonl
from headsight.data.ref_sample import Problem, RefSample, RefSet, Region
from headsight.data.refcoco import read_refcoco
from headsight.data.scene_refs import ExpressionMaker, read_scene_refs
from headsight.errors import InputError

READERS: dict[str, Callable[[Path], RefSet]] = {"refexp_coco_sample": read_expressions}
"""Reader of each named set; called with its folder."""

_PICKLES = (".p", ".pkl", ".pickle")
_REFS = ("refs(*).p", "grefs(*).p", "refs(*).json", "grefs(*).json")


def read_refs(
    name: str | Path,
    *,
    split: str | None = None,
    images: Path | None = None,
    expressions: ExpressionMaker | None = None,
) -> RefSet:
    """The expressions of a named set, a file or a folder; what it is is told by its files.

    A refs file of RefCOCO, RefCOCO+, RefCOCOg or gRefCOCO, or its folder where it holds just one;
    a `.jsonl` file; a folder of ReasonSeg; a folder with expressions.json; a folder of
    `headsight scenes`; a COCO instances file, whose categories are the words. Missing pictures and
    unusable rows are in `problems`; the rest go on.

    Args:
        name: name of a set, file or folder.
        split: `train`, `val`, `testA` ..., `all`; None is `val` where there are several.
        images: where the pictures are, if not beside the labels.
        expressions: makes expressions for scenes that were written without.

    Raises:
        InputError: no such set, file, folder or split; or a folder with several sets.
        AnnotationError: labels that are not in their format, a pickle that could run code, or not
            one usable sample.
    """
    if str(name) in READERS:
        found = READERS[str(name)](data_folder(str(name)))
        return _only_split(found, split)
    path = Path(name).expanduser()
    if path.is_dir():
        return _read_folder(path, split, images, expressions)
    if path.is_file():
        if path.suffix == ".jsonl":
            return read_ref_jsonl(path, split=split, images=images)
        if path.suffix in _PICKLES or "refs" in path.name:
            return read_refcoco(path, split=split, images=images)
        if path.suffix == ".json":
            if _has_expressions(path):
                return _only_split(read_scene_refs(path, make=expressions), split)
            return _only_split(read_coco_refs(path, images=images), split)
    raise InputError(
        f"'{name}' is no set of referring expressions. Known sets: {', '.join(READERS)}; or pass a"
        " refs(...).p file, a .jsonl file, a COCO .json file, a ReasonSeg folder or a scenes"
        " folder."
    )


def _read_folder(
    path: Path, split: str | None, images: Path | None, expressions: ExpressionMaker | None
) -> RefSet:
    refs = [p for pattern in _REFS for p in sorted(path.glob(pattern))]
    if not refs:
        inner = [p for pattern in _REFS for p in sorted(path.glob(f"*/{pattern}"))]
        if inner:
            raise _choose_one(path, inner)
    if len(refs) > 1:
        raise _choose_one(path, refs)
    if refs:
        return read_refcoco(refs[0], split=split, images=images)
    if (path / "annotations.json").is_file():
        found = read_scene_refs(path / "annotations.json", make=expressions)
        return _only_split(found, split)
    if (path / "expressions.json").is_file():
        return _only_split(read_expressions(path), split)
    return read_reasonseg(path, split=split)


def _has_expressions(path: Path) -> bool:
    """Whether a JSON file holds expressions, or comes from `headsight scenes`."""
    try:
        whole = json.loads(path.read_text("utf-8"))
    except (OSError, RecursionError, ValueError):
        return True  # whoever reads it tells what is wrong
    if not isinstance(whole, dict) or "categories" not in whole:
        return True
    info = whole.get("info")
    schema = info.get("schema", "") if isinstance(info, dict) else ""
    return "expressions" in whole or str(schema).startswith("headsight.scenes")


def _choose_one(path: Path, found: list[Path]) -> InputError:
    return InputError(
        f"{path} holds several sets of references. Pass one of: {', '.join(map(str, found))}."
    )


def _only_split(found: RefSet, split: str | None) -> RefSet:
    if split in (None, "all"):
        return found
    raise InputError(f"{found.name} has no splits, so '{split}' cannot be chosen. Leave it out.")
