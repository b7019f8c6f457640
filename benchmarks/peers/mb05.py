"""3DDFA_V2's MobileNet of half width (arXiv:2009.09960): pose of a 3D face model, from a crop.

Weights `models/3ddfa_v2` (cleardusk/3DDFA_V2, MIT). The first 12 of its 62 numbers are a 3 x 4
camera matrix whose rotation is that of 300W-LP. The mean and scale of the numbers lie in a pickle,
which is read by an unpickler that knows numpy arrays and nothing else.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from headsight.errors import CheckpointError
from headsight.geometry.rotations import convert
from peers.inputs import Array, agree, model_file, pixels, stack_poses

name = "3DDFA_V2 mb0.5"
CONVENTION = "300wlp"
SCALES = (1.0, 1.1)
SHIFT_DOWN = 0.1
SIDE = 120
_LAYERS = (
    ("dw2_1", 1), ("dw2_2", 2), ("dw3_1", 1), ("dw3_2", 2), ("dw4_1", 1), ("dw4_2", 2),
    ("dw5_1", 1), ("dw5_2", 1), ("dw5_3", 1), ("dw5_4", 1), ("dw5_5", 1), ("dw5_6", 2), ("dw6", 1),
)  # fmt: skip
"""Name and stride of the depthwise separable layers."""


def poses(images: Sequence[Image.Image], boxes: Array) -> Array:
    """Rotations (n, 3, 3) of n heads: image i, head box i."""
    return stack_poses([pose(i, b)[0] for i, b in zip(images, boxes, strict=True)])


def pose(
    image: Image.Image, box: Array, *, scales: Sequence[float] = SCALES
) -> tuple[Array, float]:
    """One head's rotation, and how far its crops and their mirror images disagree, degrees."""
    return agree(read, image, box, scales=scales, side=SIDE, shift_down=SHIFT_DOWN)


def read(crops: Sequence[Image.Image]) -> Array:
    """Rotations of crops of 120 x 120 px, each as it stands."""
    weights, mean, scale = _model()
    with torch.inference_mode():
        inputs = (torch.from_numpy(pixels(crops, bgr=True)) - 127.5) / 128
        numbers = _forward(inputs, weights).double().numpy() * scale + mean
    camera = numbers[:, :12].reshape(-1, 3, 4)[:, :2, :3]
    rows = camera / np.linalg.norm(camera, axis=-1, keepdims=True)
    rotations = np.stack([rows[:, 0], rows[:, 1], np.cross(rows[:, 0], rows[:, 1])], 1)
    u, _, vt = np.linalg.svd(rotations)  # the two rows are only nearly square to each other
    return np.asarray(convert(u @ vt, CONVENTION))


def _forward(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    def norm(x: Tensor, layer: str) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        return functional.relu(functional.batch_norm(x, *(weights[f"{layer}.{n}"] for n in names)))

    x = norm(functional.conv2d(x, weights["conv1.weight"], stride=2, padding=1), "bn1")
    for layer, stride in _LAYERS:
        kernel = weights[f"{layer}.conv_dw.weight"]
        x = functional.conv2d(x, kernel, stride=stride, padding=1, groups=len(kernel))
        x = norm(x, f"{layer}.bn_dw")
        x = norm(functional.conv2d(x, weights[f"{layer}.conv_sep.weight"]), f"{layer}.bn_sep")
    x = x.mean((2, 3))
    return functional.linear(x, weights["fc_param.weight"], weights["fc_param.bias"])


@cache
def _model() -> tuple[dict[str, Tensor], Array, Array]:
    whole = torch.load(
        model_file("3ddfa_v2/mb05_120x120.pth"), map_location="cpu", weights_only=True
    )
    weights = {k.removeprefix("module."): v for k, v in whole["state_dict"].items()}
    with model_file("3ddfa_v2/param_mean_std_62d_120x120.pkl").open("rb") as file:
        table = _ArraysOnly(file).load()
    return weights, table["mean"].astype(np.float64), table["std"].astype(np.float64)


class _ArraysOnly(pickle.Unpickler):
    """Reads numpy arrays; any other name in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names that a pickled numpy array consists of."""
        if (module, name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.empty(0).__reduce__()[0]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise CheckpointError(f"The pickle names {module}.{name}; only numpy arrays are read.")
