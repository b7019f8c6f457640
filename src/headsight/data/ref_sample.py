"""An expression and what it refers to in a picture: one box, several, or nothing."""

from __future__ import annotations

__all__ = [
    "Problem",
    "RefSample",
    "RefSet",
    "Region",
    "choose_split",
    "fingerprint",
    "picture_wh",
    "regions_of",
    "sift",
]

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw

from headsight.errors import AnnotationError, HeadsightError, InputError
from headsight.geometry.masks import polygons_to_mask, rle_to_mask

Mask = Bool[NDArray[np.bool_], "height width"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Region:
    """One part of a true mask, kept as it is written in the file until it is drawn."""

    polygons: tuple[Float[NDArray[Any], "_ 2"], ...] = ()
    """Corners x, y px of the original picture; together they cover the part."""
    rle: Mapping[str, Any] | None = None
    """COCO's run lengths, in the place of polygons."""
    is_ignored: bool = False
    """Its pixels count neither way."""
    has_outline: bool = False
    """The pixels under the outline belong to it too (ReasonSeg); else as COCO fills polygons."""

    def draw(self, image_wh: tuple[int, int]) -> Mask:
        """Its pixels in a picture of that size.

        Raises:
            AnnotationError: a mask of another size or with wrong runs, or an absurd polygon.
        """
        try:
            if self.rle is not None:
                mask = rle_to_mask(self.rle)
            elif self.has_outline:
                mask = _draw_with_outline(self.polygons, image_wh)
            else:
                mask = polygons_to_mask(self.polygons, image_wh)
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise AnnotationError(f"A true mask cannot be drawn: {error}") from error
        if mask.shape != image_wh[::-1]:
            raise AnnotationError(
                f"A true mask is {mask.shape[1]} x {mask.shape[0]}, but its picture"
                f" {image_wh[0]} x {image_wh[1]}. Check that masks and pictures belong together."
            )
        return mask


@dataclass(frozen=True, eq=False)
class RefSample:
    """One expression about one picture, and the truth (N places)."""

    id: str
    """One of a kind in its set."""
    image: Path
    image_wh: tuple[int, int]
    text: str
    """The expression as it was written; typing errors included."""
    boxes: Float[NDArray[Any], "n 4"]
    """xyxy px; no rows: the right answer is nothing."""
    regions: tuple[Region, ...] = ()
    """Parts of the mask, painted in this order, a later one over an earlier one."""
    category: str = ""
    """Kind of object, such as `person`."""
    types: tuple[str, ...] = ()
    """Kinds of expression, such as `spatial`; one may be of several."""
    split: str = ""
    ids: Mapping[str, int | str] = field(default_factory=dict)
    """Numbers of the source: ref_id, ann_id, sent_id, image_id."""

    def __post_init__(self) -> None:
        if not self.text:
            raise AnnotationError("The expression has no words.")
        if min(self.image_wh) < 1:
            raise AnnotationError(
                f"The picture is said to be {self.image_wh[0]} x"
                f" {self.image_wh[1]} px, but has at least one."
            )
        if not np.isfinite(self.boxes).all() or not (self.boxes[:, :2] <= self.boxes[:, 2:]).all():
            raise AnnotationError(
                f"The box {self.boxes.tolist()} is inside out; expected x1 <= x2 and y1 <= y2 in"
                " pixels."
            )

    @property
    def is_none(self) -> bool:
        """True where the right answer is nothing."""
        return len(self.boxes) == 0

    @property
    def has_mask(self) -> bool:
        """True where the truth can be drawn: by regions, or because there is nothing to draw."""
        return bool(self.regions) or self.is_none

    def masks(self) -> tuple[Mask, Mask]:
        """The pixels of the target, and the pixels that count neither way.

        Raises:
            AnnotationError: a region that cannot be drawn.
        """
        width, height = self.image_wh
        target, ignore = np.zeros((height, width), bool), np.zeros((height, width), bool)
        for region in self.regions:
            pixels = region.draw(self.image_wh)
            over, under = (ignore, target) if region.is_ignored else (target, ignore)
            over |= pixels
            under &= ~pixels
        return target, ignore


class Problem(NamedTuple):
    """A sample that was left out, and why."""

    id: str
    error: str


@dataclass(frozen=True, eq=False)
class RefSet:
    """The samples of a set, and those that could not be used."""

    name: str
    split: str
    samples: tuple[RefSample, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """What is unusual about the set, for the reader of a table."""

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def pictures(self) -> int:
        """How many pictures there are."""
        return len({s.image for s in self.samples})


def fingerprint(samples: Sequence[RefSample]) -> str:
    """16 hex digits that change with the expressions, their order, their answers and pictures.

    Of a picture only its name and size are looked at.
    """
    digest = hashlib.sha256()
    for s in samples:
        row = [s.id, s.image.name, s.image_wh, s.text, s.boxes.tolist()]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:16]


def sift(
    items: Iterable[tuple[str, Callable[[str], RefSample]]],
    *,
    name: str,
    split: str = "",
    notes: Sequence[str] = (),
) -> RefSet:
    """The set of all samples that can be made and whose picture is there.

    Each item is an id and the function that makes its sample when called with the id; an id that
    comes again gets a number. What cannot be made, or has no picture, is a problem of the set; the
    rest go on.

    Raises:
        AnnotationError: not one sample is left.
    """
    samples: list[RefSample] = []
    problems: list[Problem] = []
    is_there: dict[Path, bool] = {}
    times: Counter[str] = Counter()
    for name_of, make in items:
        times[name_of] += 1
        key = name_of if times[name_of] == 1 else f"{name_of}#{times[name_of]}"
        try:
            sample = make(key)
        except HeadsightError as error:
            problems.append(Problem(key, str(error)))
            continue
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as e:
            problems.append(Problem(key, f"It is not in its format: {type(e).__name__} {e}."))
            continue
        path = sample.image
        if path not in is_there:
            is_there[path] = path.is_file()
        if is_there[path]:
            samples.append(sample)
        else:
            problems.append(Problem(key, f"The picture {path} is missing."))
    if problems and not samples:
        raise AnnotationError(
            f"Not one of the {len(problems)} expressions of {name} can be used. The first:"
            f" {problems[0].error} Check that labels and pictures belong together, or tell where"
            " the pictures are (images=, --images)."
        )
    for note in notes:
        _log.warning("event=refs set=%s note=%s", name, note)
    if problems:
        _log.warning("event=refs set=%s left_out=%d", name, len(problems))
    return RefSet(name, split, tuple(samples), tuple(problems), tuple(notes))


def choose_split(present: Mapping[str, int], wanted: str | None, *, where: str) -> set[str]:
    """The split names that `wanted` stands for, among those of the file and their counts.

    None means `val`, or whatever there is if only one; `all` every one; `test` is testA and testB
    together where the file has no `test`.

    Raises:
        InputError: there is no such split; the message lists those there are.
    """
    names = set(present)
    if wanted == "all" or (wanted is None and len(names) < 2):
        return names
    choice = "val" if wanted is None else wanted
    if choice in names:
        return {choice}
    if choice == "test" and names & {"testA", "testB"}:
        return names & {"testA", "testB"}
    counts = ", ".join(
        f"{name or '(none)'} ({number})" for name, number in Counter(present).items()
    )
    raise InputError(f"{where} has no split '{choice}'. It has: {counts}. Choose one, or all.")


def regions_of(segmentation: Any) -> tuple[Region, ...]:
    """The mask of one COCO annotation: polygons, run lengths or nothing.

    Raises:
        AnnotationError: neither of them.
    """
    if isinstance(segmentation, Mapping):
        return (Region(rle=dict(segmentation)),)
    if not segmentation:
        return ()
    try:
        flat = [np.asarray(p, np.float64).reshape(-1, 2) for p in segmentation]
    except (TypeError, ValueError) as error:
        raise AnnotationError(
            f"A segmentation is neither polygons nor run lengths: {error}. Expected"
            " [[x1, y1, x2, y2, ...], ...] or {'size', 'counts'}."
        ) from error
    polygons = tuple(p for p in flat if len(p) > 2)  # fewer corners hold no pixel
    return (Region(polygons),) if polygons else ()


def picture_wh(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is seen, its EXIF orientation applied.

    Raises:
        OSError: no picture is there.
    """
    with Image.open(path) as image:
        width, height = image.size
        is_lying = image.getexif().get(ExifTags.Base.Orientation, 1) > 4
    return (height, width) if is_lying else (width, height)


def _draw_with_outline(
    polygons: Iterable[Float[NDArray[Any], "_ 2"]], image_wh: tuple[int, int]
) -> Mask:
    """Polygons by whole pixels, outline included."""
    canvas = Image.new("1", image_wh)
    pen = ImageDraw.Draw(canvas)
    for polygon in polygons:
        corners = [(int(x), int(y)) for x, y in polygon]
        if len(corners) == 1:
            pen.point(corners, fill=1)
        else:
            pen.polygon(corners, fill=1, outline=1)
    return np.array(canvas, bool)
