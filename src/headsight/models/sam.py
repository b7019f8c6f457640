"""SAM and those of its descendants that take a box, from transformers, behind `Segmenter`.

Papers: SAM arXiv:2304.02643, SAM-HQ arXiv:2306.01567, SAM 2 arXiv:2408.00714, EdgeTAM
arXiv:2501.07256, and the tracker of SAM 3 arXiv:2511.16719.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

__all__ = ["SamSeen", "SamSegmenter"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from headsight.geometry.region_maps import RegionMap
from headsight.models.framing import Framing
from headsight.models.segmenters import Masks, Seen, checked_boxes, checked_points, one_each
from headsight.picture import Picture

_AT_ONCE = 16  # boxes a call: their masks in floating point are what takes memory
_PIXELS_AT_ONCE = 64_000_000
_MAP_LOGIT = 10.0
"""A map's largest distance from its mean, as a mask prompt: sure, but not surer than the model."""


@dataclass(frozen=True, eq=False)
class SamSeen(Seen):
    """One picture and its features."""

    features: Mapping[str, Any]
    """What the model's `forward` takes in the place of the picture."""


class SamSegmenter:
    """SAM, SAM-HQ, SAM 2, EdgeTAM or the tracker of SAM 3: a mask a box or point, by the pixels."""

    reads_maps = True

    def __init__(self, model: PreTrainedModel, framing: Framing, *, name: str) -> None:
        self.name = name
        self.model: Any = model.eval()
        self.framing = framing

    def embed(self, picture: Picture) -> SamSeen:
        """The features of the picture: the slow half."""
        pixels = self.framing.pixels(picture.image).to(self.model.device, self.model.dtype)
        found = self.model.get_image_embeddings(pixels)
        if isinstance(found, tuple):  # SAM-HQ
            features = dict(
                zip(("image_embeddings", "intermediate_embeddings"), found, strict=True)
            )
        else:
            features = {"image_embeddings": found}
        return SamSeen(picture.image_wh, features)

    @torch.inference_mode()
    def from_boxes(
        self,
        seen: SamSeen,
        boxes: Float[NDArray[Any], "n 4"],
        *,
        maps: Sequence[RegionMap] | None = None,
        words: str = "",
    ) -> Masks:
        """One mask a box; with `maps` the box and the map are the prompt together. No words.

        Raises:
            InputError: a box without area in the picture, or not one map a box.
        """
        boxes = checked_boxes(boxes, seen.image_wh)
        prompts = self.framing.boxes(boxes, seen.image_wh).to(self.model.device)
        hints = None if maps is None else [self._hint(one, seen) for one in one_each(maps, boxes)]
        return self._drawn(seen, {"input_boxes": prompts[None]}, hints)

    @torch.inference_mode()
    def from_points(
        self, seen: SamSeen, points: Float[NDArray[Any], "n k 2"], *, words: str = ""
    ) -> Masks:
        """One mask a row of points: of the three that SAM offers the one it is surest of. No words.

        Raises:
            InputError: a point beside the picture.
        """
        points = checked_points(points, seen.image_wh)
        prompts = self.framing.points(points, seen.image_wh).to(self.model.device)
        are_inside = torch.ones(prompts.shape[:2], dtype=torch.long, device=prompts.device)
        asked = {"input_points": prompts[None], "input_labels": are_inside[None]}
        return self._drawn(seen, asked, several=True)

    def _drawn(
        self,
        seen: SamSeen,
        asked: Mapping[str, Tensor],
        hints: Sequence[Tensor] | None = None,
        *,
        several: bool = False,
    ) -> Masks:
        """One mask a prompt (axis 1 of what is asked), or the best of `several`."""
        number = next(iter(asked.values())).shape[1]
        width, height = seen.image_wh
        masks, scores = np.zeros((number, height, width), bool), np.zeros(number)
        step = max(1, min(_AT_ONCE, _PIXELS_AT_ONCE // (width * height)))
        step = step if hints is None else 1  # all boxes of a call share one mask prompt
        for start in range(0, number, step):
            part = slice(start, start + step)
            hint = {} if hints is None else {"input_masks": hints[start]}
            prompts = {name: value[:, part] for name, value in asked.items()}
            out = self.model(**seen.features, **hint, **prompts, multimask_output=several)
            best = out.iou_scores[0].argmax(-1)
            rows = torch.arange(len(best), device=best.device)
            logits = self.framing.to_picture(out.pred_masks[0, rows, best].float(), seen.image_wh)
            masks[part] = (logits > 0).cpu().numpy()
            scores[part] = out.iou_scores[0, rows, best].float().clamp(0, 1).cpu().numpy()
        return Masks(masks, scores, "segmenter")

    def _hint(self, one: RegionMap, seen: SamSeen) -> Float[Tensor, "1 1 cells cells"]:
        """A map as logits on the grid of mask prompts: 0 at its mean, and surely none beyond it."""
        cells = 4 * self.model.prompt_encoder.image_embedding_size[0]
        height, width = self.framing.resized_hw(seen.image_wh)
        middles = (np.arange(cells) + 0.5) * self.framing.side / cells
        image_width, image_height = seen.image_wh
        contrast = one.contrast(middles * image_width / width, middles * image_height / height)
        logits = contrast * _MAP_LOGIT
        return torch.from_numpy(logits)[None, None].to(self.model.device, self.model.dtype)
