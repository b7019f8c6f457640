"""Hints: labels at the last number of the question, and nowhere else before the answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from headsight.errors import ConfigError
from headsight.models.base import load_vlm
from headsight.models.grounding.tokenizer import build_tokenizer
from headsight.teach.hints import Hint, first_number_of
from headsight.teach.sample import Sample
from headsight.teach.tokens import collate, encode_sample

QUESTION = "How is the head inside [[100,200,300,400]] turned?"


@pytest.fixture(scope="module")
def vlm(school: Any) -> Any:
    return load_vlm(str(school.model))


def _row(vlm: Any, school: Any, question: str, answer: str, kind: str) -> Any:
    picture = Path(school.labels).parent / "0.png"
    return encode_sample(vlm, Sample(picture, question, answer, kind))


def test_the_last_number_says_the_first_of_the_answer(vlm: Any, school: Any) -> None:
    tokenizer = vlm.processor.tokenizer
    row = _row(vlm, school, QUESTION, "{350,000,010}", "pose")
    hinted = Hint(tokenizer)(row)
    ids = row.inputs["input_ids"][0]
    [place] = (ids[: -len(row.answer)] == tokenizer.convert_tokens_to_ids("400")).nonzero()
    start = len(ids) - len(hinted.answer)
    assert start == int(place) + 1  # the label of what follows the number 400
    assert hinted.answer[0] == tokenizer.convert_tokens_to_ids("350")
    assert torch.equal(hinted.answer[-len(row.answer) :], row.answer)
    between = hinted.answer[1 : -len(row.answer)]
    assert len(between) > 0
    assert (between == -100).all()
    [batch] = collate([hinted, row], pad_id=0)
    assert (batch.labels >= 0).sum() == 2 * len(row.answer) + 1


@pytest.mark.parametrize(
    ("question", "answer", "kind"),
    [
        ("Where is every head?", "[[100,200,300,400]]", "boxes"),
        (QUESTION, "red", "text"),
    ],
)
def test_without_numbers_on_both_sides_nothing_changes(
    vlm: Any, school: Any, question: str, answer: str, kind: str
) -> None:
    row = _row(vlm, school, question, answer, kind)
    assert Hint(vlm.processor.tokenizer)(row) is row


def test_a_number_right_before_the_answer_leaves_it_as_it_is(vlm: Any, school: Any) -> None:
    row = _row(vlm, school, QUESTION, "{350,000,010}", "pose")
    ids = row.inputs["input_ids"][0]
    last = int(
        (ids[: -len(row.answer)] == vlm.processor.tokenizer.convert_tokens_to_ids("400")).nonzero()
    )
    bare = replace(row, answer=ids[last + 1 :])
    assert Hint(vlm.processor.tokenizer)(bare) is bare


def test_a_tokenizer_that_spells_numbers_is_refused() -> None:
    class Spelling:
        def convert_tokens_to_ids(self, words: list[str]) -> list[int | None]:
            return [None for _ in words]

    assert first_number_of(build_tokenizer(), "number_hints") > 0
    with pytest.raises(ConfigError, match="number_hints is set, but this tokenizer"):
        Hint(Spelling())
