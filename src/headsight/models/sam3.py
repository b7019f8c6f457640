"""SAM 3 (arXiv:2511.16719), which searches for a concept, behind `Segmenter`."""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

__all__ = ["Sam3Segmenter"]

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from headsight.errors import InputError
from headsight.geometry.boxes import box_iou
from headsight.geometry.region_maps import RegionMap
from headsight.models.framing import Framing
from headsight.models.sam import SamSeen
from headsight.models.segmenters import Masks, checked_boxes, checked_points
from headsight.picture import Picture

_NO_WORDS = "visual"  # what SAM 3 was trained to read beside an example
_TEXT_TOKENS = 32


class Sam3Segmenter:
    """SAM 3: finds all that the words name, and takes the one that fits the box best.

    Without words the box is the example of what is searched for.
    """

    reads_maps = False

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        framing: Framing,
        *,
        name: str,
        threshold: float = 0.3,
    ) -> None:
        """`threshold`: least score, in [0, 1], of what counts as found."""
        self.name = name
        self.model: Any = model.eval()
        self.tokenizer: Any = tokenizer
        self.framing = framing
        self.threshold = threshold

    @torch.inference_mode()
    def embed(self, picture: Picture) -> SamSeen:
        """The features of the picture: the slow half."""
        pixels = self.framing.pixels(picture.image).to(self.model.device, self.model.dtype)
        return SamSeen(picture.image_wh, {"vision_embeds": self.model.get_vision_features(pixels)})

    @torch.inference_mode()
    def from_boxes(
        self,
        seen: SamSeen,
        boxes: Float[NDArray[Any], "n 4"],
        *,
        maps: Sequence[RegionMap] | None = None,
        words: str = "",
    ) -> Masks:
        """One mask a box; empty, with score 0, where nothing was found that meets the box. No maps.

        Raises:
            InputError: a box without area in the picture; no words, where torchvision is missing.
        """
        boxes = checked_boxes(boxes, seen.image_wh)
        width, height = seen.image_wh
        masks, scores = np.zeros((len(boxes), height, width), bool), np.zeros(len(boxes))
        named = self._search(seen, words) if words and len(boxes) else None
        for i, box in enumerate(boxes):
            found = self._search(seen, _NO_WORDS, example=box) if named is None else named
            overlaps = box_iou(box[None], found.boxes)[0] * (found.scores >= self.threshold)
            if overlaps.max(initial=0) > 0:
                best = int(overlaps.argmax())
                shares = self.framing.to_picture(found.shares[[best]], seen.image_wh)
                masks[i] = (shares[0] > 0.5).cpu().numpy()
                scores[i] = found.scores[best]
        return Masks(masks, scores, "segmenter")

    @torch.inference_mode()
    def from_points(
        self, seen: SamSeen, points: Float[NDArray[Any], "n k 2"], *, words: str = ""
    ) -> Masks:
        """The surest of what the words name that covers all points of a row; else an empty mask.

        Raises:
            InputError: a point beside the picture, or no words.
        """
        points = checked_points(points, seen.image_wh)
        if not words:
            raise InputError("SAM 3 needs words beside a point. Give them, or use another SAM.")
        width, height = seen.image_wh
        masks, scores = np.zeros((len(points), height, width), bool), np.zeros(len(points))
        if not len(points):
            return Masks(masks, scores, "segmenter")
        found = self._search(seen, words)
        drawn = self.framing.to_picture(found.shares, seen.image_wh) > 0.5
        covers = drawn.cpu().numpy()
        for i, (xs, ys) in enumerate(np.moveaxis(points.astype(int), -1, 1)):
            hit = covers[:, ys.clip(max=height - 1), xs.clip(max=width - 1)].all(1)
            sure = found.scores * hit * (found.scores >= self.threshold)
            if sure.max(initial=0) > 0:
                masks[i], scores[i] = covers[sure.argmax()], sure.max()
        return Masks(masks, scores, "segmenter")

    def _search(
        self, seen: SamSeen, words: str, example: Float[NDArray[np.float64], " 4"] | None = None
    ) -> _Instances:
        model = self.model
        text = self.tokenizer(
            words, return_tensors="pt", padding="max_length", truncation=True,
            max_length=_TEXT_TOKENS,
        )  # fmt: skip
        inputs = {name: text[name].to(model.device) for name in ("input_ids", "attention_mask")}
        if example is not None:
            if not hasattr(sys.modules[type(model).__module__], "torchvision"):
                raise InputError(
                    "SAM 3 pools the features of a box with torchvision, which is not installed."
                    " Give words, which it can do without, or load the folder as 'sam3_tracker'."
                )
            inputs["input_boxes"] = self._centred(example, seen.image_wh)
            inputs["input_boxes_labels"] = torch.ones(1, 1, dtype=torch.long, device=model.device)
        out = model(**seen.features, **inputs)
        scores = out.pred_logits[0].sigmoid() * out.presence_logits[0].sigmoid()
        boxes = out.pred_boxes[0].float().cpu().numpy().astype(np.float64)
        return _Instances(
            boxes=boxes * np.tile(seen.image_wh, 2),
            scores=scores.float().cpu().numpy().astype(np.float64),
            shares=out.pred_masks[0].float().sigmoid(),
        )

    def _centred(
        self, box: Float[NDArray[np.float64], " 4"], image_wh: tuple[int, int]
    ) -> Float[Tensor, "1 1 4"]:
        """Middle, width and height, in shares of the picture."""
        low, high = box[:2] / image_wh, box[2:] / image_wh
        values = torch.from_numpy(np.concatenate(((low + high) / 2, high - low)))
        return values[None, None].to(self.model.device, self.model.dtype)


@dataclass(frozen=True, eq=False)
class _Instances:
    """Everything that SAM 3 proposes."""

    boxes: Float[NDArray[np.float64], "q 4"]
    scores: Float[NDArray[np.float64], " q"]
    shares: Float[Tensor, "q h w"]
    """Probability that a cell belongs to it."""
