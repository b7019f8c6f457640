"""A school of bars: pictures, labels, schema, and a tiny model that can learn their ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from headsight.language.schema import KeypointSchema, KeypointText
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.tokenizer import IMAGE, build_tokenizer
from headsight.teach.keypoint_rounds import KeypointData
from headsight.teach.loss import AnswerModel
from headsight.teach.tokens import collate, encode_sample

SIDE = 32
SCHEMA = KeypointSchema(
    "bar",
    (
        KeypointText("red", "The end of the bar opposite the blue one."),
        KeypointText("middle", "Between the red and the blue end."),
        KeypointText("blue", "The end of the bar opposite the red one."),
    ),
    skeleton=((0, 1), (1, 2)),
    categories=("bar",),
)


def write_bars(folder: Path, count: int, *, seed: int) -> Path:
    """Pictures of a bar each, `annotations.json` in COCO's layout, and `schema.json`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for number in range(count):
        image = Image.new("RGB", (SIDE, SIDE), "black")
        pen = ImageDraw.Draw(image)
        x, y = rng.uniform(8, SIDE - 8), rng.uniform(3, SIDE - 3)
        pen.rectangle((x - 7, y - 2, x, y + 2), fill="#ff3030")
        pen.rectangle((x, y - 2, x + 7, y + 2), fill="#3030ff")
        points = [(x - 7, y), (x, y), (x + 7, y)]
        image.save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": [0, 0, SIDE, SIDE],
                "area": SIDE**2,
                "iscrowd": 0,
                "num_keypoints": len(SCHEMA),
                "keypoints": [v for x, y in points for v in (float(x), float(y), 2)],
            }
        )
    category = {"id": 1, "name": "bar", "keypoints": list(SCHEMA.names), "skeleton": [[1, 2]]}
    document = {"images": images, "annotations": annotations, "categories": [category]}
    (folder / "annotations.json").write_text(json.dumps(document))
    (folder / "schema.json").write_text(json.dumps(SCHEMA.to_dict()))
    return folder


def tiny_vlm(*, seed: int = 0, width: int = 64, layers: int = 1) -> GroundingAdapter:
    """A model of random weights that sees the picture as one patch."""
    tokenizer = build_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = GroundingVLMConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            tie_word_embeddings=True,
            adapter="linear",
            expert_layers=[],
            share_image_position=False,
            image_mask="full",
            vision_config={
                "encoder": "transformers",
                "model": {
                    "model_type": "vit", "hidden_size": width, "num_hidden_layers": 0,
                    "num_attention_heads": 4, "intermediate_size": 2 * width,
                    "image_size": SIDE, "patch_size": SIDE, "hidden_dropout_prob": 0.0,
                    "initializer_range": 0.1,
                    "attention_probs_dropout_prob": 0.0,
                },
            },
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
            initializer_range=0.1,
            max_position_embeddings=1024,
        )  # fmt: skip
        model = GroundingVLM(config)
    _look_for_red_(model)
    processor = GroundingProcessor.for_model(config, tokenizer)
    return GroundingAdapter(model, processor, name="tiny")


@torch.no_grad()
def _look_for_red_(model: GroundingVLM) -> None:
    """Let the encoder tell in which columns and rows there is red, so that little is to learn."""
    weight = dict(model.named_parameters())[
        "model.vision.encoder.backbone.embeddings.patch_embeddings.projection.weight"
    ]
    half, places = len(weight) // 2, torch.arange(SIDE) + 0.5
    middles = torch.linspace(0, SIDE, half)[:, None]
    bumps = 0.2 * torch.exp(-(((places - middles) / 2) ** 2))  # (half, SIDE)
    weight.zero_()
    weight[:half, 0] = bumps[:, None, :].expand(-1, SIDE, -1)
    weight[half:, 0] = bumps[:, :, None].expand(-1, -1, SIDE)


def taught_vlm(folder: Path, *, steps: int = 300) -> tuple[GroundingAdapter, KeypointData]:
    """A model that has learned the bars in `folder`, in dynamic rounds, and with what."""
    vlm = tiny_vlm()
    data = KeypointData(
        path=folder, schemas=(str(folder / "schema.json"),), side=SIDE, scale_spread=0.0,
        turn_share=0.0, k=3, with_reference=False, question="{keypoint}", digits=1, roles=("", "", ""),
    )  # fmt: skip
    vlm.model.config.headsight_keypoints = data.kept()
    source, rng = data.read(), np.random.default_rng(0)
    passes = ((i, epoch) for epoch in range(2) for i in range(len(source)))
    rows = [encode_sample(vlm, source.draw_again(i, rng, epoch=epoch)) for i, epoch in passes]
    model = AnswerModel(vlm.model.train())
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1.0, step / 20) * (1 - step / (steps + 10))
        chosen = [rows[i] for i in rng.integers(0, len(rows), 16)]
        for batch in collate(chosen, pad_id=0):
            model(batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    vlm.model.eval()
    return vlm, data
