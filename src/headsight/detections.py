"""What came out of a picture: places, and per place a pose, attributes and the words behind it."""

from __future__ import annotations

__all__ = ["SCHEMA", "Detections", "Exchange"]

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from headsight.errors import InputError
from headsight.geometry.region_maps import RegionMap
from headsight.geometry.rotations import matrix_to_ypr

if TYPE_CHECKING:
    from PIL import Image

    from headsight.picture import Picture

SCHEMA = "headsight.detections/1"

_PLACE_KEYS = frozenset({"box", "score", "label", "pose", "keypoints", "mask"})
_SHOWN_ROWS = 20


@dataclass(frozen=True)
class Exchange:
    """One question and its answer, as the model saw and said them."""

    prompt: str
    text: str
    reading: Mapping[str, Any]
    """How the answer was read: `strict`, `recovered`, `failure`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"prompt": self.prompt, "text": self.text, "reading": dict(self.reading)}


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """N places in one picture; every array has N rows, is read-only, and N may be 0."""

    boxes: Float[NDArray[Any], "n 4"]
    """xyxy px of the original picture, origin top left."""
    scores: Float[NDArray[Any], " n"]
    """In [0, 1]."""
    labels: Int[NDArray[Any], " n"]
    """Indices into `label_names`."""
    label_names: tuple[str, ...]
    image_wh: tuple[int, int]
    rotations: Float[NDArray[Any], "n 3 3"] | None = None
    """Head to camera (see `headsight.geometry.rotations`); NaN = not read; None = never asked."""
    keypoints: Float[NDArray[Any], "n k 3"] | None = None
    """x, y in px and visibility 0, 1 or 2, as in COCO."""
    masks: Bool[NDArray[Any], "n height width"] | None = None
    """True inside, at the size of the picture."""
    attributes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Further values by name, one a place."""
    exchanges: tuple[Exchange, ...] = ()
    heat: RegionMap | None = None
    """Where the model looked, if the places were read from its attention; not compared or saved."""
    picture: Picture | None = None
    """What it was found in; takes no part in comparisons."""

    def __post_init__(self) -> None:
        for name in ("boxes", "scores", "labels", "rotations", "keypoints", "masks"):
            value = getattr(self, name)
            if value is not None:  # a copy nobody else can change
                kept = np.array(value)
                kept.flags.writeable = False
                object.__setattr__(self, name, kept)
        self._check_shapes()
        self._check_values()

    def _check_shapes(self) -> None:
        number = len(self.boxes)
        width, height = self.image_wh
        shapes: dict[str, tuple[int | None, ...]] = {
            "boxes": (number, 4),
            "scores": (number,),
            "labels": (number,),
            "rotations": (number, 3, 3),
            "keypoints": (number, None, 3),
            "masks": (number, height, width),
        }
        for name, expected in shapes.items():
            value = getattr(self, name)
            if value is None:
                continue
            fits = len(value.shape) == len(expected) and all(
                e in (None, s) for s, e in zip(value.shape, expected, strict=True)
            )
            if not fits:
                raise InputError(
                    f"{name} has shape {value.shape}, but {number} boxes need {expected}. Give"
                    " every array one row a place."
                )
        for name, values in self.attributes.items():
            if name in _PLACE_KEYS:
                raise InputError(f"An attribute may not be called {name!r}. Choose another name.")
            if len(values) != number:
                raise InputError(
                    f"The attribute {name!r} has {len(values)} values for {number} boxes. Give one"
                    " a place."
                )

    def _check_values(self) -> None:
        if min(self.image_wh) < 1:
            raise InputError(f"image_wh is {self.image_wh}, but a picture has at least one pixel.")
        if not np.isfinite(self.boxes).all():
            raise InputError("boxes hold a NaN or infinite edge. Leave such places out.")
        inside_out = np.flatnonzero((self.boxes[:, :2] > self.boxes[:, 2:]).any(1))
        if len(inside_out):
            raise InputError(
                f"The box {self.boxes[inside_out[0]].tolist()} is inside out; expected x1 <= x2 and"
                " y1 <= y2. Check the order of its numbers."
            )
        if not ((self.scores >= 0) & (self.scores <= 1)).all():
            low, high = self.scores.min(), self.scores.max()
            raise InputError(f"scores run from {low:g} to {high:g}, but must be in [0, 1].")
        if not ((self.labels >= 0) & (self.labels < len(self.label_names))).all():
            raise InputError(
                f"labels run from {self.labels.min()} to {self.labels.max()}, but must index the"
                f" {len(self.label_names)} label_names."
            )

    @classmethod
    def empty(
        cls, image_wh: tuple[int, int], *, label_names: tuple[str, ...] = ("head",)
    ) -> Detections:
        """No places."""
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), label_names, image_wh)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Detections:
        """The detections that `to_dict` wrote, without their picture.

        Raises:
            AnnotationError: another schema, or a place that is not what the schema says.
        """
        from headsight.export import detections_from_dict

        return detections_from_dict(document)

    @classmethod
    def from_json(cls, text: str) -> Detections:
        """The detections that `to_json` wrote, without their picture.

        Raises:
            AnnotationError: no JSON, another schema, or a place that is not what the schema says.
        """
        from headsight.export import detections_from_json

        return detections_from_json(text)

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Detections]:
        """One place at a time."""
        return (self[i] for i in range(len(self)))

    def __getitem__(
        self,
        index: int
        | np.integer[Any]
        | slice
        | list[int]
        | Int[NDArray[Any], " k"]
        | Bool[NDArray[Any], " n"],
    ) -> Detections:
        """The places that an index, slice, list or mask picks; the exchanges stay."""
        if isinstance(index, list):
            index = np.array(index, np.int64)
        rows = np.atleast_1d(np.arange(len(self))[index])

        def pick(values: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if values is None else values[rows]

        return replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            labels=self.labels[rows],
            rotations=pick(self.rotations),
            keypoints=pick(self.keypoints),
            masks=pick(self.masks),
            attributes={k: tuple(v[i] for i in rows) for k, v in self.attributes.items()},
        )

    def __eq__(self, other: object) -> bool:
        """The same places, names, attributes and exchanges; NaN equals NaN."""
        if not isinstance(other, Detections):
            return NotImplemented
        return all(
            _equal(getattr(self, f.name), getattr(other, f.name))
            for f in fields(self)
            if f.name not in ("heat", "picture")
        )

    @property
    def poses(self) -> Float[NDArray[Any], "n 3"]:
        """Yaw, pitch, roll in degrees, NaN where not read.

        Yaw > 0 faces the image left, pitch > 0 looks up, roll > 0 leans clockwise.
        """
        if self.rotations is None:
            return np.full((len(self), 3), np.nan)
        return np.asarray(matrix_to_ypr(self.rotations)[0])

    @property
    def names(self) -> tuple[str, ...]:
        """The label of each place in words."""
        return tuple(self.label_names[int(label)] for label in self.labels)

    @property
    def is_coarse(self) -> Bool[NDArray[np.bool_], " n"]:
        """Places whose mask no segmenter has drawn: a filled box, or where the model looked."""
        kinds = self.attributes.get("mask_kind", ("",) * len(self))
        return np.array([str(kind).startswith("coarse") for kind in kinds], bool)

    def with_min_score(self, score: float) -> Detections:
        """The places of at least this score."""
        return self[self.scores >= score]

    def draw(
        self, *, chips: bool = True, axes: bool = True, caption: str | None = None
    ) -> Image.Image:
        """The picture with boxes, labels and head axes drawn on it; see `headsight.draw.draw`.

        Raises:
            InputError: the detections hold no picture (they were read from JSON, say).
        """
        from headsight.draw import draw

        if self.picture is None:
            raise InputError(
                "These detections hold no picture. Use headsight.draw.draw(image, detections)."
            )
        return draw(self.picture.image, self, chips=chips, axes=axes, caption=caption)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with a `schema` key; poses that were not read are null."""
        from headsight.export import detections_to_dict

        return detections_to_dict(self)

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def to_coco(self, *, image_id: int = 0) -> list[dict[str, Any]]:
        """COCO results, one a place.

        `bbox` is x, y, width, height; `category_id` counts from 1 in the order of `label_names`;
        `head_pose` (degrees) and `rotation` (3 x 3) are there where a pose was read, `segmentation`
        (compressed run lengths), `area` and `mask_kind` where there are masks.
        """
        from headsight.export import detections_to_coco

        return detections_to_coco(self, image_id=image_id)

    def to_supervision(self) -> Any:
        """A `supervision.Detections`; poses as `data["ypr_deg"]`, attributes by their names.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        from headsight.export import detections_to_supervision

        return detections_to_supervision(self)

    def _repr_png_(self) -> bytes | None:
        """How a notebook shows it: drawn, at a size for the screen."""
        if self.picture is None:
            return None
        from headsight.draw import draw, fit_to_screen

        buffer = io.BytesIO()
        draw(fit_to_screen(self.picture.image), self).save(buffer, "PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        """A table: label, score, box in pixels, pose in degrees (- where not read), mask."""
        width, height = self.image_wh
        number = f"{len(self)} place{'' if len(self) == 1 else 's'}"
        title = f"Detections: {number} in a picture of {width} x {height}"
        if self.picture is not None:
            title += f" ({self.picture.source})"
        rows = [["label", "score", "x1", "y1", "x2", "y2"]]
        if self.rotations is not None:
            rows[0] += ["yaw", "pitch", "roll"]
        if self.masks is not None:
            rows[0] += ["mask"]
        poses = self.poses
        for i, name in enumerate(self.names[:_SHOWN_ROWS]):
            row = [name, f"{self.scores[i]:.2f}", *(f"{v:.0f}" for v in self.boxes[i])]
            if self.rotations is not None:
                row += ["-" if np.isnan(v) else f"{round(float(v))}" for v in poses[i]]
            if self.masks is not None:
                coarse = " (coarse)" if self.is_coarse[i] else ""
                row += [f"{self.masks[i].sum()} px{coarse}"]
            rows.append(row)
        lines = [title, *(_aligned(rows) if len(self) else [])]
        if len(self) > _SHOWN_ROWS:
            lines.append(f"  ... and {len(self) - _SHOWN_ROWS} more")
        return "\n".join(lines)


def _aligned(rows: list[list[str]]) -> list[str]:
    """Rows as lines: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + row[0].ljust(widths[0])
        + "".join(cell.rjust(width + 2) for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return False
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, float) and isinstance(b, float) and np.isnan(a) and np.isnan(b):
        return True
    return bool(a == b)
