"""A tiny model in a folder, and a tiny school: pictures of discs that stand for heads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.tokenizer import IMAGE, build_tokenizer

VISION = {
    "encoder": "headgrid",
    "image_size": 64,
    "neck_channels": 16,
    "hidden_size": 32,
    "keep_tokens": 4,
}


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


def save_tiny(folder: Path, *, seed: int = 0) -> Path:
    """A model of random weights, in fp32."""
    tokenizer = build_tokenizer()
    torch.manual_seed(seed)
    config = GroundingVLMConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        tie_word_embeddings=True,
        adapter="linear",
        vision_config=dict(VISION),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        initializer_range=0.1,
        max_position_embeddings=512,
    )
    model = GroundingVLM(config)
    model.save_pretrained(folder)
    GroundingProcessor.for_model(config, tokenizer).save_pretrained(folder)
    return folder


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
