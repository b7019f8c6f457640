"""Questions about the heads of labelled pictures: every head's box, a head's pose, who is meant.

After HPE-CogVLM (arXiv 2406.01914): boxes sorted by their left edge, the box of a pose question
shifted a little in training. The paper's filters and wording could not be read; these are ours.
"""

from __future__ import annotations

__all__ = ["TASKS", "HeadQuestions"]

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image

from headsight.geometry.rotations import matrix_to_ypr
from headsight.language import prompts
from headsight.language.codec import encode
from headsight.language.spec import CodecSpec
from headsight.picture import open_picture
from headsight.teach.sample import Sample
from headsight.train.labels import LabelledPicture
from headsight.train.questions import Subject, expressions

TASKS = ("boxes", "pose", "refer")
"""Every head's box; the pose of the head in a box; boxes of what an expression names."""

_BOXES, _POSE = CodecSpec("boxes"), CodecSpec("pose")
_ORIENTATION = 0x0112  # of EXIF; from 5 on width and height are exchanged


class HeadQuestions:
    """One question a picture for its boxes, one a head for its pose, one a picture that refers."""

    def __init__(
        self,
        pictures: Sequence[LabelledPicture],
        *,
        tasks: Sequence[str] = ("boxes", "pose"),
        jitter: int | float = 0.05,
        max_heads: int = 20,
        min_pixels: int | float = 0,
    ) -> None:
        """Make the list of questions.

        Args:
            pictures: with all their heads.
            tasks: of TASKS.
            jitter: largest shift of an edge of a pose question's box in training, share of its
                side.
            max_heads: boxes of one answer, the largest; so many poses are asked of a picture too.
            min_pixels: heads whose shorter side is below that are not asked for, px.
        """
        self._pictures = pictures
        self._jitter, self._max_heads, self._min_pixels = jitter, max_heads, min_pixels
        self._known_wh: dict[int, tuple[int, int]] = {}
        self._items: list[tuple[str, int, int]] = []
        for number, picture in enumerate(pictures):
            heads = self._heads(picture)
            if "boxes" in tasks:
                self._items.append(("boxes", number, -1))
            if "refer" in tasks and len(heads):
                self._items.append(("refer", number, -1))
            if "pose" in tasks:
                posed = np.isfinite(picture.rotations).all((1, 2)) & (picture.pose_weights > 0)
                self._items += [("pose", number, int(head)) for head in heads if posed[head]]

    def __len__(self) -> int:
        return len(self._items)

    def draw(self, index: int, rng: np.random.Generator | None) -> Sample:
        """Question `index`; without `rng` in the wording of evaluation, boxes as labelled."""
        task, number, head = self._items[index]
        picture = self._pictures[number]
        wording = 0 if rng is None or rng.random() < 0.5 else int(rng.integers(4))
        if task == "pose":
            return self._pose(number, head, wording, rng)
        heads = self._heads(picture)
        if task == "boxes":
            question, chosen = prompts.head_boxes(wording), heads
        else:
            question, chosen = self._refer(picture, heads, wording, index, rng)
        return Sample(picture.encoded, question, self._answer(number, chosen), "boxes")

    def _pose(
        self,
        number: int,
        head: int,
        wording: int,
        rng: np.random.Generator | None,
    ) -> Sample:
        picture = self._pictures[number]
        box = picture.boxes[head].astype(np.float64)
        if rng is not None:
            side = (box[2:] - box[:2])[[0, 1, 0, 1]]
            box = box + rng.uniform(-self._jitter, self._jitter, 4) * side
        asked = encode(box[None], _BOXES, image_wh=self._wh(number))
        ypr_deg, _ = matrix_to_ypr(picture.rotations[head].astype(np.float64))
        question = prompts.head_pose(asked, wording)
        weight = float(picture.pose_weights[head])
        return Sample(picture.encoded, question, encode(ypr_deg, _POSE), "pose", weight)

    def _refer(
        self,
        picture: LabelledPicture,
        heads: NDArray[np.int64],
        wording: int,
        index: int,
        rng: np.random.Generator | None,
    ) -> tuple[str, NDArray[np.int64]]:
        """An expression and the heads it names; for evaluation always the same one."""
        boxes, traits = picture.boxes, picture.attributes
        turned = picture.rotations.astype(np.float64)
        subjects = [Subject(boxes[h].astype(np.float64), turned[h], 1.0, traits[h]) for h in heads]
        known = expressions(subjects)
        own = np.random.default_rng([index, 77]) if rng is None else rng
        phrase, meant = known[int(own.integers(len(known)))]
        places = [place for place, s in enumerate(subjects) if any(s is m for m in meant)]
        return prompts.refer(phrase, wording), heads[places]

    def _answer(self, number: int, heads: NDArray[np.int64]) -> str:
        """Sorted by the left edge, then the top, as they will be read."""
        if not len(heads):
            return "none"
        boxes: Float[NDArray[np.float64], "n 4"] = (
            self._pictures[number].boxes[heads].astype(np.float64)
        )
        wh = self._wh(number)
        bins = np.round(boxes * 1000 / np.tile(wh, 2))
        return encode(boxes[np.lexsort((bins[:, 1], bins[:, 0]))], _BOXES, image_wh=wh)

    def _wh(self, number: int) -> tuple[int, int]:
        if number not in self._known_wh:
            self._known_wh[number] = _upright_wh(self._pictures[number].encoded)
        return self._known_wh[number]

    def _heads(self, picture: LabelledPicture) -> NDArray[np.int64]:
        """The heads that are asked for, largest first."""
        sides = picture.boxes[:, 2:] - picture.boxes[:, :2]
        order = np.argsort(-sides.prod(1), kind="stable")
        seen: NDArray[np.int64] = order[sides.min(1, initial=np.inf)[order] >= self._min_pixels]
        return seen[: self._max_heads]


def _upright_wh(encoded: bytes) -> tuple[int, int]:
    """Width and height of the upright picture, px; of most formats its header alone is read."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            width, height = image.size
            is_turned = image.getexif().get(_ORIENTATION, 1) >= 5
    except (OSError, SyntaxError, ValueError):
        return open_picture(encoded).image_wh  # which says what is wrong
    return (height, width) if is_turned else (width, height)
