"""Ultra-Light-Fast-Generic-Face-Detector RFB-320: faces, and the whole heads they belong to.

Weights `models/ultra_light_face` (Linzaer, MIT). The network sees 320 x 240 px; `tiles` also shows
it four overlapping parts of the picture, so that smaller faces are found.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from headsight.data.wider_face import FACE_TO_HEAD
from headsight.geometry.boxes import clip_boxes, grow_boxes
from headsight.geometry.nms import nms
from peers.inputs import Array, pixels, session

name = "Ultra-Light RFB-320"
_FILE = "ultra_light_face/version-RFB-320.onnx"
_WH = (320, 240)
_TILE = 0.6
_EDGE = 2.0
HEAD_OF_FACE = FACE_TO_HEAD
"""Its boxes are like those of WIDER FACE, from which it learned."""


def heads(
    image: Image.Image, *, min_score: float = 0.3, look: Literal["once", "tiles"] = "once"
) -> tuple[Array, Array]:
    """Boxes (n, 4) of whole heads, cut at the border, and scores (n,)."""
    boxes, scores = faces(image, min_score=min_score, look=look)
    return head_boxes(boxes, image.size), scores


def head_boxes(faces: Array, image_wh: tuple[int, int]) -> Array:
    """Whole heads of face boxes, cut at the border of the picture."""
    return np.asarray(clip_boxes(grow_boxes(faces, HEAD_OF_FACE), image_wh))


def faces(
    image: Image.Image, *, min_score: float = 0.3, look: Literal["once", "tiles"] = "once"
) -> tuple[Array, Array]:
    """Face boxes (n, 4) xyxy px and scores (n,), best first."""
    parts = [_look(image, min_score)]
    if look == "tiles":
        width, height = image.size
        corners = [(x, y) for x in (0.0, 1 - _TILE) for y in (0.0, 1 - _TILE)]
        for x, y in corners:
            left, top = int(x * width), int(y * height)
            right, bottom = int((x + _TILE) * width), int((y + _TILE) * height)
            parts.append(_look_at(image, (left, top, right, bottom), min_score))
    boxes = np.concatenate([p[0] for p in parts])
    scores = np.concatenate([p[1] for p in parts])
    kept = np.asarray(nms(boxes, scores, 0.3))
    return boxes[kept], scores[kept]


def _look(image: Image.Image, min_score: float) -> tuple[Array, Array]:
    shown = (pixels([image.resize(_WH)], bgr=False) - 127) / 128
    scores, boxes = session(_FILE).run(None, {"input": shown})
    score = scores[0, :, 1].astype(np.float64)
    likely = score > min_score
    box = boxes[0][likely].astype(np.float64) * np.tile(image.size, 2)
    kept = np.asarray(nms(box, score[likely], 0.4))
    return box[kept], score[likely][kept]


def _look_at(
    image: Image.Image, part: tuple[int, int, int, int], min_score: float
) -> tuple[Array, Array]:
    """Faces of a part of the picture, without those that its inner edges cut."""
    tile = image.crop(part)
    boxes, scores = _look(tile, min_score)
    low = np.array([_EDGE if v > 0 else -np.inf for v in part[:2]])
    is_inner = [part[2] < image.width, part[3] < image.height]
    high = np.where(is_inner, np.array(tile.size) - _EDGE, np.inf)
    whole = (boxes[:, :2] >= low).all(1) & (boxes[:, 2:] <= high).all(1)
    offset = np.array([part[0], part[1]] * 2)
    return boxes[whole] + offset, scores[whole]
