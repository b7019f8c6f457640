"""What came out of a picture: places in original pixels, and per place a pose, attributes and the words behind it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from headsight.errors import InputError, require
from headsight.geometry.rotations import matrix_to_ypr

if TYPE_CHECKING:
    from PIL import Image

    from headsight.picture import Picture

__all__ = ["SCHEMA", "Detections", "Exchange"]

SCHEMA = "headsight.detections/1"


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


@dataclass(frozen=True)
class Detections:
    """N places in one picture; every array has N rows, and N may be 0."""

    boxes: Float[NDArray[Any], "n 4"]
    """xyxy px of the original picture, origin top left."""
    scores: Float[NDArray[Any], " n"]
    """In [0, 1]."""
    labels: Int[NDArray[Any], " n"]
    """Indices into `label_names`."""
    label_names: tuple[str, ...]
    image_wh: tuple[int, int]
    rotations: Float[NDArray[Any], "n 3 3"] | None = None
    """Head to camera (see `headsight.geometry.rotations`); NaN where no pose was read; None = never asked."""
    attributes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Further values, one a place."""
    exchanges: tuple[Exchange, ...] = ()
    picture: Picture | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        number = len(self.boxes)
        expected = {"boxes": (number, 4), "scores": (number,), "labels": (number,)}
        if self.rotations is not None:
            expected["rotations"] = (number, 3, 3)
        for name, shape in expected.items():
            found = np.shape(getattr(self, name))
            if found != shape:
                raise InputError(f"{name} has shape {found}, but {number} boxes need {shape}.")
        for name, values in self.attributes.items():
            if len(values) != number:
                raise InputError(f"attribute {name!r} has {len(values)} values for {number} boxes.")
        if not np.isfinite(self.boxes).all():
            raise InputError("boxes hold a NaN or infinite edge. Leave such places out.")
        if number and not (self.scores.min() >= 0 and self.scores.max() <= 1):
            raise InputError(
                f"scores run from {self.scores.min():g} to {self.scores.max():g}, but must be in [0, 1]."
            )
        if number and not (self.labels.min() >= 0 and self.labels.max() < len(self.label_names)):
            raise InputError(f"labels must index the {len(self.label_names)} label_names.")

    @classmethod
    def empty(cls, image_wh: tuple[int, int], *, label_names: tuple[str, ...] = ("head",)) -> Detections:
        """No places."""
        zeros = np.zeros
        return cls(zeros((0, 4)), zeros(0), zeros(0, np.int64), label_names, image_wh)

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Detections]:
        """One place at a time."""
        return (self[i : i + 1] for i in range(len(self)))

    def __getitem__(self, index: int | slice | Int[NDArray[Any], " k"] | Bool[NDArray[Any], " n"]) -> Detections:
        """The places that an index, slice, list or mask picks."""
        rows = np.arange(len(self))[index]
        rows = np.atleast_1d(rows)
        return replace(
            self,
            boxes=self.boxes[rows],
            scores=self.scores[rows],
            labels=self.labels[rows],
            rotations=None if self.rotations is None else self.rotations[rows],
            attributes={k: tuple(v[i] for i in rows) for k, v in self.attributes.items()},
        )

    @property
    def poses(self) -> Float[NDArray[Any], "n 3"]:
        """Yaw, pitch, roll in degrees: yaw > 0 faces the image left, pitch > 0 up, roll > 0 clockwise; NaN = unread."""
        if self.rotations is None:
            return np.full((len(self), 3), np.nan)
        return np.asarray(matrix_to_ypr(self.rotations)[0])

    def with_min_score(self, score: float) -> Detections:
        """The places of at least this score."""
        return self[self.scores >= score]

    def draw(self, *, names: bool = True) -> Image.Image:
        """The picture with boxes, labels and pose axes drawn on it.

        Raises:
            InputError: the detections were made without a picture (read from JSON, say).
        """
        from headsight.draw import draw

        if self.picture is None:
            raise InputError("These detections hold no picture. Use headsight.draw.draw(picture, detections).")
        return draw(self.picture.image, self, names=names)

    def to_dict(self) -> dict[str, Any]:
        """Plain values with a `schema` key; unread poses are null."""
        poses = self.poses
        places = []
        for i in range(len(self)):
            place: dict[str, Any] = {
                "box": [round(float(v), 3) for v in self.boxes[i]],
                "score": round(float(self.scores[i]), 4),
                "label": self.label_names[int(self.labels[i])],
            }
            if self.rotations is not None:
                is_read = bool(np.isfinite(poses[i]).all())
                names = ("yaw_deg", "pitch_deg", "roll_deg")
                place["pose"] = (
                    {n: round(float(v), 2) for n, v in zip(names, poses[i], strict=True)}
                    if is_read
                    else None
                )
            place |= {name: values[i] for name, values in self.attributes.items()}
            places.append(place)
        return {
            "schema": SCHEMA,
            "source": self.picture.source if self.picture is not None else None,
            "image_wh": list(self.image_wh),
            "convention": "yaw-left,pitch-up,roll-clockwise",
            "places": places,
            "exchanges": [e.to_dict() for e in self.exchanges],
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def to_coco(self, *, image_id: int = 0) -> list[dict[str, Any]]:
        """COCO results: `bbox` xywh, `score`, `category_id` (from 1), and `head_pose` where read."""
        results: list[dict[str, Any]] = []
        for i, (place, box) in enumerate(zip(self.to_dict()["places"], self.boxes, strict=True)):
            x1, y1, x2, y2 = (float(v) for v in box)
            result = {
                "image_id": image_id,
                "category_id": int(self.labels[i]) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(self.scores[i]),
            }
            if place.get("pose"):
                assert self.rotations is not None
                result["head_pose"] = place["pose"]
                result["rotation"] = self.rotations[i].tolist()
            results.append(result)
        return results

    def to_supervision(self) -> Any:
        """A `supervision.Detections`; poses as `data["ypr_deg"]`.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        supervision = require("supervision")
        names = np.array([self.label_names[int(i)] for i in self.labels], dtype=str)
        return supervision.Detections(
            xyxy=self.boxes.astype(np.float32).reshape(-1, 4),
            confidence=self.scores.astype(np.float32),
            class_id=self.labels.astype(int),
            data={"class_name": names, "ypr_deg": self.poses},
        )

    def _repr_png_(self) -> bytes | None:
        """How a notebook shows it: as the drawn picture."""
        if self.picture is None:
            return None
        buffer = io.BytesIO()
        self.draw().save(buffer, "PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        lines = [f"Detections: {len(self)} in a picture of {self.image_wh[0]} x {self.image_wh[1]}"]
        for place in self.to_dict()["places"][:20]:
            pose = place.get("pose")
            angles = "" if not pose else " yaw {yaw_deg:.0f} pitch {pitch_deg:.0f} roll {roll_deg:.0f}".format(**pose)
            corners = ", ".join(f"{v:.0f}" for v in place["box"])
            lines.append(f"  {place['label']} {place['score']:.2f} [{corners}]{angles}")
        if len(self) > 20:
            lines.append(f"  ... and {len(self) - 20} more")
        return "\n".join(lines)
