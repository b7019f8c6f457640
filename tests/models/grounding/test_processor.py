"""Letterbox and processor: exact inverse, templates, labels, padding, saving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoProcessor

from headsight.errors import InputError
from headsight.models.grounding import GroundingProcessor, GroundingVLMConfig
from headsight.models.grounding.letterbox import Letterbox
from headsight.models.grounding.tokenizer import build_tokenizer
from headsight.picture import Picture

TOKENIZER = build_tokenizer()
PROCESSOR = GroundingProcessor(TOKENIZER, image_size=64, slots_per_image=6)
RED = Image.new("RGB", (40, 20), (255, 0, 0))
BLUE = Image.new("RGB", (20, 40), (0, 0, 255))


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([64, 384]), st.booleans())
def test_letterbox_has_an_exact_inverse(width: int, height: int, side: int, keep: bool) -> None:
    box = Letterbox((width, height), side, keep_aspect=keep)
    whole = np.array([[0, 0, width, height], [width / 3, height / 7, width / 2, height]])
    square = box.to_square(whole)
    content = box.content_wh
    np.testing.assert_allclose(square[0], [0, 0, *content], rtol=1e-12)
    np.testing.assert_allclose(box.to_picture(square), whole, rtol=1e-12)
    assert 1 <= min(content) <= max(content) == side


def test_letterbox_known_answer() -> None:
    box = Letterbox((640, 480), 384)
    assert box.content_wh == (384, 288)
    assert box.content_wh_rel == (1.0, 0.75)
    np.testing.assert_array_equal(
        box.to_square(np.array([[320.0, 240, 640, 480]])), [[192, 144, 384, 288]]
    )
    assert box.to_square(np.zeros((0, 4))).shape == (0, 4)
    with pytest.raises(InputError, match="0x5"):
        Letterbox((0, 5), 64)


def test_pixels_lie_top_left_and_are_normalised() -> None:
    pixels, share = PROCESSOR.pixels([RED, Picture(BLUE)])
    assert pixels.shape == (2, 3, 64, 64)
    assert share.tolist() == [[1.0, 0.5], [0.5, 1.0]]
    red = torch.tensor([(255 - 127) / 128, -127 / 128, -127 / 128])
    torch.testing.assert_close(pixels[0, :, 31, 63], red, rtol=0, atol=1e-6)
    grey = torch.full((3,), (114 - 127) / 128)
    torch.testing.assert_close(pixels[0, :, 32, 0], grey, rtol=0, atol=1e-6)
    torch.testing.assert_close(pixels[1, :, 63, 32], grey, rtol=0, atol=1e-6)


def test_squash_fills_the_square() -> None:
    squash = GroundingProcessor(TOKENIZER, image_size=32, keep_aspect=False, resample="bicubic")
    pixels, share = squash.pixels([np.asarray(RED)])
    assert share.tolist() == [[1.0, 1.0]]
    assert (pixels[0, 0] == pixels[0, 0, 0, 0]).all()


def test_a_row_for_training() -> None:
    inputs = PROCESSOR(RED, "Where is it?", "[[001,002,003,004]]")
    ids = inputs["input_ids"][0].tolist()
    question = TOKENIZER.encode("Where is it?\n", add_special_tokens=False)
    answer = TOKENIZER.encode("[[001,002,003,004]]", add_special_tokens=False)
    assert ids == [1, *[0] * 6, *question, *answer, 2]
    assert inputs["token_type_ids"][0].tolist() == [0, *[1] * 6, *[0] * (len(ids) - 7)]
    labels = inputs["labels"][0].tolist()
    assert labels == [*[-100] * (7 + len(question)), *answer, 2]
    assert inputs["attention_mask"].all()
    assert inputs["pixel_values"].shape == (1, 3, 64, 64)


def test_batches_pad_right_for_training_and_left_for_generation() -> None:
    training = PROCESSOR([RED, [RED, BLUE]], ["Where?", "Which?"], ["none", "none"])
    assert training["pixel_values"].shape[0] == 3
    assert training["attention_mask"][0].tolist() == [1] * 12 + [0] * 6
    assert training["labels"][0, 12:].tolist() == [-100] * 6
    generation = PROCESSOR([RED, None], ["Where?", "Which of these is it?"])
    assert generation["attention_mask"][1].tolist() == [0] * 2 + [1] * 8
    assert generation["content_wh_rel"].tolist() == [[1.0, 0.5]]
    assert "labels" not in generation
    assert PROCESSOR(RED, ["a"], padding_side="right")["attention_mask"].all()


def test_pictures_between_the_words() -> None:
    inputs = PROCESSOR(text=[["Left:", RED, "right:", BLUE, "Which is red?"]])
    runs = "".join(map(str, inputs["token_type_ids"][0].tolist()))
    assert runs.count("111111") == 2
    assert "0" in runs[: runs.index("1")]
    assert inputs["pixel_values"][1, 2, 0, 0] > inputs["pixel_values"][0, 2, 0, 0]


def test_templates() -> None:
    history = [("Who?", "A {man}.")]
    chat = GroundingProcessor(TOKENIZER, template="chat", separator="")
    text = TOKENIZER.decode(chat.question_ids("Where {is} he?", history=history))
    assert text == "Question: Who? Answer: A {man}.\nQuestion: Where {is} he? Answer:"
    vqa = GroundingProcessor(TOKENIZER, template="vqa", separator="")
    assert TOKENIZER.decode(vqa.question_ids("Why?")) == "Question: Why? Short answer:"
    assert TOKENIZER.decode(PROCESSOR.question_ids("Why?", history=history)) == "Why?\n"


def test_decoding_stops_at_the_end() -> None:
    ids = [*TOKENIZER.encode("none", add_special_tokens=False), 2, 7, 7]
    assert PROCESSOR.decode_answer(ids) == "none"


def test_saved_and_loaded(tmp_path: Path) -> None:
    config = GroundingVLMConfig(
        vision_config={
            "encoder": "eva", "image_size": 28, "patch_size": 14, "hidden_size": 16, "num_heads": 2,
            "num_hidden_layers": 1,
        }
    )  # fmt: skip
    processor = GroundingProcessor.for_model(config, TOKENIZER)
    assert (processor.slots_per_image, processor.image_size) == (6, 28)
    assert (processor.keep_aspect, processor.resample, processor.separator) == (
        False,
        "bicubic",
        "",
    )
    assert processor.image_mean[0] == 0.48145466
    config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, GroundingProcessor)
    assert loaded.to_dict() == processor.to_dict()
    given, wanted = loaded(RED, "Where?"), processor(RED, "Where?")
    assert all(torch.equal(given[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((RED, None), "text is missing"),
        ((RED, "  "), "prompt is empty"),
        (([RED], ["a", "b"]), "1 pictures were given for 2 prompts"),
        ((RED, "a", ["x", "y"]), "2 answers were given for 1 prompts"),
        (("photo.jpg", "a"), "A str was given as a picture"),
        ((np.zeros((4, 4, 4), np.uint8), "a"), r"shape \(4, 4, 4\)"),
        ((RED, [["a", BLUE]]), "pictures inside was given, and images too"),
        ((None, [[RED]]), "has no text"),
    ],
)
def test_bad_input_is_named(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PROCESSOR(*arguments)


def test_unknown_template() -> None:
    with pytest.raises(InputError, match="template is 'poem'"):
        GroundingProcessor(TOKENIZER, template="poem")
