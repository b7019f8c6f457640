"""Rounds in one cache: the same answers as from whole prompts, one at a time, uncached."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headsight.errors import ConfigError
from headsight.language.rounds import RoundFormat, tokenize_rounds
from headsight.language.schema import KeypointSchema, KeypointText
from headsight.models.conversation import glue_of
from headsight.models.dialogue import converse
from headsight.models.families.family import longer
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.tokenizer import IMAGE, build_tokenizer
from headsight.models.replies import answer_ends
from headsight.models.transformers_vlm import TransformersVLM
from headsight.picture import Picture

sys.path.insert(0, str(Path(__file__).parent / "families"))
from tiny_vlms import BUILDERS

FORM = RoundFormat()
SCHEMA = KeypointSchema(
    "face",
    tuple(
        KeypointText(name, f"Somewhere {where} of the nose.")
        for name, where in (("eye", "left"), ("ear", "right"), ("chin", "below"), ("brow", "above"))
    ),
)
QUESTIONS = FORM.questions(SCHEMA, "cat")


def own() -> GroundingAdapter:
    tokenizer = build_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = GroundingVLMConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            adapter="linear",
            vision_config={
                "encoder": "headgrid", "image_size": 64, "neck_channels": 16, "hidden_size": 32,
                "keep_tokens": 4,
            },
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
            initializer_range=0.3,
        )  # fmt: skip
        model = GroundingVLM(config)
    return GroundingAdapter(model, GroundingProcessor.for_model(config, tokenizer), name="tiny")


def family(name: str) -> TransformersVLM:
    tiny = BUILDERS[name]()
    with torch.no_grad():  # no answer may hold pictures
        tiny.model.get_output_embeddings().weight[tiny.model.config.image_token_id] = 0
    return TransformersVLM(tiny.model, tiny.processor, name=name)


NAMES = ("llava", "qwen2_vl", "qwen3_vl", "smolvlm")
MAKERS = {"ours": own, **{name: partial(family, name) for name in NAMES}}


@pytest.fixture(scope="module", params=MAKERS)
def vlm(request: pytest.FixtureRequest) -> Any:
    return MAKERS[request.param]()


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    return [Picture(Image.fromarray(pixels)) for pixels in noise]


@torch.no_grad()
def by_whole_prompts(vlm: Any, picture: Picture, *, window: int, most: int) -> list[list[int]]:
    """What the model writes round by round when every prompt is read anew, without any cache."""
    tokenizer, glue = vlm.processor.tokenizer, glue_of(vlm)
    ends = answer_ends(vlm.model.generation_config, tokenizer)
    end = tokenizer.convert_tokens_to_ids(glue.end)
    answers: list[list[int]] = []
    for number in range(len(QUESTIONS)):
        start = max(0, number - window)
        asked = [(q, "[0.000,0.000]") for q in QUESTIONS[start : number + 1]]
        made = tokenize_rounds(tokenizer, asked, glue)
        inputs = vlm.prepare(picture, made.prompt)
        for before in range(start, number):  # the model's own words in the place of the dummies
            rest = tokenize_rounds(tokenizer, asked[before - start : before - start + 2], glue)
            first = rest.said.index(False, rest.first)
            question = rest.ids[first : rest.said.index(True, first)]
            inputs = longer(inputs, [*answers[before], *question])
        written: list[int] = []
        while len(written) < most and not (written and written[-1] in ends):
            logits = vlm.model(**longer(inputs, written), use_cache=False).logits
            written.append(int(logits[0, -1].argmax()))
        answers.append(written if written[-1] in ends else [*written, end])
    return answers


def ids_of(vlm: Any, said: list[Any]) -> list[str]:
    return [one.reply.text for one in said]


@pytest.mark.parametrize("window", [0, 1, 2, 16])
def test_cached_rounds_are_those_of_whole_prompts(
    vlm: Any, pictures: list[Picture], window: int
) -> None:
    [said] = converse(vlm, pictures[:1], QUESTIONS, form=FORM, window=window, max_new_tokens=6)
    expected = by_whole_prompts(vlm, pictures[0], window=window, most=6)
    ends = set(answer_ends(vlm.model.generation_config, vlm.processor.tokenizer))
    for one, ids in zip(said, expected, strict=True):
        kept = [i for i in ids if i not in ends]
        assert one.reply.text == vlm.processor.tokenizer.decode(
            kept, clean_up_tokenization_spaces=False
        )


def test_batched_is_one_by_one(vlm: Any, pictures: list[Picture]) -> None:
    together = converse(vlm, pictures, QUESTIONS, form=FORM, window=2)
    for picture, said in zip(pictures, together, strict=True):
        [alone] = converse(vlm, [picture], QUESTIONS, form=FORM, window=2)
        assert ids_of(vlm, said) == ids_of(vlm, alone)
        for a, b in zip(said, alone, strict=True):
            np.testing.assert_allclose(a.reply.logprobs, b.reply.logprobs, atol=1e-4)


def test_without_a_window_every_question_stands_alone(vlm: Any, pictures: list[Picture]) -> None:
    [said] = converse(vlm, pictures[:1], QUESTIONS, form=FORM, window=0, max_new_tokens=6)
    glue = glue_of(vlm)
    prompts = [
        tokenize_rounds(vlm.processor.tokenizer, [(q, "[0.000,0.000]")], glue).prompt
        for q in QUESTIONS
    ]
    replies = vlm.answer(pictures[0], prompts, max_new_tokens=6)
    assert ids_of(vlm, said) == [reply.text for reply in replies]
    for a, b in zip(said, replies, strict=True):
        np.testing.assert_allclose(a.reply.logprobs, b.logprobs, atol=1e-4)


@pytest.mark.parametrize("wish", ["constrain", "with_density"])
def test_digits_that_grow_together_with_signs_are_told(
    monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    monkeypatch.setattr("headsight.models.dialogue.answer_template", lambda *_, **__: None)
    picture = Picture(Image.new("RGB", (64, 64)))
    with pytest.raises(ConfigError, match="mixes digits with other characters"):
        converse(own(), [picture], QUESTIONS, form=FORM, window=0, **{wish: True})
