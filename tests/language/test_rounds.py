"""Conversations of rounds: what is said is found by characters, whatever the tokenizer does."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest
from tokenizers_of_families import llama2, llama3, qwen2

from headsight.errors import ConfigError, InputError
from headsight.language.rounds import (
    PLAIN,
    Glue,
    RoundFormat,
    Slot,
    answer_template,
    tokenize_rounds,
    write_rounds,
)
from headsight.language.schema import KeypointSchema, KeypointText
from headsight.models.grounding.tokenizer import build_tokenizer

TOKENIZERS = {"ours": build_tokenizer, "llama3": llama3, "qwen2": qwen2, "llama2": llama2}
SCHEMA = KeypointSchema(
    "face",
    (
        KeypointText("left eye", "Above the nose, on the object's left."),
        KeypointText("right eye", "Across the nose from the left eye."),
        KeypointText("nose", "Between and below the eyes."),
        KeypointText("chin", "The lowest point, straight below the nose."),
    ),
    categories=("cat",),
)
ANSWERS = ("[0.253,0.380]", "[0.000,0.253]", "[0.999,0.500]", "[0.303,0.071]")
ROUNDS = list(zip(RoundFormat().questions(SCHEMA), ANSWERS, strict=True))


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param]()


def test_a_conversation_in_bytes() -> None:
    # the paper's form: three roles, no space after the comma, nothing between mark and next User
    assert write_rounds(ROUNDS[:2])[0] == (
        "User: Where is the left eye of the cat? Give its coordinates.\n"
        "Reference: Above the nose, on the object's left.\n"
        "Assistant: [0.253,0.380]</s>"
        "User: Where is the right eye of the cat? Give its coordinates.\n"
        "Reference: Across the nose from the left eye.\n"
        "Assistant: [0.000,0.253]</s>"
    )


def test_the_tokens_of_an_answer_under_llama_3() -> None:
    made = tokenize_rounds(llama3(), ROUNDS[:1])
    said = [made.text[a:b] for (a, b), s in zip(made.offsets, made.said, strict=True) if s]
    assert said == [" [", "0", ".", "253", ",", "0", ".", "380", "]</", "s", ">"]  # the spec's 11


def test_said_tokens_are_the_answers_and_their_ends(tokenizer: Any) -> None:
    glue = Glue(end=tokenizer.eos_token)
    made = tokenize_rounds(tokenizer, ROUNDS, glue)
    runs = [
        tokenizer.decode([i for i, _ in run]).strip()
        for is_said, run in groupby(zip(made.ids, made.said, strict=True), key=lambda p: p[1])
        if is_said
    ]
    assert runs == [answer + tokenizer.eos_token for answer in ANSWERS]
    # the question in front is what is not in the first answer's first token, the blank included
    assert made.prompt.rstrip() == ROUNDS[0][0]
    assert not any(made.said[: made.first])


def test_a_mark_that_grows_together_with_the_next_round_is_said() -> None:
    # under Llama 3's rule `>` and `User` are one token: leaving it out would teach no end
    made = tokenize_rounds(llama3(), ROUNDS, PLAIN)
    said = [made.text[a:b] for (a, b), s in zip(made.offsets, made.said, strict=True) if s]
    assert said.count("s") == 4
    assert said.count(">User") == 3
    assert said[-1] == ">"


def test_text_and_tokens_are_those_of_the_whole(tokenizer: Any) -> None:
    made = tokenize_rounds(tokenizer, ROUNDS, Glue(end=tokenizer.eos_token))
    blanks = str.maketrans("", "", " ")  # some put one behind a special token
    assert tokenizer.decode(made.ids).translate(blanks) == made.text.translate(blanks)


def test_templates_of_answers() -> None:
    number = {
        "ours": [Slot(3, True)],
        "llama3": [Slot(3, True)],
        "qwen2": [Slot(1, True), Slot(1, False), Slot(1, False)],
        "llama2": [Slot(1, True), Slot(1, False), Slot(1, False)],
    }
    for name, build in TOKENIZERS.items():
        tokenizer = build()
        glue = Glue(end=tokenizer.eos_token)
        template = answer_template(tokenizer, ROUNDS[0][0], glue)
        assert template is not None
        slots = [part for part in template if isinstance(part, Slot)]
        assert slots == number[name] * 2
        filled = iter("253380" if len(slots) == 6 else ("253", "380"))
        spelled = [
            tokenizer.encode(next(filled), add_special_tokens=False)[-1]
            if isinstance(part, Slot)
            else part
            for part in template
        ]
        made = tokenize_rounds(tokenizer, ROUNDS[:1], glue)
        assert tuple(spelled) == made.ids[made.first :]


def test_no_template_where_digits_grow_together_with_signs() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pieces = {c: n for n, c in enumerate(["<e>", *map(chr, range(32, 127)), "\n", ".1"])}
    backend = Tokenizer(models.BPE(pieces, merges=[(".", "1")]))
    odd = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<e>")
    assert answer_template(odd, "Where?", Glue(end="<e>")) is None


def test_questions_name_category_and_point() -> None:
    several = KeypointSchema("animal", SCHEMA.keypoints, categories=("cat", "dog"))
    assert "of the object?" in RoundFormat().questions(several)[0]
    assert "of the dog?" in RoundFormat().questions(several, "dog")[0]
    bare = RoundFormat(question="{keypoint}?", with_reference=False)
    assert bare.questions(SCHEMA)[2] == "User: nose?\nAssistant:"
    with pytest.raises(ConfigError, match="keypoint"):
        RoundFormat(question="Where is it?")


def test_bad_conversations() -> None:
    tokenizer = build_tokenizer()
    with pytest.raises(InputError, match="no rounds"):
        tokenize_rounds(tokenizer, [])
    with pytest.raises(InputError, match="<eos>"):
        tokenize_rounds(tokenizer, [("the <eos> of it", "[0.1,0.2]")], Glue(end="<eos>"))

    class Slow:
        is_fast = False

    with pytest.raises(InputError, match="fast"):
        tokenize_rounds(Slow(), ROUNDS)
