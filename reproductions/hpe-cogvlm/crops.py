"""The rival of CNN type: a small 6DRepNet on crops of the true boxes, same scenes, same heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from headsight.cli.reproduce import run_headsight
from headsight.eval.headpose_metrics import headpose_metrics
from headsight.files import write_atomic
from headsight.models.headpose.reader import load_crop_regressor
from headsight.picture import open_picture
from headsight.train.labels import read_labels

STEPS = 1500
MIN_PIXELS = 14
FIGURES = ("yaw", "pitch", "roll", "mae", "mae_penalised", "geodesic_mean", "geodesic_median")


def train_crops(seed: int, data: dict[str, Path], folder: Path, *, quick: bool) -> None:
    """Train with this seed, unless that is done."""
    model = folder / f"model{seed}"
    if not (model / "config.json").exists():
        recipe = folder / f"recipe{seed}.yaml"
        write_atomic(recipe, yaml.safe_dump(_recipe(seed, data, folder, quick)).encode())
        run_headsight("train", str(recipe), "--export", str(model))


def crop_row(seed: int, data: dict[str, Path], folder: Path) -> dict[str, Any]:
    """Figures of every pose set."""
    return _by_set(data, load_crop_regressor(folder / f"model{seed}").read_poses)


def frontal_row(data: dict[str, Path]) -> dict[str, Any]:
    """Figures of a rival that looks at nothing and says that all heads face the camera."""
    return _by_set(data, lambda _, boxes: np.tile(np.eye(3), (len(boxes), 1, 1)))


def _by_set(data: dict[str, Path], read_poses: Callable[..., Any]) -> dict[str, Any]:
    return {
        f"pose {name}": _figures(data[name], read_poses)
        for name in ("probe", "other", "aflw", "panoptic")
        if name in data
    }


def _figures(labels: Path, read_poses: Callable[..., Any]) -> dict[str, float]:
    """Errors of the heads that the language model is asked about too."""
    found, truth = [], []
    for picture in read_labels(labels):
        sides = (picture.boxes[:, 2:] - picture.boxes[:, :2]).min(1, initial=np.inf)
        is_asked = (sides >= MIN_PIXELS) & np.isfinite(picture.rotations).all((1, 2))
        if is_asked.any():
            boxes = picture.boxes[is_asked].astype(np.float64)
            found.append(read_poses(open_picture(picture.encoded), boxes))
            truth.append(picture.rotations[is_asked].astype(np.float64))
    full = headpose_metrics(np.concatenate(found), np.concatenate(truth))["full"]
    return {name: full[name] for name in FIGURES} | {"strict_invalid": 0.0}


def _recipe(seed: int, data: dict[str, Path], folder: Path, quick: bool) -> dict[str, Any]:
    steps = 6 if quick else STEPS
    return {
        "name": "crops",
        "output": str(folder / f"training{seed}"),
        "validation": str(data["probe"]),
        "seed": seed,
        "stages": [
            {
                "name": "crops",
                "kind": "crop_regressor",
                "batch_size": 64,
                "lr": 2e-3,
                "options": {
                    "backbone": "tiny", "image_size": 64, "resize_size": None, "margin": 0.1,
                    "augmentation": {"jitter": 0.05, "turn_share": 0.3, "recolor_share": 0.3},
                },
                "loop": {
                    "steps": steps, "warmup_steps": 50, "average_decay": 0.995,
                    "save_every": 250, "validate_every": steps, "weight_decay": 0.01,
                },
                "sources": [{"labels": str(data["new"]), "share": 1.0, "crops": True}],
            }
        ],
    }  # fmt: skip
