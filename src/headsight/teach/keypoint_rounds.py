"""Labelled keypoints as conversations about crops of their objects (CapeLLM, arXiv 2411.06869).

A sample is one crop with several rounds. Points that are not labelled, or not in the crop once it
was scaled and turned, are not asked. Crops are never mirrored: left and right would become false.
"""

from __future__ import annotations

__all__ = ["KeypointData", "KeypointRounds", "category_schemas", "schema_of", "schemas_for"]

import difflib
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from headsight.cut_out import Cut, cut_out
from headsight.data.keypoint_files import read_keypoints
from headsight.data.keypoints import KeypointInstance, KeypointSet
from headsight.data.mp100 import is_mp100, schemas_of
from headsight.errors import AnnotationError, ConfigError, InputError
from headsight.geometry.keypoints import FRAMES, Crop, crop_in
from headsight.language.codec import encode
from headsight.language.rounds import RoundFormat
from headsight.language.schema import KeypointSchema
from headsight.language.schema_library import read_schemas, schema, schemas, word_key
from headsight.teach.rounds import dynamic_groups, fixed_groups
from headsight.teach.sample import Sample

_LOG = logging.getLogger(__name__)
_TRIES = 50
_NEAREST = 3
_MOST = {"dynamic": 8, "fixed": 4, "single": 1}


@dataclass(frozen=True, kw_only=True)
class KeypointData:
    """Labelled keypoints to learn from, or to be asked."""

    path: Path
    """COCO keypoint file, folder with one, or the name of a sample; see `read_keypoints`."""
    schemas: tuple[str, ...] = ()
    """Names or files; by default those beside the labels (`schemas.json`), then the shipped."""
    images: Path | None = None
    """Folder of the pictures, if not near the labels."""
    rounds: str = "dynamic"
    """`dynamic`: groups of 1 to k points, drawn anew in every pass; `fixed`: groups of k, drawn
    once; `single`: each point by itself."""
    k: int | None = None
    """Most rounds of a conversation; 8 (dynamic) or 4 (fixed)."""
    frame: str = "crop"
    """What coordinates are fractions of: the object's `crop`, or the whole `image`, squared."""
    pad: int | float = 1.0
    """Side of the crop, in longer sides of the box."""
    side: int = 224
    """Of the crop as the model sees it, px."""
    scale_spread: int | float = 0.3
    """Deviation of the scale in training; it stays within 1 -+ this."""
    turn_deg: int | float = 40
    """Largest turn in training."""
    turn_share: int | float = 0.5
    """Share of the samples that are turned."""
    question: str = RoundFormat.question
    """Template of the question, with `{keypoint}` and `{category}`."""
    with_reference: bool = True
    """Whether descriptions are told."""
    roles: tuple[str, str, str] = RoundFormat.roles
    """What stands before question, description and answer; may be empty."""
    digits: int = 3
    """Decimals of an answer."""
    limit: int | None = None
    """Only the first so many objects."""
    weight: int | float | None = None
    """Among old data: share of this source; by default its size."""
    seed: int = 42
    """Of the groups."""

    def __post_init__(self) -> None:
        if self.rounds not in _MOST:
            raise ConfigError(
                f"{self.path}: rounds is {self.rounds!r}; expected one of {', '.join(_MOST)}."
            )
        if self.frame not in FRAMES:
            raise ConfigError(f"{self.path}: frame is {self.frame!r}; expected crop or image.")
        for name in ("k", "limit", "side", "pad", "weight"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{self.path}: {name} is {value}, but must be positive.")
        if not (0 <= self.scale_spread < 1 and 0 <= self.turn_share <= 1 and self.turn_deg >= 0):
            raise ConfigError(
                f"{self.path}: scale_spread is {self.scale_spread}, turn_share {self.turn_share}"
                f" and turn_deg {self.turn_deg}; expected [0, 1), [0, 1] and 0 or more."
            )
        _ = self.format

    @property
    def format(self) -> RoundFormat:
        """How points are asked for."""
        return RoundFormat(
            question=self.question,
            with_reference=self.with_reference,
            roles=self.roles,
            digits=self.digits,
        )

    @property
    def most(self) -> int:
        """Most rounds of a conversation."""
        return 1 if self.rounds == "single" else self.k or _MOST[self.rounds]

    def read(self) -> KeypointRounds:
        """The conversations.

        Raises:
            AnnotationError: missing labels or schemas, or nothing to ask.
        """
        found = read_keypoints(self.path, images=self.images)
        if not found.instances:
            first = next((f" The first problem: {p.error}" for p in found.problems), "")
            raise AnnotationError(f"{self.path} holds no object that can be used.{first}")
        absent = found.without_picture
        there = [one for one in found.instances if one.id not in absent][: self.limit]
        if not there:
            raise AnnotationError(
                f"{self.path}: none of {len(found)} objects has its picture."
                " Give the folder of the pictures: `images`."
            )
        found = replace(found, instances=tuple(there))
        return KeypointRounds(there, category_schemas(found, self.path, self.schemas), self)

    def kept(self) -> dict[str, Any]:
        """What must be known to ask a model that was taught with this."""
        names = ("rounds", "frame", "pad", "side", "question", "with_reference", "roles")
        kept = {name: getattr(self, name) for name in names}
        return {**kept, "roles": list(self.roles), "digits": self.digits, "k": self.most}


class KeypointRounds:
    """Conversations about labelled objects, by number."""

    def __init__(
        self,
        instances: Sequence[KeypointInstance],
        schemas: Mapping[str, KeypointSchema],
        data: KeypointData,
    ) -> None:
        """Prepare; objects that cannot be asked about are left out, with a line in the log.

        Args:
            instances: labelled objects whose pictures are there.
            schemas: of every category.
            data: how they are asked about.

        Raises:
            AnnotationError: nothing that can be asked about.
        """
        self._data = data
        self._objects: list[tuple[KeypointInstance, KeypointSchema, Crop]] = []
        for one in instances:
            try:
                box = np.asarray(one.box, np.float64)
                crop = crop_in(data.frame, box, one.image_wh, pad=data.pad)
            except InputError as error:
                _LOG.warning("event=left_out object=%s reason=%s", one.id, error)
                continue
            if len(_askable(one, Cut(crop))):
                self._objects.append((one, schemas[one.category], crop))
            else:
                _LOG.warning("event=left_out object=%s reason=no visible point", one.id)
        if not self._objects:
            raise AnnotationError(
                f"{data.path}: of {len(instances)} objects none has a labelled point inside its"
                " box. Check boxes (x, y, width, height in pixels) and visibilities."
            )
        self._groups = lru_cache(maxsize=2)(self._draw_groups)
        self._ends = [len(self._groups(0))]

    def __len__(self) -> int:
        return self._ends[0]

    def draw(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Conversation `index` of the first pass; as labelled where there is no `rng`."""
        return self._sample(self._groups(0), index, rng)

    def draw_again(self, index: int, rng: np.random.Generator, *, epoch: int) -> Sample:
        """Conversation `index` of pass `epoch`.

        Passes of dynamic groups differ in their number: the groups of all passes are one row, of
        which every pass takes `len(self)`.
        """
        place, number = epoch * len(self) + index, 0
        while place >= self._ends[number]:
            number += 1
            if number == len(self._ends):
                self._ends.append(self._ends[-1] + len(self._groups(number)))
        first = self._ends[number - 1] if number else 0
        return self._sample(self._groups(number), place - first, rng)

    def _draw_groups(self, number: int) -> list[tuple[int, tuple[int, ...]]]:
        """Object and points of each conversation of pass `number`."""
        data = self._data
        rng = np.random.default_rng([data.seed, number if data.rounds == "dynamic" else 0])
        groups = []
        for place, (one, _, crop) in enumerate(self._objects):
            if data.rounds == "dynamic":
                made = dynamic_groups(_askable(one, Cut(crop)), data.most, rng)
            elif data.rounds == "fixed":
                made = fixed_groups(range(len(one.names)), data.most, rng)
            else:
                made = [(point,) for point in _askable(one, Cut(crop))]
            groups += [(place, group) for group in made]
        return groups

    def _sample(
        self,
        groups: Sequence[tuple[int, tuple[int, ...]]],
        index: int,
        rng: np.random.Generator | None,
    ) -> Sample:
        """An item left empty (hidden, or turned out of the crop) gives way to another."""
        other = rng or np.random.default_rng([self._data.seed, index])
        for attempt in range(_TRIES * len(groups)):
            place, group = groups[index]
            one, schema, crop = self._objects[place]
            cut = Cut(crop) if rng is None or attempt >= _TRIES else self._varied(crop, rng)
            asked = [point for point in _askable(one, cut) if point in group]
            if asked:
                return self._conversation(one, schema, cut, sorted(asked, key=group.index), rng)
            index = int(other.integers(len(groups)))
        raise AnnotationError(f"{self._data.path} holds no point to ask about.")

    def _conversation(
        self,
        one: KeypointInstance,
        schema: KeypointSchema,
        cut: Cut,
        asked: Sequence[int],
        rng: np.random.Generator | None,
    ) -> Sample:
        form = self._data.format
        places = cut.to_cut(one.points)
        rounds = [
            (form.ask(schema.keypoints[point], one.word), encode(places[point], form.spec))
            for point in asked
        ]
        buffer = io.BytesIO()
        image = cut_out(one.open().image, cut, side=self._data.side)
        image.save(buffer, "BMP")
        (question, answer), *later = rounds
        varies = rng is not None and (self._data.scale_spread > 0 or self._data.turn_share > 0)
        return Sample(
            buffer.getvalue(), question, answer, "point", later=tuple(later), is_once=varies
        )

    def _varied(self, crop: Crop, rng: np.random.Generator) -> Cut:
        data = self._data
        low, high = 1 - data.scale_spread, 1 + data.scale_spread
        scale = float(np.clip(rng.normal(1, data.scale_spread or 1e-9), low, high))
        is_turned = rng.random() < data.turn_share
        turn = float(rng.uniform(-data.turn_deg, data.turn_deg)) if is_turned else 0.0
        return Cut(Crop(crop.center, crop.side * scale), turn)


def category_schemas(
    found: KeypointSet, path: Path | str, given: Sequence[str] = ()
) -> dict[str, KeypointSchema]:
    """The schema of every category of a set, by the category's name.

    Args:
        found: what was read from `path`; a file of MP-100 tells its schemas by its ids.
        path: a keypoint file, or a folder with one.
        given: names or files of schemas; else see `schemas_for`.

    Raises:
        InputError: no schema has a given name.
        AnnotationError: a category without schema, or with another number of points.
    """
    if not given and is_mp100(Path(path)):
        return schemas_of(found)
    known = schemas_for(path, given)
    firsts = {one.category: one for one in reversed(found.instances)}
    return {category: schema_of(one, known) for category, one in firsts.items()}


def schema_of(one: KeypointInstance, known: Sequence[KeypointSchema]) -> KeypointSchema:
    """The schema for an object: one for its category, else one with its very names.

    A single schema is for every category that has as many points.

    Raises:
        AnnotationError: there is none, or one with another number of points.
    """
    word = word_key(one.category)
    by_category = [s for s in known if word in map(word_key, (s.name, *s.categories))]
    by_names = [s for s in known if s.names == one.names]
    candidates = [*by_category, *by_names, *(known if len(known) == 1 else ())]
    fitting = [s for s in candidates if len(s) == len(one.names)]
    if fitting:
        return fitting[0]
    if candidates:
        raise AnnotationError(
            f"The schema {candidates[0].name!r} has {len(candidates[0])} keypoints, but"
            f" {one.category!r} is labelled with {len(one.names)}. Give the schema of these labels."
        )
    words = list(dict.fromkeys(w for s in known for w in (s.name, *s.categories)))
    near = difflib.get_close_matches(one.category, words, n=_NEAREST, cutoff=0)
    raise AnnotationError(
        f"No schema is for the category {one.category!r} with {len(one.names)} keypoints. Nearest:"
        f" {', '.join(near) or 'none'}. Write one (`headsight schema new`) and list it."
    )


def schemas_for(path: Path | str, given: Sequence[str] = ()) -> list[KeypointSchema]:
    """The schemas of labels: as given, else those beside them, and then the shipped ones.

    Args:
        path: a keypoint file, or a folder with one.
        given: names or files.

    Raises:
        InputError: no schema has a given name.
        AnnotationError: a file that holds no schema.
    """
    if given:
        return [schema(name) for name in given]
    path = Path(path)
    beside = (path.parent if path.is_file() else path) / "schemas.json"
    return [*(read_schemas(beside) if beside.is_file() else ()), *schemas().values()]


def _askable(one: KeypointInstance, cut: Cut) -> list[int]:
    """Points that are labelled and inside the crop."""
    places = cut.to_cut(one.points)
    inside = ((places >= 0) & (places <= 1)).all(1)
    return [int(i) for i in np.flatnonzero(inside & one.visible)]
