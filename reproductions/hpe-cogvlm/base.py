"""M0 of the reproduction: a small grounding VLM that finds heads and knows nothing of their pose.

Its encoder is nano's, frozen, whose tokens are kept from telling the pose that the encoder reads
(`tells_pose=False`): of how a head is turned there are only features, as in a CLIP encoder. The
decoder starts from nothing and learns head boxes, hard hats, and two things that CogVLM can do as
well: to describe what is in a box (the colour of the clothes) and to find a part of it (the nose,
the chin); first from imagined readings, then from pictures. Two of its attention heads are shown
where the head lies that a box in a question means: without that a decoder this small answers as if
there were one head. It never sees a pose question.

    python reproductions/hpe-cogvlm/base.py --scenes runs/hpe/scenes --out runs/hpe/base
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from headsight.language.codec import encode
from headsight.language.spec import CodecSpec
from headsight.models.base import NANO
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.headgrid import COLORS
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.tokenizer import build_tokenizer
from headsight.models.grounding.weights import read_json, weight_files
from headsight.train.checkpoint import load_average_
from headsight.train.labels import read_labels
from headsight.train.language import LanguageJob, LanguageOptions
from headsight.train.loop import LoopConfig, run_stage
from headsight.train.pictures import Augmentation
from headsight.train.questions import Question
from headsight.train.recipe import fingerprint
from headsight.train.seeding import seed_numbers_

BOXES = CodecSpec("boxes")
STAGES = {
    "imagined": (900, LanguageOptions(imagined=1.0, ramp_steps=150, poses=0, refers=0)),
    "pictures": (900, LanguageOptions(imagined=0.1, poses=0, refers=0, guided_heads=(0, 1))),
}
BATCH, RATE = 16, 2e-3
COLOUR = "What color are the clothes of the person in the box {box}?"
PART = "Where is the {part} of the head in the box {box}? answer in [[x0,y0,x1,y1]] format."
PARTS = {"nose": 8, "chin": 15}
"""Landmarks of `headsight scenes` in the middle of the face, which a mirrored picture keeps."""
PART_SIDE = 0.25
"""Of a part's box, in sides of the head's."""
MOST_HEADS = 4


def main() -> None:
    """Train and write the model folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenes", type=Path, nargs="+", required=True, help="labelled pictures")
    parser.add_argument("--out", type=Path, required=True, help="model folder; stages beside it")
    parser.add_argument("--steps", type=int, help="so many steps a stage, to try it out")
    parser.add_argument("--no-experts", action="store_true", help="a decoder as LLaVA's")
    options = parser.parse_args()
    make_base(options.scenes, options.out, steps=options.steps, experts=not options.no_experts)


def make_base(
    labels: list[Path], out: Path, *, steps: int | None = None, experts: bool = True
) -> Path:
    """The model folder `out`; nothing is done where it is there already.

    Without `experts`, pictures and words share all weights of the decoder, as in LLaVA.
    """
    if (out / "config.json").exists():
        return out
    tokenizer = build_tokenizer()
    model = blank_model(tokenizer, experts=experts)
    pictures = [picture for path in labels for picture in read_labels(path)]
    side = model.config.vision_config["image_size"]
    work = out.with_name(out.name + "_training")
    for number, (name, (usual, options)) in enumerate(STAGES.items()):
        job = BaseJob(
            model,
            tokenizer,
            [(pictures, 1.0, Augmentation(image_size=side, zoom_range=(0.6, 2.0)))],
            pictures[:16],
            batch_size=BATCH,
            lr=RATE,
            seed=number,
            options=options,
        )
        count = steps or usual
        loop = LoopConfig(
            steps=count, warmup_steps=50, bf16=True, save_every=100, log_every=25,
            validate_every=count, average_decay=0.99,
        )  # fmt: skip
        mark = fingerprint(name, count, BATCH, RATE, repr(options))
        checkpoint = run_stage(job, loop, work / name, fingerprint=mark)
        load_average_(model, checkpoint)
    part = out.with_name(out.name + ".part")
    model.half().save_pretrained(part)
    GroundingProcessor.for_model(model.config, tokenizer).save_pretrained(part)
    part.rename(out)
    return out


class BaseJob(LanguageJob):
    """Asks for colours and parts at boxes besides."""

    def __init__(self, *arguments, **settings) -> None:
        super().__init__(*arguments, **settings)
        for color in COLORS:
            self._is_sayable[self._tokenizer.encode(f" {color}", add_special_tokens=False)] = True

    def batch(self, step):
        """As ever, with the places of parts among what is known of a head."""
        batch = super().batch(step)
        if not isinstance(batch, list):
            return batch
        return [(_with_parts(canvas), is_complete) for canvas, is_complete in batch]

    def _ask(self, subjects, rng, *, is_complete):
        asked = super()._ask(subjects, rng, is_complete=is_complete)
        for index in rng.permutation(len(subjects))[:MOST_HEADS]:
            asked += _details(subjects[index], rng)
        return asked


def _with_parts(canvas):
    """`part` of a head: the box in [0, 1] of the picture, or None where the part is not seen."""
    if canvas.landmarks is None:
        return canvas
    wh = np.array(canvas.content_wh_rel) * canvas.pixels.shape[0]
    attributes = []
    for known, box, points in zip(canvas.attributes, canvas.boxes, canvas.landmarks, strict=True):
        half = (box[2:] - box[:2]) * PART_SIDE / 2
        parts = {}
        for name, index in PARTS.items():
            x, y, visibility = points[index]
            place = np.array([x, y])
            corners = (np.concatenate([place - half, place + half]) / np.tile(wh, 2)).clip(0, 1)
            is_seen = visibility == 2 and (corners[2:] > corners[:2]).all()
            parts[name] = corners if is_seen else None
        attributes.append({**known, **parts})
    return dataclasses.replace(canvas, attributes=tuple(attributes))


def _details(subject, rng):
    """Questions about a head and its person, at its box."""
    box, known = subject.box, subject.attributes
    side = np.tile(box[2:] - box[:2], 2)
    shown = encode(
        (box + rng.uniform(-0.05, 0.05, 4) * side).clip(0, 1)[None], BOXES, image_wh=(1, 1)
    )
    asked = []
    if known.get("clothes_color") in COLORS:
        asked.append(Question(COLOUR.replace("{box}", shown), f" {known['clothes_color']}", "text"))
    for part in PARTS:
        if part in known:
            prompt = PART.replace("{box}", shown).replace("{part}", part)
            found = [] if known[part] is None else [known[part]]
            answer = encode(np.reshape(found, (-1, 4)), BOXES, image_wh=(1, 1))
            asked.append(Question(prompt, answer, "boxes"))
    return asked


def blank_model(tokenizer, *, experts: bool = True) -> GroundingVLM:
    """Nano's encoder under a decoder of random weights."""
    values = read_json(NANO / "config.json")
    values["vision_config"] = {**values["vision_config"], "tells_pose": False}
    if not experts:
        values["expert_layers"] = []
    config = GroundingVLMConfig.from_dict(values)
    torch.manual_seed(0)
    model = GroundingVLM(config).float()
    seed_numbers_(model, tokenizer, generator=torch.Generator().manual_seed(0))
    learned_anew = ("read_in", "feature_in", "position")
    state = model.state_dict()
    for file in weight_files(NANO):
        with safe_open(file, "pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - safe_open is no dict
                inner = name.removeprefix("model.vision.encoder.")
                if inner != name and not inner.startswith(learned_anew):
                    state[name] = stored.get_tensor(name).float()
    model.load_state_dict(state)
    model.model.vision.encoder.to(memory_format=torch.channels_last)
    return model


if __name__ == "__main__":
    main()
