"""Photographs without people, as backgrounds of rendered scenes; one in eight is held out.

COCO pictures without a person, and the parts of the hard-hat training photographs that lie above or
far beside every labelled head. The set labels few bare heads, so parts in which Ultra-Light sees a
face are left out; small people seen from behind remain.

    python reproductions/nano/backgrounds.py --data-root ../shared/data --out runs/backgrounds

writes `train/` and `heldout/` below `--out`. Needs `coco128`, `hardhat_train` and `models`
below `--data-root`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

FACE_SCORE = 0.5
LEAST_WH = (110, 90)
HELD_OUT = 8
BESIDE = 1.8
"""Widths of the largest head that a strip beside people stays away from them."""


def main() -> None:
    """Write both folders."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    os.environ.setdefault("HEADSIGHT_DATA", str(options.data_root))  # where the detector lies
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
    counts = {"train": 0, "heldout": 0}
    dropped = 0
    for split in counts:
        (options.out / split).mkdir(parents=True, exist_ok=True)
    for pictures in (coco(options.data_root / "coco128"), hard_hat(options.data_root)):
        for number, (name, image) in enumerate(pictures):
            split = "train" if number % HELD_OUT else "heldout"
            if has_face(image):
                dropped += 1
                continue
            image.save(options.out / split / f"{name}.jpg", quality=90)
            counts[split] += 1
    print(
        f"{counts['train']} for training, {counts['heldout']} held out,"
        f" {dropped} with faces left out: {options.out}"
    )


def has_face(image: Image.Image) -> bool:
    """True where Ultra-Light sees a face in the whole picture or in one of its four parts."""
    from peers import ultra_light

    return len(ultra_light.faces(image, min_score=FACE_SCORE, look="tiles")[0]) > 0


def coco(folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """The pictures in which no person is labelled."""
    labels = folder / "annotations" / "instances_train2017_first128.json"
    document = json.loads(labels.read_text("utf-8"))
    person = next(c["id"] for c in document["categories"] if c["name"] == "person")
    peopled = {a["image_id"] for a in document["annotations"] if a["category_id"] == person}
    for entry in document["images"]:
        if entry["id"] not in peopled:
            path = next((folder / "images").rglob(entry["file_name"]))
            yield f"coco_{path.stem}", Image.open(path).convert("RGB")


def hard_hat(root: Path) -> Iterator[tuple[str, Image.Image]]:
    """The largest part of each photograph above, left or right of all heads."""
    document = json.loads((root / "hardhat_train" / "boxes.json").read_text("utf-8"))
    for entry in document["images"]:
        path = root / "hardhat_train" / entry["image"]
        relative = np.array(entry["boxes_cxcywh_norm"], np.float64).reshape(-1, 4)
        if not len(relative):
            continue
        with Image.open(path) as file:
            image = file.convert("RGB")
        width, height = image.size
        boxes = relative * [width, height, width, height]
        low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
        away = BESIDE * boxes[:, 2].max()
        parts = [
            (0, 0, width, low[:, 1].min() - 6),
            (0, 0, low[:, 0].min() - away, height),
            (high[:, 0].max() + away, 0, width, height),
        ]
        fit = [p for p in parts if p[2] - p[0] >= LEAST_WH[0] and p[3] - p[1] >= LEAST_WH[1]]
        if fit:
            best = max(fit, key=lambda p: (p[2] - p[0]) * (p[3] - p[1]))
            yield f"hardhat_{path.stem}", image.crop(tuple(int(v) for v in best))


if __name__ == "__main__":
    main()
