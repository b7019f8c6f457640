"""RefCOCO, RefCOCO+, RefCOCOg, RefCLEF and gRefCOCO: a refs file beside COCO's instances.json.

Layout of the reference loader (lichengunc/refer): `ROOT/refcocog/refs(umd).p` (a pickle),
`ROOT/refcocog/instances.json`, pictures of COCO train2014. One sample is one sentence. gRefCOCO
(arXiv:2306.00968) refers to several objects or none: `grefs(unc).json`.
"""

from __future__ import annotations

__all__ = ["SENTENCES", "read_refcoco"]

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headsight.data.ref_sample import RefSample, RefSet, choose_split, regions_of, sift
from headsight.data.refs_pickle import load_plain_pickle
from headsight.errors import AnnotationError, InputError
from headsight.geometry.boxes import xywh_to_xyxy

SENTENCES: dict[tuple[str, str], dict[str, int]] = {
    ("refcoco", "unc"): {"train": 120_624, "val": 10_834, "testA": 5_657, "testB": 5_095},
    ("refcoco+", "unc"): {"train": 120_191, "val": 10_758, "testA": 5_726, "testB": 4_889},
    ("refcocog", "umd"): {"train": 80_512, "val": 4_896, "test": 9_602},
}
"""Published numbers of sentences by folder and split maker."""

_PICTURES = (
    "images/mscoco/images/train2014", "images/train2014", "train2014", "images/mscoco/train2014",
    "images", "../images/mscoco/images/train2014", "../images/train2014", "../train2014",
    "../images", "../coco/train2014", "../coco/images/train2014", "../images/saiapr_tc-12", ".",
)  # fmt: skip


@dataclass(frozen=True)
class _Coco:
    """What the refs point at."""

    images: Mapping[int, Mapping[str, Any]]
    annotations: Mapping[int, Mapping[str, Any]]
    categories: Mapping[int, str]


def read_refcoco(path: Path, *, split: str | None = None, images: Path | None = None) -> RefSet:
    """Every sentence of a split of a refs file.

    Args:
        path: `refs(unc).p` and the like, or the same as JSON; instances.json lies beside it.
        split: name as in the file; None is `val`, `test` also testA and testB together.
        images: folder of the pictures; None looks in the usual places round the file.

    Raises:
        InputError: no such split.
        AnnotationError: a pickle that is more than plain values, a file of another form, or
            nothing in it that can be used.
    """
    refs = _load_refs(path)
    present = Counter(str(ref.get("split", "")) for ref in refs)
    chosen = choose_split(present, split, where=str(path))
    refs = [ref for ref in refs if str(ref.get("split", "")) in chosen]
    coco = _load_coco(path.parent / "instances.json")
    folder = _picture_folder(path.parent, images, refs, coco)
    dataset, maker = path.parent.name, _split_maker(path)
    return sift(
        _items(refs, coco, folder),
        name=f"{dataset}/{maker}",
        split="+".join(sorted(chosen)),
        notes=_count_note(refs, dataset, maker, chosen),
    )


def _load_refs(path: Path) -> list[dict[str, Any]]:
    refs = _load_json(path) if path.suffix == ".json" else load_plain_pickle(path)
    if not isinstance(refs, list) or not refs or not all(map(_is_ref, refs)):
        raise AnnotationError(
            f"{path} holds no list of refs. Expected dicts with image_id, ann_id, split and"
            " sentences, as in the files of RefCOCO."
        )
    return refs


def _is_ref(ref: Any) -> bool:
    """Plain ids, a split name and sentences: what is formatted or looked up later."""
    if not isinstance(ref, dict) or not isinstance(ref.get("sentences"), list):
        return False
    targets = ref.get("ann_id")
    numbers = [ref.get("image_id"), *(targets if isinstance(targets, list) else [targets])]
    numbers.append(ref.get("ref_id", 0))
    return isinstance(ref.get("split", ""), str) and all(isinstance(n, int | str) for n in numbers)


def _load_coco(path: Path) -> _Coco:
    whole = _load_json(path)
    try:
        return _Coco(
            {i["id"]: i for i in whole["images"]},
            {a["id"]: a for a in whole["annotations"]},
            {c["id"]: str(c["name"]) for c in whole.get("categories", [])},
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise AnnotationError(
            f"{path} is no COCO file: {type(error).__name__} {error}. Expected 'images' and"
            " 'annotations' with ids."
        ) from error


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotationError(
            f"{path} cannot be read: {type(error).__name__} {error}. Fetch it again; instances.json"
            " belongs beside the refs file."
        ) from error


def _items(
    refs: list[dict[str, Any]], coco: _Coco, folder: Path
) -> Iterator[tuple[str, Callable[[str], RefSample]]]:
    for ref in refs:
        for number, sentence in enumerate(ref["sentences"]):
            said = sentence.get("sent_id") if isinstance(sentence, dict) else None
            key = (
                f"{ref.get('ref_id', ref['image_id'])}/{said if isinstance(said, int) else number}"
            )
            yield key, partial(_sample, ref=ref, sentence=sentence, coco=coco, folder=folder)


def _sample(
    key: str, *, ref: Mapping[str, Any], sentence: Any, coco: _Coco, folder: Path
) -> RefSample:
    text = sentence["sent"]
    if not isinstance(text, str):
        raise AnnotationError("Its 'sent' is no text.")
    image = _look_up(coco.images, ref["image_id"], "picture")
    asked = ref["ann_id"] if isinstance(ref["ann_id"], list) else [ref["ann_id"]]
    targets = [_look_up(coco.annotations, a, "annotation") for a in asked if a != -1]
    boxes = np.array([t["bbox"] for t in targets], np.float64).reshape(-1, 4)
    names = {coco.categories.get(t.get("category_id", 0), "") for t in targets}
    ids = {name: ref[name] for name in ("ref_id", "image_id") if name in ref}
    return RefSample(
        key,
        folder / str(image["file_name"]),
        (int(image["width"]), int(image["height"])),
        text.strip(),
        np.asarray(xywh_to_xyxy(boxes)),
        tuple(r for t in targets for r in regions_of(t.get("segmentation"))),
        category=names.pop() if len(names) == 1 else "",
        split=str(ref.get("split", "")),
        ids=ids | ({"ann_id": asked[0]} if asked else {}),
    )


def _look_up(table: Mapping[int, Mapping[str, Any]], key: Any, what: str) -> Mapping[str, Any]:
    try:
        return table[key]
    except (KeyError, TypeError) as error:
        raise AnnotationError(f"The {what} {key} is not in instances.json.") from error


def _picture_folder(
    home: Path, images: Path | None, refs: list[dict[str, Any]], coco: _Coco
) -> Path:
    """The folder that holds any of the first pictures; where none does, the first candidate."""
    if images is not None:
        if not images.is_dir():
            raise InputError(f"{images} is no folder. Pass the folder of the COCO pictures.")
        return images
    known = [coco.images[r["image_id"]] for r in refs[:50] if r["image_id"] in coco.images]
    names = [str(i.get("file_name", "")) for i in known]
    places = [home / place for place in _PICTURES]
    return next((p for p in places if any((p / n).is_file() for n in names if n)), places[0])


def _split_maker(path: Path) -> str:
    found = re.search(r"\((.+)\)", path.name)
    return found[1] if found else path.stem


def _count_note(
    refs: list[dict[str, Any]], dataset: str, maker: str, chosen: set[str]
) -> list[str]:
    """A remark where the file is not the published one."""
    known = SENTENCES.get((dataset, maker), {})
    if not chosen <= known.keys():
        return []
    expected, found = sum(known[s] for s in chosen), sum(len(r["sentences"]) for r in refs)
    if expected == found:
        return []
    return [
        f"{found} sentences, but {dataset} ({maker}) {'+'.join(sorted(chosen))} has {expected}:"
        " figures cannot be compared with published ones."
    ]
