"""The tokenizer: lossless, one token a number, the same wherever it is built."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from headsight.errors import InputError
from headsight.language.prompts import PARAPHRASES
from headsight.models.grounding.tokenizer import (
    BOS,
    EOS,
    IMAGE,
    PAD,
    build_tokenizer,
    first_number_id,
    near_numbers,
)

TOKENIZER = build_tokenizer()


def ids_of(text: str) -> list[int]:
    return list(TOKENIZER.encode(text, add_special_tokens=False))


@given(st.text())
def test_lossless(text: str) -> None:
    assert TOKENIZER.decode(ids_of(text)) == text


@pytest.mark.parametrize(
    "text", ["", "<eos>", "a<bos><image>\x00\n", "naïve 日本 😀", " , . !  a ' s", "٣٤٥"]
)
def test_lossless_on_hard_texts(text: str) -> None:
    assert TOKENIZER.decode(ids_of(text)) == text
    assert not set(ids_of(text)) & set(TOKENIZER.all_special_ids)


def test_every_group_of_three_digits_is_one_token_with_consecutive_ids() -> None:
    first = first_number_id(TOKENIZER)
    assert [ids_of(f"{n:03d}") for n in range(1000)] == [[first + n] for n in range(1000)]


def test_numbers_near_each_other() -> None:
    near = near_numbers(TOKENIZER, reach=2)
    first = first_number_id(TOKENIZER)

    def numbers(value: int) -> list[int]:
        return [int(i) - first for i in near[first + value] if i >= 0]

    assert numbers(500) == [498, 499, 500, 501, 502]
    assert numbers(998) == [996, 997, 998, 999]
    assert numbers(1) == [0, 1, 2, 3, 359]  # 359 degrees are near 1 degree
    assert numbers(359) == [0, 1, 357, 358, 359, 360, 361]
    assert near[0].tolist() == [0] + [-1] * 8


def test_digits_group_from_the_left() -> None:
    tokens = TOKENIZER.tokenize("1234567 12 3 x45")
    assert tokens == ["123", "456", "7", "Ġ", "12", "Ġ", "3", "Ġ", "x", "45"]


def test_strict_answers_have_one_token_a_number() -> None:
    boxes = TOKENIZER.tokenize("[[012,034,056,078;123,456,789,999]]")
    assert boxes == [
        "[[", "012", ",", "034", ",", "056", ",", "078", ";",
        "123", ",", "456", ",", "789", ",", "999", "]]",
    ]  # fmt: skip
    assert TOKENIZER.tokenize("{315,010,000}") == ["{", "315", ",", "010", ",", "000", "}"]
    assert len(ids_of("none")) == 1


def test_words_of_the_prompts_are_single_tokens() -> None:
    for templates in PARAPHRASES.values():
        for text in templates:
            words = text.split("{", maxsplit=1)[0].split("[[")[0].rstrip("?. ").split()
            for place, word in enumerate(words):
                word = word.strip("?.,").split("'")[0]
                assert len(ids_of(word if place == 0 else f" {word}")) == 1, word
    for word in ("red", "shirt", "leftmost", "woman", "hat", "third", "glasses", "behind"):
        assert len(ids_of(f" {word}")) == 1


def test_size_and_special_tokens() -> None:
    assert len(TOKENIZER) <= 2304
    assert TOKENIZER.convert_tokens_to_ids([PAD, BOS, EOS, IMAGE]) == [0, 1, 2, 3]
    assert (TOKENIZER.pad_token_id, TOKENIZER.bos_token_id, TOKENIZER.eos_token_id) == (0, 1, 2)


def test_same_wherever_it_is_built_and_after_saving(tmp_path: Path) -> None:
    again = build_tokenizer()
    assert again.get_vocab() == TOKENIZER.get_vocab()
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(loaded, PreTrainedTokenizerFast)
    text = "Where is <eos> every head? [[012,999"
    assert loaded.encode(text, add_special_tokens=False) == ids_of(text)
    assert loaded.decode(ids_of(text)) == text


def test_words_of_a_field_are_single_tokens_after_all_others() -> None:
    usual = build_tokenizer()
    own = build_tokenizer(["antenna", "Fühler", "eye"])
    assert own.get_vocab().items() >= usual.get_vocab().items()
    assert len(own) == len(usual) + 2  # "eye" was there
    assert len(own.encode("the antenna Fühler eye", add_special_tokens=False)) == 4
    assert own.decode(own.encode(" antenna Fühler")) == " antenna Fühler"


@pytest.mark.parametrize("word", ["", "t-shirt", "two words", "x1"])
def test_a_word_that_is_cut_further_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="letters only"):
        build_tokenizer([word])
