"""COCO keypoint files as instances: what of them counts, what is left out and what is broken."""

from __future__ import annotations

__all__ = ["keypoint_set"]

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.data.head_folder import find_pictures
from headsight.data.keypoints import KeypointInstance, KeypointSet
from headsight.data.ref_sample import Problem, picture_wh
from headsight.errors import AnnotationError, HeadsightError
from headsight.geometry.keypoints import clean_box

_PLACES = (".", "images", "..", "../images", "../..")
"""Where pictures lie, seen from the labels."""
_TRIED = 50
"""Pictures by which a folder is chosen."""
_NO_BOX = "Boxes are drawn around the labelled points, as the file has none."


def keypoint_set(whole: Any, path: Path, *, images: Path | None = None) -> KeypointSet:
    """The objects of a COCO keypoint file, in the order of its pictures.

    Left out are crowds, objects without a labelled point, of area 0 or with a box outside the
    picture. A point that is labelled but hidden counts like any other. Pictures need not be there.

    Args:
        whole: the file's content.
        path: of the file.
        images: folder of the pictures, if not near the file.

    Raises:
        AnnotationError: the file is of another form, or not one annotation can be used.
    """
    try:
        pictures = {i["id"]: i for i in whole["images"]}
        by_image: dict[Any, list[Mapping[str, Any]]] = {key: [] for key in pictures}
        for number, a in enumerate(whole["annotations"]):
            by_image.setdefault(a["image_id"], []).append({"id": number, **a})
        categories = {c["id"]: c for c in whole.get("categories", ())}
        files = {key: str(i["file_name"]) for key, i in pictures.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise AnnotationError(
            f"{path} is not a COCO keypoint file: {type(error).__name__} {error}. Expected 'images'"
            " (id, file_name, width, height), 'annotations' (image_id, category_id, bbox, keypoints"
            " as x, y, visibility triples) and 'categories' (id, name, keypoints)."
        ) from error
    paths = _find(files, path.parent, images)
    reader = _Reader(paths, _labels(categories), _names(categories), _has_twos(by_image))
    for key, group in by_image.items():
        for a in group:
            reader.add(a, pictures.get(key))
    if reader.problems and not reader.instances:
        first = reader.problems[0]
        raise AnnotationError(
            f"Not one of the annotations of {path} can be used. The first is {first.id}:"
            f" {first.error}"
        )
    there = {p for p in set(paths.values()) if p.is_file()}
    return KeypointSet(
        path.name,
        tuple(reader.instances),
        tuple(reader.ignored),
        frozenset(reader.crowds),
        frozenset(i.id for i in reader.instances if i.image not in there),
        tuple(reader.problems),
        dict(reader.left_out),
        tuple(sorted(reader.notes)),
        paths,
        reader.labels,
    )


class _Reader:
    """Sorts annotations into what counts, what does not and what is broken."""

    def __init__(
        self,
        paths: Mapping[Any, Path],
        labels: Mapping[Any, str],
        names: Mapping[Any, tuple[str, ...]],
        has_twos: bool,
    ) -> None:
        self.paths, self.labels, self.names, self.has_twos = paths, labels, names, has_twos
        self.instances: list[KeypointInstance] = []
        self.ignored: list[KeypointInstance] = []
        self.crowds: list[str] = []
        self.problems: list[Problem] = []
        self.left_out = Counter[str]()
        self.notes: set[str] = set()
        self._times = Counter[str]()
        self._numbers: dict[Any, int] = {}

    def add(self, a: Mapping[str, Any], picture: Mapping[str, Any] | None) -> None:
        """Put one annotation where it belongs."""
        name = str(a["id"])
        self._times[name] += 1
        key = name if self._times[name] == 1 else f"{name}#{self._times[name]}"
        try:
            instance = self._instance(key, a, picture)
        except HeadsightError as error:
            self.problems.append(Problem(f"annotation {key}", str(error)))
            return
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as e:
            message = f"It is not in its format: {type(e).__name__} {e}."
            self.problems.append(Problem(f"annotation {key}", message))
            return
        reason = _reason(a, instance)
        if reason is None:
            self.instances.append(instance)
            return
        self.left_out[reason] += 1
        self.ignored.append(instance)
        if a.get("iscrowd"):
            self.crowds.append(key)

    def _instance(
        self, key: str, a: Mapping[str, Any], picture: Mapping[str, Any] | None
    ) -> KeypointInstance:
        if picture is None:
            raise AnnotationError(
                f"Its image_id {a['image_id']!r} is not among 'images'. Add the picture, or remove"
                " the annotation."
            )
        if a.get("keypoints") is None:
            raise AnnotationError("It has no keypoints. Add them, or leave the annotation out.")
        triples = np.asarray(a["keypoints"], np.float64)
        category = a.get("category_id")
        names = self.names.get(category, ())
        # without names the first annotation of a category tells how many points it has
        number = len(names) or self._numbers.setdefault(category, triples.size // 3)
        if triples.size != 3 * number or not number:
            raise AnnotationError(
                f"It holds {triples.size} numbers of keypoints, but {3 * number or 'at least 3'}"
                f" are expected: x, y, visibility of each of {number or 'its'} points."
            )
        triples = triples.reshape(-1, 3)
        visible = triples[:, 2] > 0
        points = np.where(visible[:, None], triples[:, :2], 0.0)
        if not np.isfinite(points).all():
            raise AnnotationError("A labelled keypoint is not a number. Set its visibility to 0.")
        return KeypointInstance(
            key,
            self.paths[a["image_id"]],
            self._image_wh(picture),
            self._box(a, points[visible]),
            points,
            visible,
            self.labels.get(category, f"category {category}" if category is not None else "object"),
            names or tuple(str(place) for place in range(1, number + 1)),
            float(a.get("area") or 0),
            (triples[:, 2] == 1) if self.has_twos else None,
        )

    def _image_wh(self, picture: Mapping[str, Any]) -> tuple[int, int]:
        if picture.get("width") and picture.get("height"):
            return int(picture["width"]), int(picture["height"])
        return picture_wh(self.paths[picture["id"]])

    def _box(
        self, a: Mapping[str, Any], points: Float[NDArray[np.float64], "_ 2"]
    ) -> Float[NDArray[np.float64], " 4"]:
        if a.get("bbox") is None:
            if not len(points):
                return np.zeros(4)
            self.notes.add(_NO_BOX)
            return np.concatenate([points.min(0), points.max(0)])
        x, y, width, height = (float(value) for value in a["bbox"])
        box = np.array([x, y, x + width, y + height])
        if not np.isfinite(box).all():
            raise AnnotationError(f"Its bbox {a['bbox']} is not four numbers x, y, width, height.")
        return box


def _reason(a: Mapping[str, Any], instance: KeypointInstance) -> str | None:
    """Why an annotation does not count; None where it does."""
    if a.get("iscrowd"):
        return "crowd"
    if a.get("num_keypoints") == 0 or not instance.visible.any():
        return "no labelled keypoint"
    if a.get("area") is not None and not instance.area > 0:
        return "area 0"
    x1, y1, x2, y2 = clean_box(np.asarray(instance.box, np.float64), instance.image_wh)
    return None if x2 > x1 and y2 > y1 else "box without area in the picture"


def _labels(categories: Mapping[Any, Mapping[str, Any]]) -> dict[Any, str]:
    """Names of the categories; with their ids where two have one name."""
    names = {key: str(c.get("name", f"category {key}")) for key, c in categories.items()}
    times = Counter(names.values())
    return {key: name if times[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def _names(categories: Mapping[Any, Mapping[str, Any]]) -> dict[Any, tuple[str, ...]]:
    return {key: tuple(map(str, c.get("keypoints") or ())) for key, c in categories.items()}


def _has_twos(by_image: Mapping[Any, Iterable[Mapping[str, Any]]]) -> bool:
    """Whether the file tells hidden points (1) from visible ones (2)."""
    return any(
        isinstance(row := a.get("keypoints"), list) and 2 in row[2::3]
        for group in by_image.values()
        for a in group
    )


def _find(files: Mapping[Any, str], beside: Path, images: Path | None) -> dict[Any, Path]:
    """Path of every picture: in the folder given, near the labels, or by its name below them."""
    first = list(files.values())[:_TRIED]
    folders = [images] if images is not None else [beside / place for place in _PLACES]
    folder = next((f for f in folders if any((f / name).is_file() for name in first)), None)
    if folder is not None or images is not None:
        return {key: (folder or folders[0]) / name for key, name in files.items()}
    below = {path.name: path for path in find_pictures(beside)}
    return {key: below.get(Path(name).name, beside / name) for key, name in files.items()}
