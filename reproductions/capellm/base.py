r"""M0 of the reproduction: a small VLM on the frozen encoder that knows what things are called.

It stands for what a VLM brings along before it is taught keypoints: reading words, finding what
they name among the tokens, writing its place. It learns to point at coloured shapes, then at the
points of the seen categories, one a picture, each called by its name alone. Of the descriptions
only the words are known, so that each is one token; it has read none, and no round of points.

    python reproductions/capellm/base.py --objects runs/capellm/seen \
        --encoder runs/capellm/encoder --out runs/capellm/base
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import yaml
from encoder import SIDE, VISION, PointFinder
from PIL import Image, ImageDraw, ImageFilter
from safetensors import safe_open

from headsight.files import write_atomic
from headsight.language.codec import encode
from headsight.language.schema import KeypointSchema
from headsight.language.schema_library import read_schemas
from headsight.language.spec import CodecSpec
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.headgrid import fourier_features
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.tokenizer import IMAGE, build_tokenizer
from headsight.teach.plan import read_plan
from headsight.teach.stages import run_plan
from headsight.train.checkpoint import load_average_
from headsight.train.seeding import seed_numbers_

COLOURS = {
    "red": "#d62828", "green": "#2a9d3a", "blue": "#1d5fd6", "yellow": "#f2d21f",
    "white": "#f4f4f4", "black": "#101010", "pink": "#f48fc0", "brown": "#7a4a22",
}  # fmt: skip
SHAPES = ("ball", "box", "tree", "ring")
POINT = CodecSpec("point")
WAY = {
    "side": SIDE, "scale_spread": 0, "turn_share": 0, "roles": ["", "", ""],
    "question": "Where is the {keypoint} of the {category}?",
}  # fmt: skip
"""How every training asks about a crop. None is varied: 8,000 rendered objects vary enough, and
their tokens can be kept."""
PICTURES, PROBE, STEPS, BATCH, RATE = 6000, 100, 1200, 32, 1.5e-3
DECODER = {
    "hidden_size": 192, "intermediate_size": 336, "num_hidden_layers": 4,
    "num_attention_heads": 6, "expert_layers": [], "adapter": "linear",
}  # fmt: skip
NAMES_STEPS, NAMES_BATCH, NAMES_RATE = 1800, 64, 1e-3
"""Of the second stage."""
PLACE = 40
"""Channels of a token that tell where its cell is."""


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=Path, required=True, help="rendered seen objects")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of encoder.py")
    parser.add_argument("--out", type=Path, required=True, help="model folder")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--names", type=int, default=NAMES_STEPS)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    options = parser.parse_args()
    counts = {"steps": options.steps, "names": options.names, "pictures": options.pictures}
    make_base(options.objects, options.encoder, options.out, **counts)


def make_base(
    objects: Path,
    encoder: Path,
    out: Path,
    *,
    steps: int = STEPS,
    names: int = NAMES_STEPS,
    pictures: int = PICTURES,
) -> Path:
    """The folder of the taught model; what is there already is not done again."""
    blank = out / "blank"
    if not (blank / "config.json").exists():
        words = words_of(read_schemas(objects / "schemas.json"))
        write_blank(encoder / "checkpoint.safetensors", blank, words)
    shapes = write_shapes(out / "shapes", pictures)
    points = {
        "path": str(objects), "rounds": "single", "with_reference": False, **WAY
    }  # fmt: skip
    plan = {
        "name": "pointing",
        "model": str(blank),
        "output": str(out / "pointing"),
        "features": str(out.parent / "features"),
        "skills": {"shapes": {"path": str(shapes["probe"])}},
        "stages": [
            {
                "name": "shapes",
                "data": [{"path": str(shapes["fit"])}],
                "steps": steps,
                "batch_size": BATCH,
                "lr": RATE,
                "number_spread": 8,
                "loop": {"bf16": True, "save_every": 100, "warmup_steps": min(100, steps // 2)},
            },
            {
                "name": "names",
                "start": "shapes",
                "type": "capellm",
                "data": [points],
                "lora": None,
                "steps": names,
                "batch_size": NAMES_BATCH,
                "lr": NAMES_RATE,
                "number_spread": 8,
                "loop": {"bf16": True, "save_every": 100, "clip_norm": 1.0},
            },
        ],
    }
    path = out / "plan.yaml"
    write_atomic(path, yaml.safe_dump(plan, sort_keys=False).encode())
    return run_plan(read_plan(path))


def words_of(schemas: Iterable[KeypointSchema]) -> list[str]:
    """All words of names and descriptions."""
    texts = (
        text
        for schema in schemas
        for text in (
            schema.name,
            *(f"{point.name} {point.description}" for point in schema.keypoints),
        )
    )
    return sorted({word for text in texts for word in re.findall(r"[^\W\d_]+", text)})


def write_blank(checkpoint: Path, folder: Path, words: Iterable[str]) -> None:
    """The encoder under a decoder of random weights."""
    tokenizer = build_tokenizer(words)
    config = GroundingVLMConfig(
        vocab_size=len(tokenizer),
        vision_config=dict(VISION),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        tie_word_embeddings=True,
        share_image_position=True,
        initializer_range=0.05,
        max_position_embeddings=2048,
        **DECODER,
    )
    torch.manual_seed(0)
    model = GroundingVLM(config).float()
    seed_numbers_(model, tokenizer, generator=torch.Generator().manual_seed(0))
    with safe_open(checkpoint, "pt") as stored:
        number = next(
            stored.get_slice(name).get_shape()[0] for name in stored.keys()  # noqa: SIM118
            if name.endswith("names.weight")
        )  # fmt: skip
    finder = PointFinder(number)
    load_average_(finder, checkpoint)
    encoder = model.model.vision.encoder
    encoder.load_state_dict(finder.encoder.state_dict())
    place_tokens_(encoder)
    model.save_pretrained(folder)
    GroundingProcessor.for_model(config, tokenizer).save_pretrained(folder)


@torch.no_grad()
def place_tokens_(encoder) -> None:
    """Tokens say where they are in their first channels, and what is there in the others."""
    grid = encoder.grid_hw[0]
    middles = (torch.arange(grid) + 0.5) / grid
    columns, rows = middles.repeat(grid), middles.repeat_interleave(grid)
    place = torch.cat([fourier_features(columns), fourier_features(rows)], -1)
    encoder.position.zero_()
    encoder.position[:, :PLACE] = place[:, :PLACE]
    encoder.feature_in.weight.zero_()
    encoder.feature_in.bias.zero_()
    torch.nn.init.orthogonal_(encoder.feature_in.weight[PLACE:])


def write_shapes(folder: Path, number: int) -> dict[str, Path]:
    """Instruct files of pictures with shapes: to learn from, and to be asked."""
    paths = {}
    for part, count, seed in (("fit", number, 1), ("probe", PROBE, 2)):
        path = folder / f"{part}.jsonl"
        paths[part] = path
        if path.exists():
            continue
        (folder / part).mkdir(parents=True, exist_ok=True)
        lines = []
        for index in range(count):
            rng = np.random.default_rng([seed, index])
            image, known = draw_shapes(rng)
            name = f"{part}/{index}.png"
            image.save(folder / name)
            for (colour, shape), place in list(known.items())[: 3 if part == "fit" else 1]:
                asked = f"Where is the {colour} {shape}?"
                answer = encode(place, POINT)
                lines.append(
                    json.dumps(
                        {"image": name, "question": asked, "answer": answer, "kind": "point"}
                    )
                )
        write_atomic(path, "\n".join([*lines, ""]).encode())
    return paths


def draw_shapes(rng):
    """A picture of 2 to 6 different shapes, and their middles in [0, 1]."""
    side = 2 * SIDE
    backdrop = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8) // 2 + 64
    image = Image.fromarray(backdrop).resize((side, side), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    kinds = [(c, s) for c in COLOURS for s in SHAPES]
    known = {}
    for kind in rng.permutation(len(kinds))[: rng.integers(2, 7)]:
        colour, shape = kinds[kind]
        size = rng.uniform(0.07, 0.16) * side
        for _ in range(20):
            place = rng.uniform(0.08, 0.92, 2)
            if all(np.abs(place - other).max() > 0.2 for other in known.values()):
                break
        else:
            continue
        _draw(pen, shape, COLOURS[colour], place * side, size / 2)
        known[colour, shape] = place
    return image.filter(ImageFilter.GaussianBlur(0.7)).resize((SIDE, SIDE)), known


def _draw(pen, shape, fill, middle, half) -> None:
    x, y = middle
    around = (x - half, y - half, x + half, y + half)
    if shape == "ball":
        pen.ellipse(around, fill=fill)
    elif shape == "ring":
        pen.ellipse(around, outline=fill, width=max(2, int(half / 2.5)))
    elif shape == "box":
        pen.rectangle(around, fill=fill)
    else:
        pen.polygon([(x, y - half), (x - half, y + half), (x + half, y + half)], fill=fill)


if __name__ == "__main__":
    main()
