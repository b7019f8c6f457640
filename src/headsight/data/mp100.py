"""MP-100 (arXiv 2207.10387): 100 categories of objects with keypoints, from 13 other data sets.

Nobody passes its pictures on, so that most copies lack some: whatever is there is read, and the
rest is told. Annotation files keep their names, `mp100_split1_test.json`; pictures lie in one
folder a category, beside the folder of the annotations or in `images`.
"""

from __future__ import annotations

__all__ = [
    "PARTS",
    "SOURCES",
    "Mp100Check",
    "check_mp100",
    "find_mp100",
    "is_mp100",
    "mp100_set",
    "read_mp100",
    "schemas_of",
]

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from headsight.data.coco_keypoints import keypoint_set
from headsight.data.keypoint_check import picture_fault
from headsight.data.keypoints import KeypointInstance, KeypointSet
from headsight.data.ref_sample import Problem
from headsight.errors import AnnotationError, InputError
from headsight.language.schema import KeypointSchema
from headsight.language.schema_library import mp100_schema

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
SPLITS = (1, 2, 3, 4, 5)

SOURCES: dict[str, tuple[int, ...]] = {
    "COCO": (72,),
    "300W": (40,),
    "AFLW": (18,),
    "OneHand10K": (80,),
    "DeepFashion2": (1, 8, 11, 17, 25, 60, 62, 64, 67, 75, 78, 83, 97),
    "AP-10K": (
        2, 3, 5, 6, 9, 15, 20, 21, 26, 27, 29, 30, 31, 33, 35, 42, 43, 50, 52, 54, 55, 58, 68, 70,
        71, 73, 76, 85, 87, 88, 90, 91, 95, 100,
    ),
    "MacaquePose": (92,),
    "Vinegar Fly": (66,),
    "Desert Locust": (44,),
    "CUB-200": (14, 16, 28, 41, 46, 53, 59, 86),
    "CarFusion": (32, 38, 51),
    "AnimalWeb": (
        4, 7, 10, 12, 13, 19, 22, 23, 24, 34, 36, 37, 47, 48, 56, 57, 61, 63, 65, 69, 74, 77, 79,
        81, 82, 89, 93, 94, 96, 99,
    ),
    "Keypoint-5": (39, 45, 49, 84, 98),
}  # fmt: skip
"""Categories, by id, of each data set that the pictures come from."""

_FILE = re.compile(r"mp100_split[1-5]_(train|val|test)([-_.].*)?[.]json")
_LABELS = {18: "human face (AFLW)", 40: "human face (300W)"}
"""Of the two categories that the files both call face; the folder of 18 is `amur_tiger_body`."""
_SOURCE_OF = {key: source for source, keys in SOURCES.items() for key in keys}
_OTHER = "unknown source"
_CARFUSION = (
    "CarFusion: its converter names pictures otherwise than the annotations do. Rename them to the"
    " ids of its pictures, as the authors' rename_carfusion_image.py does."
)


def is_mp100(path: Path) -> bool:
    """Whether a file bears the name of one of MP-100's annotations."""
    return _FILE.fullmatch(path.name) is not None


def read_mp100(root: Path | str, *, split: int, part: Part) -> KeypointSet:
    """The instances of one part of one split; those without a picture are in `without_picture`.

    Args:
        root: folder of the data set.
        split: 1 to 5.
        part: train, val or test; the categories of the three have nothing in common.

    Raises:
        InputError: no such split or part, or its file is not below the folder.
        AnnotationError: the file is not in its format.
    """
    if split not in SPLITS or part not in PARTS:
        raise InputError(
            f"MP-100 has no split {split} {part}. Choose a split of 1 to 5 and one of:"
            f" {', '.join(PARTS)}."
        )
    files = [p for p in find_mp100(Path(root)) if p.name.startswith(f"mp100_split{split}_{part}")]
    if not files:
        raise InputError(
            f"{root} holds no mp100_split{split}_{part}.json. Pass the folder of MP-100, and put"
            " its annotation files into it or into annotations/."
        )
    return mp100_set(_content(files[0]), files[0])


def schemas_of(found: KeypointSet) -> dict[str, KeypointSchema]:
    """The shipped schema of every category that a set of MP-100 holds, by the category's name.

    Raises:
        AnnotationError: a category that is none of MP-100's 100, or has another number of points.
    """
    ids = {name: key for key, name in found.categories.items()}
    numbers = {i.category: len(i.visible) for i in found.instances}
    schemas = {}
    for category, number in numbers.items():
        if ids.get(category) not in _SOURCE_OF:
            raise AnnotationError(
                f"{found.name}: {category!r} has the id {ids.get(category)!r}, but MP-100's"
                " categories are 1 to 100. Pass one of its annotation files."
            )
        schemas[category] = mp100_schema(ids[category])
        if len(schemas[category]) != number:
            raise AnnotationError(
                f"{found.name}: {category!r} has {number} keypoints, but the schema"
                f" {schemas[category].name} has {len(schemas[category])}. Fetch the file again."
            )
    return schemas


def find_mp100(root: Path) -> list[Path]:
    """The annotation files in a folder and in its `annotations`, by name."""
    return sorted(
        p for folder in (root, root / "annotations") for p in folder.glob("*.json") if is_mp100(p)
    )


def mp100_set(whole: Any, path: Path, *, images: Path | None = None) -> KeypointSet:
    """The instances of an annotation file, with one name a category.

    Raises:
        AnnotationError: not the COCO form, or nothing can be used.
    """
    try:
        categories = [
            {**c, "name": _LABELS.get(c["id"], c.get("name"))} for c in whole["categories"]
        ]
        folders = {str(i["file_name"]).split("/")[0] for i in whole["images"]}
    except (AttributeError, KeyError, TypeError) as error:
        raise AnnotationError(
            f"{path} is no annotation file of MP-100: {type(error).__name__} {error}. Expected"
            " images, annotations and categories. Fetch it again."
        ) from error
    near = (path.parent.parent, path.parent.parent / "images", path.parent, path.parent / "images")
    place = images or next((f for f in near if any((f / n).exists() for n in folders)), near[0])
    return keypoint_set({**whole, "categories": categories}, path, images=place)


@dataclass(frozen=True)
class SourceCheck:
    """How much of a source is there."""

    labelled: int
    """Pictures that the annotations name."""
    found: int
    instances: int
    """Labelled, that count."""
    usable: int
    """Of these, with a picture."""


@dataclass(frozen=True)
class Mp100Check:
    """What a look at every annotation and picture found."""

    files: dict[str, dict[str, int]]
    """Per annotation file: categories, `instances`, and those `usable`."""
    sources: dict[str, SourceCheck]
    missing_files: tuple[str, ...]
    problems: tuple[Problem, ...]
    """Annotations and pictures that are broken."""
    notes: tuple[str, ...]

    @property
    def usable(self) -> int:
        """Instances with a picture."""
        return sum(row.usable for row in self.sources.values())

    @property
    def is_good(self) -> bool:
        """Every picture that is named is there, and nothing is broken."""
        return not self.problems and all(row.found == row.labelled for row in self.sources.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": "mp100",
            "is_good": self.is_good,
            "files": self.files,
            "sources": {name: asdict(row) for name, row in self.sources.items()},
            "missing_files": list(self.missing_files),
            "notes": list(self.notes),
            "problems": [p._asdict() for p in self.problems],
        }


def check_mp100(
    root: Path,
    *,
    part: str | None = None,
    decode: bool = True,
    on_size: Callable[[int], None] = lambda number: None,
    on_picture: Callable[[], None] = lambda: None,
) -> Mp100Check:
    """Look at every annotation file and picture of a folder, source by source.

    Args:
        root: folder of the data set.
        part: only the files of train, val or test; None or `all`: every one.
        decode: decode every picture, which finds broken ones; else it is only looked for.
        on_size: told how many pictures there are to look at.
        on_picture: called after each.

    Raises:
        InputError: there is not one annotation file, or no such part.
    """
    wanted = PARTS if part in (None, "all") else (part,)
    if not set(wanted) <= set(PARTS):
        raise InputError(f"MP-100 has no part '{part}'. Choose one of: {', '.join(PARTS)}, or all.")
    files = [p for p in find_mp100(root) if p.stem.split("_")[2].startswith(wanted)]
    if not files:
        raise InputError(
            f"{root} holds no annotation file of MP-100. Put mp100_split1_test.json and the others"
            " into it or into annotations/."
        )
    rows, problems, by_source = {}, [], _BySource()
    for path in files:
        try:
            found = mp100_set(_content(path), path)
        except AnnotationError as error:
            problems.append(Problem(path.name, str(error)))
            continue
        by_source.add(found)
        problems += [Problem(f"{path.name}, {p.id}", p.error) for p in found.problems]
        rows[path.name] = {
            "categories": len({i.category for i in found.instances}),
            "instances": len(found),
            "usable": len(found) - len(found.without_picture),
        }
    on_size(by_source.number)
    sources = {}
    for name in (*SOURCES, _OTHER):
        if name in by_source.pictures:
            sources[name], broken = by_source.look(name, decode=decode, on_picture=on_picture)
            problems += broken
    names = {re.sub(r"(train|val|test).*", r"\1", p.name) for p in files}
    expected = [f"mp100_split{split}_{name}" for split in SPLITS for name in wanted]
    cars = sources.get("CarFusion")
    return Mp100Check(
        rows,
        sources,
        tuple(f"{name}.json" for name in expected if name not in names),
        tuple(problems),
        (_CARFUSION,) if cars is not None and cars.found < cars.labelled else (),
    )


class _BySource:
    """The pictures of all files, each once, and their instances."""

    def __init__(self) -> None:
        self.pictures: dict[str, dict[Path, dict[str, KeypointInstance]]] = {}

    @property
    def number(self) -> int:
        return sum(map(len, self.pictures.values()))

    def add(self, found: KeypointSet) -> None:
        """Put every instance to its source; the same annotation of two files counts once."""
        ids = {name: key for key, name in found.categories.items()}
        for instance in found.instances:
            source = _SOURCE_OF.get(ids.get(instance.category, -1), _OTHER)
            group = self.pictures.setdefault(source, {}).setdefault(instance.image, {})
            group[instance.id] = instance

    def look(
        self, source: str, *, decode: bool, on_picture: Callable[[], None]
    ) -> tuple[SourceCheck, Sequence[Problem]]:
        """Count what is there of one source."""
        groups = self.pictures[source]
        found, usable, problems = 0, 0, []
        for path, group in groups.items():
            on_picture()
            if not path.is_file():
                continue
            found += 1
            error = picture_fault(path, next(iter(group.values())).image_wh) if decode else None
            if error is None:
                usable += len(group)
            else:
                problems.append(Problem(str(path), error))
        number = sum(map(len, groups.values()))
        return SourceCheck(len(groups), found, number, usable), problems


def _content(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise AnnotationError(
            f"{path} cannot be read: {type(error).__name__} {error}. Fetch it again."
        ) from error
