r"""M0 of the reproduction: a small VLM on the frozen encoder that has read what things are called.

It stands for what a VLM brings along before it is taught keypoints in rounds: reading words and
descriptions, finding what they name among the tokens, writing its place. It learns from points of
the seen categories, each asked by itself: half of them by the name alone, half with the
description, in some a word replaced by letters that mean nothing, as words of unseen categories
will be. It has seen no rounds.

    python reproductions/capellm/base.py --objects runs/capellm/seen \
        --encoder runs/capellm/encoder/round3/checkpoint.safetensors --out runs/capellm/base
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from encoder import SIDE, VISION, PointFinder, Words, to_input, view
from transformers import DynamicCache

from headsight.data.keypoint_files import read_keypoints
from headsight.language.codec import encode
from headsight.language.rounds import RoundFormat, tokenize_rounds
from headsight.language.schema import KeypointSchema
from headsight.language.schema_library import read_schemas
from headsight.language.schema_lint import mirrored_text
from headsight.models.base import load_vlm
from headsight.models.conversation import glue_of
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.headgrid import fourier_features
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.tokenizer import IMAGE, build_tokenizer, first_number_id
from headsight.teach.keypoint_rounds import KeypointData, category_schemas
from headsight.teach.storing import replace_folder, save_model
from headsight.train.checkpoint import load_average_
from headsight.train.loop import LoopConfig, run_stage
from headsight.train.optimizers import decoder_groups
from headsight.train.packing import answer_loss, image_prefix, said_logits
from headsight.train.recipe import fingerprint
from headsight.train.seeding import seed_numbers_

ROLES = ("", "", "")
WAY = {
    "side": SIDE, "scale_spread": 0, "turn_share": 0, "roles": list(ROLES),
    "question": "Where is the {keypoint}?",
}  # fmt: skip
"""How every training asks about a crop; the category is not told. Rows vary none: 8,000 rendered
objects vary enough, and their tokens can be kept."""
DECODER = {
    "hidden_size": 192, "intermediate_size": 336, "num_hidden_layers": 4,
    "num_attention_heads": 6, "expert_layers": [], "adapter": "linear",
}  # fmt: skip
STEPS, BATCH, RATE = 700, 24, 2e-3
MOST = 12
"""Points of one picture that are asked at once."""
PARTS = 8
"""Groups of similar length in which the questions of a batch run."""
DESCRIBED, GARBLED = 0.5, 0.1
"""Share of the questions with a description, and of their words that are made unknown."""
AWAY = 400
"""Half of the questions stand up to so many places behind the picture, as they do in rounds."""
SPREAD = 8
"""Deviation of the soft target of a coordinate, thousandths."""
HELD_OUT = 96
PLACE = 40
"""Channels of a token that tell where its cell is."""


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=Path, required=True, help="rendered seen objects")
    parser.add_argument("--encoder", type=Path, required=True, help="checkpoint of encoder.py")
    parser.add_argument("--out", type=Path, required=True, help="model folder")
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    make_base(options.objects, options.encoder, options.out, steps=options.steps)


def make_base(objects: Path, encoder: Path, out: Path, *, steps: int = STEPS) -> Path:
    """The folder of the taught model; what is there already is not done again."""
    blank = out / "blank"
    if not (blank / "config.json").exists():
        named = Words(read_keypoints(objects).instances)
        told = words_of(read_schemas(objects / "schemas.json"))
        write_blank(encoder, blank, told, named)
    model = out / "model"
    if not (model / "config.json").exists():
        job = ReadingJob(load_vlm(str(blank)), objects)
        loop = LoopConfig(
            steps=steps, warmup_steps=min(50, steps // 2), bf16=True, save_every=100, log_every=25,
            validate_every=min(300, steps), average_decay=0.99,
        )  # fmt: skip
        mark = fingerprint(steps, BATCH, RATE, MOST, DESCRIBED, GARBLED, AWAY, SPREAD, len(job))
        checkpoint = run_stage(job, loop, out / "reading", fingerprint=mark)
        load_average_(job.module, checkpoint)
        asked = KeypointData(path=objects, rounds="single", **{**WAY, "roles": ROLES})
        job.module.config.headsight_keypoints = asked.kept()
        replace_folder(model, lambda path: save_model(job.vlm, path))
    return model


class ReadingJob:
    """Questions about points by themselves, those of one picture in one row.

    Each sees the picture and itself alone: what it is to learn is the same as from a row of its own
    (`rounds: single`), but its picture is read once.
    """

    def __init__(self, vlm, objects: Path) -> None:
        self.vlm, self.module = vlm, vlm.model.train()
        # on a CPU the backward pass of the fused kernel takes longer than the plain products
        self.module.set_attn_implementation("eager")
        found = read_keypoints(objects)
        self._schemas = category_schemas(found, objects)
        every = [one for one in found.instances if one.visible.any()]
        kept = min(HELD_OUT, len(every) // 5)
        self._instances, self._held_out = every[kept:], every[:kept]
        self._tokenizer = vlm.processor.tokenizer
        self._glue = glue_of(vlm)
        self._first = first_number_id(self._tokenizer)
        answer = tokenize_rounds(self._tokenizer, [("?", "[0.000,0.000]")], self._glue)
        marks = {i for i, said in zip(answer.ids, answer.said, strict=True) if said}
        self._is_sayable = torch.zeros(len(self._tokenizer), dtype=torch.bool)
        self._is_sayable[[*marks, *range(self._first, self._first + 1000)]] = True

    def __len__(self) -> int:
        return len(self._instances)

    def parameter_groups(self):
        """All but the encoder."""
        learning = []
        for name, parameter in self.module.named_parameters():
            if ".encoder." in name:
                parameter.requires_grad_(False)
            else:
                learning.append((name, parameter))
        return decoder_groups(learning, lr=RATE)

    def batch(self, step: int):
        """Pixels and questions."""
        rng = np.random.default_rng([1, step])
        chosen = rng.integers(len(self._instances), size=BATCH)
        return self.stack([self.questions(self._instances[i], rng) for i in chosen], rng)

    def loss(self, batch, module):
        """Mean over the tokens of the answers."""
        logits, labels = self.logits(batch)
        is_number = labels >= self._first
        losses = answer_loss(
            logits, labels, is_number * float(SPREAD), torch.full_like(labels, 1000),
            first_number=self._first,
        )  # fmt: skip
        return losses.mean(), {"numbers": float(losses[is_number].detach().mean())}

    @torch.no_grad()
    def validate(self):
        """PCK@0.2 of named and of described points, each y behind the true x."""
        figures = {}
        for name, described in (("named", False), ("described", True)):
            near, total = 0, 0
            for start in range(0, len(self._held_out), BATCH):
                part = self._held_out[start : start + BATCH]
                batch = self.stack([self.questions(one, described=described) for one in part])
                logits, labels = self.logits(batch)
                numbers = labels >= self._first
                scores = logits[numbers, self._first : self._first + 1000]
                errors = (scores.argmax(-1) - (labels[numbers] - self._first)).view(-1, 2)
                near += int((errors.float().norm(dim=-1) < 200).sum())
                total += len(errors)
            figures[name] = near / max(total, 1)
        return figures

    def questions(self, one, rng=None, *, described=False):
        """A picture of an object, and pairs of question and answer about its points.

        Without `rng` all points in plain words, with their descriptions or without.
        """
        image, places, is_mirrored = view(one, rng)
        schema = self._schemas[one.category]
        asked = np.flatnonzero(((places >= 0) & (places < 1)).all(1) & one.visible)
        if rng is not None:
            asked = rng.permutation(asked)[:MOST]
        pairs = []
        for index in asked:
            is_told = described if rng is None else rng.random() < DESCRIBED
            form = RoundFormat(question=WAY["question"], roles=ROLES, with_reference=bool(is_told))
            text = form.ask(schema.keypoints[index], schema.word)
            text = mirrored_text(text) if is_mirrored else text
            text = text if rng is None else garbled(text, rng)
            pairs.append((text, encode(places[index], form.spec)))
        return image, pairs

    def stack(self, asked, rng=None):
        """Pixels, and of questions of like length: owner (N), tokens, labels, positions (N, T)."""
        rounds = [
            (owner, tokenize_rounds(self._tokenizer, [pair], self._glue))
            for owner, (_, pairs) in enumerate(asked)
            for pair in pairs
        ]
        rounds.sort(key=lambda one: len(one[1].ids))
        ends = [len(rounds) * part // PARTS for part in range(PARTS + 1)]
        parts = [self._rows(rounds[a:b], rng) for a, b in pairwise(ends) if b > a]
        return torch.stack([to_input(image) for image, _ in asked]), parts

    def _rows(self, part, rng):
        most = max(len(one.ids) for _, one in part)
        ids = torch.full((len(part), most), self._tokenizer.pad_token_id)
        labels = torch.full((len(part), most), -100)
        for row, (_, one) in enumerate(part):
            tokens = torch.tensor(one.ids)
            ids[row, : len(tokens)] = tokens
            said = torch.tensor(one.said)[1:]
            labels[row, : len(tokens) - 1][said] = tokens[1:][said]
        first = torch.full((len(part), 1), 4)  # behind bos, boi, the picture and eoi
        if rng is not None:
            away = rng.integers(AWAY, size=len(part)) * (rng.random(len(part)) < 0.5)
            first += torch.from_numpy(away)[:, None]
        owners = torch.tensor([owner for owner, _ in part])
        return owners, ids, labels, first + torch.arange(most)

    def logits(self, batch):
        """Scores (N, V) and labels (N) of the N tokens that are said."""
        pixels, parts = batch
        model = self.module.model
        with torch.no_grad():
            tokens = model.encode_pictures(pixels.contiguous(memory_format=torch.channels_last))
        first, types, places = image_prefix(self._tokenizer, tokens.shape[1], tokens.device)
        wide = (len(tokens), -1)
        prefix = model(
            input_ids=first.expand(wide),
            token_type_ids=types.expand(wide),
            position_ids=places.expand(wide),
            image_features=tokens,
            use_cache=True,
        ).past_key_values
        said, wanted = [], []
        for owner, ids, labels, places in parts:
            cache = _of_owners(prefix, owner)
            hidden = model(
                input_ids=ids, token_type_ids=torch.zeros_like(ids), position_ids=places,
                past_key_values=cache, use_cache=True,
            ).last_hidden_state  # fmt: skip
            said.append(hidden[labels >= 0])
            wanted.append(labels[labels >= 0])
        head = self.module.lm_head.weight
        return said_logits(torch.cat(said), head, self._is_sayable), torch.cat(wanted)


def _of_owners(prefix, owner):
    """What was read of each question's picture."""
    cache = DynamicCache()
    for number, layer in enumerate(prefix.layers):
        cache.update(layer.keys[owner], layer.values[owner], number)
    return cache


def garbled(text: str, rng) -> str:
    """The text with some of its words replaced by letters that mean nothing."""

    def change(found):
        if rng.random() >= GARBLED:
            return found.group()
        letters = rng.integers(ord("a"), ord("z") + 1, size=rng.integers(3, 8))
        return "".join(map(chr, letters))

    return re.sub(r"[^\W\d_]+", change, text)


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


def write_blank(checkpoint: Path, folder: Path, told: Iterable[str], named: Words) -> None:
    """The encoder under a decoder of random weights."""
    tokenizer = build_tokenizer(told)
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
    finder = PointFinder(len(named))
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


if __name__ == "__main__":
    main()
