"""A tiny model in a folder, and a tiny school: pictures of discs that stand for heads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tiny_models import save_tiny


@dataclass(frozen=True)
class School:
    """What there is to learn from, and who learns."""

    model: Path
    labels: Path
    """Six pictures, ten heads."""
    old: Path
    """Four other pictures."""
    folder: Path


@pytest.fixture(scope="session")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    folder = tmp_path_factory.mktemp("school")
    return School(
        save_tiny(folder / "tiny"),
        write_labels(folder / "new", (1, 2, 3, 1, 2, 1), seed=0),
        write_labels(folder / "old", (2, 1, 1, 0), seed=1),
        folder,
    )


def write_labels(folder: Path, heads: tuple[int, ...], *, seed: int) -> Path:
    """Pictures with so many discs each, and their labels."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    lines = []
    for number, count in enumerate(heads):
        image = Image.new("RGB", (96, 64), "#446688")
        pen = ImageDraw.Draw(image)
        known: list[dict[str, Any]] = []
        for _ in range(count):
            x, y, side = rng.integers(0, 60), rng.integers(0, 34), rng.integers(12, 30)
            box = [int(x), int(y), int(x + side), int(y + side)]
            pen.ellipse(box, fill="#ddbb99")
            known.append({"box": box, "ypr_deg": [float(v) for v in rng.uniform(-60, 60, 3)]})
        name = f"{number}.png"
        image.save(folder / name)
        lines.append(json.dumps({"image": name, "wh": [96, 64], "heads": known}))
    path = folder / "labels.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path
