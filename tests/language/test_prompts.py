from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsight.errors import InputError
from headsight.language import prompts


def test_evaluation_prompts() -> None:
    assert prompts.head_boxes() == (
        "Where is every human head in the image? Answer in [[x0,y0,x1,y1]] format."
    )
    assert prompts.head_pose("[[312,104,388,205]]") == (
        "What are the yaw, pitch and roll of the head inside the box [[312,104,388,205]]?"
    )
    assert prompts.refer("the red cup") == "Where is the red cup? answer in [[x0,y0,x1,y1]] format."
    assert prompts.hard_hats() == prompts.refer("every head with a hard hat")


@pytest.mark.parametrize("task", prompts.PARAPHRASES)
def test_paraphrases_are_different_and_fill_in(task: str) -> None:
    templates = prompts.PARAPHRASES[task]
    assert len(set(templates)) == 4
    for index in range(4):
        text = {
            "head_boxes": lambda i: prompts.head_boxes(i),
            "head_pose": lambda i: prompts.head_pose("[[1,2,3,4]]", i),
            "refer": lambda i: prompts.refer("a {box} of tea", i),
        }[task](index)
        assert "{expr}" not in text
        assert text != ""


def test_words_in_braces_are_left_alone() -> None:
    assert "{expr} {box}" in prompts.refer("the {expr} {box}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  the man  in the red shirt. ", "the man in the red shirt"),
        ("two  cups?", "two cups"),
        ("die Frau mit Hut", "die Frau mit Hut"),
        ("赤いカップ", "赤いカップ"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),  # a joiner inside a word
        ("word " * 200, ("word " * 200).strip()),
    ],
)
def test_expressions_are_tidied(text: str, expected: str) -> None:
    assert prompts.clean_expression(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no words"),
        (" ?! ", "no words"),
        ("a\nb", "U\\+000A at position 1"),
        ("a\x00", "U\\+0000"),
        ("a\u202eb", "U\\+202E"),
        ("\ud800", "U\\+D800"),
        ("word " * 201, "201 words"),
        ("x" * 2001, "2001 characters"),
    ],
)
def test_expressions_that_cannot_be_asked(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prompts.clean_expression(text)


@given(st.text())
def test_cleaning_answers_or_explains(text: str) -> None:
    try:
        cleaned = prompts.clean_expression(text)
    except InputError:
        return
    assert cleaned == prompts.clean_expression(cleaned)
    assert "\n" not in cleaned
    assert len(cleaned) <= prompts.MAX_CHARACTERS
