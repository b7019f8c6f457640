"""Rows for training: answers at the end, batches as good as single rows, features as pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headsight.errors import AnnotationError, ConfigError
from headsight.models.base import Reply
from headsight.models.grounding.adapter import GroundingAdapter, load_folder
from headsight.picture import open_picture
from headsight.teach.features import FeatureStore
from headsight.teach.loss import AnswerModel, answer_logits, soft_number_loss
from headsight.teach.probing import Probe, score_replies
from headsight.teach.samples import read_source
from headsight.teach.tokens import Encoded, alike_long, collate, encode_sample


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def vlm(school) -> GroundingAdapter:  # type: ignore[no-untyped-def]
    return load_folder(school.model, device="cpu")


def _samples(school, count=6):  # type: ignore[no-untyped-def]
    source = read_source(school.labels)
    return [source.draw(index, np.random.default_rng(index)) for index in range(count)]


def test_the_answer_and_its_end_are_said(school, vlm) -> None:  # type: ignore[no-untyped-def]
    sample = _samples(school)[1]
    row = encode_sample(vlm, sample)
    tokenizer = vlm.processor.tokenizer
    assert sample.kind == "pose"
    assert row.period == 360
    assert int(row.answer[-1]) == tokenizer.eos_token_id
    assert tokenizer.decode(row.answer[:-1]) == sample.answer
    whole = vlm.processor(
        images=open_picture(sample.picture),
        text=sample.question,
        answers=sample.answer,
    )
    assert torch.equal(row.inputs["input_ids"], whole["input_ids"])


def test_kept_features_are_as_good_as_pixels(school, vlm, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    store = FeatureStore(vlm, tmp_path)
    again = FeatureStore(vlm, tmp_path)
    for sample in _samples(school):
        plain, kept = encode_sample(vlm, sample), encode_sample(vlm, sample, store)
        assert "pixel_values" not in kept.inputs
        for name in ("input_ids", "token_type_ids", "attention_mask"):
            assert torch.equal(plain.inputs[name], kept.inputs[name])
        model = AnswerModel(vlm.model)
        [a], [b] = collate([plain], pad_id=0), collate([kept], pad_id=0)
        assert float(model(a)) == pytest.approx(float(model(b)), rel=1e-5)
        assert torch.equal(again(sample.picture), store(sample.picture))
    assert len(list(tmp_path.glob("*.npy"))) == len({s.picture for s in _samples(school)})


def test_a_batch_is_as_good_as_single_rows(school, vlm) -> None:  # type: ignore[no-untyped-def]
    rows = [encode_sample(vlm, sample) for sample in _samples(school)]
    model = AnswerModel(vlm.model)
    [batch] = collate(rows, pad_id=0)
    single = [collate([row], pad_id=0)[0] for row in rows]
    total = torch.tensor(float(sum(len(row.answer) for row in rows)))
    assert float(model(batch)) == pytest.approx(
        sum(float(model(s, total)) for s in single), rel=1e-4
    )


@given(st.lists(st.integers(1, 700), min_size=1, max_size=9), st.integers(1, 9))
def test_rows_alike_long_are_read_together(lengths: list[int], most: int) -> None:
    rows = [
        Encoded(
            {"input_ids": torch.zeros(1, length, dtype=torch.long)},
            torch.zeros(0, dtype=torch.long),
            1.0,
            0,
        )
        for length in lengths
    ]
    groups = alike_long(rows, most=most)
    cut = [[int(row.inputs["input_ids"].shape[1]) for row in group] for group in groups]
    assert [length for group in cut for length in group] == sorted(lengths)
    assert {id(row) for group in groups for row in group} == {id(row) for row in rows}

    def cost(cut: list[list[int]]) -> int:
        return sum(len(group) * max(group) + 256 for group in cut)

    ordered, gaps = sorted(lengths), range(1, len(lengths))
    every = [
        [ordered[a:b] for a, b in pairwise([0, *places, len(ordered)])]
        for number in range(len(lengths))
        for places in combinations(gaps, number)
    ]
    allowed = [cut for cut in every if max(map(len, cut)) <= most]
    assert max(map(len, cut)) <= most
    assert cost(cut) == min(map(cost, allowed))


def test_scores_of_the_answer_are_those_of_the_whole_row(school, vlm) -> None:  # type: ignore[no-untyped-def]
    [batch] = collate([encode_sample(vlm, sample) for sample in _samples(school)], pad_id=0)
    few = answer_logits(vlm.model, batch)
    every = vlm.model(**batch.inputs).logits[:, -batch.labels.shape[1] - 1 : -1]
    torch.testing.assert_close(few, every, rtol=1e-5, atol=1e-5)


def test_soft_numbers_forgive_neighbours(vlm) -> None:  # type: ignore[no-untyped-def]
    tokenizer = vlm.processor.tokenizer
    loss = soft_number_loss(tokenizer, 2.0)
    ids = tokenizer.convert_tokens_to_ids(["359", "000", "001", "180"])
    logits = torch.full((4, len(tokenizer)), -10.0)
    logits[torch.arange(4), torch.tensor(ids)] = 10.0
    label = torch.full((4,), ids[1])
    angle = loss(logits, label, torch.full((4,), 360))
    edge = loss(logits, label, torch.zeros(4, dtype=torch.long))
    assert angle[0] == pytest.approx(float(angle[2]), rel=1e-4)  # 359 is as near to 0 as 1 is
    assert angle[3] > angle[2] + 1
    assert edge[0] > edge[2] + 1  # 359 thousandths are far from 0


def test_soft_numbers_need_numbers_as_tokens() -> None:
    class Foreign:
        def convert_tokens_to_ids(self, tokens: list[str]) -> list[None]:
            return [None for _ in tokens]

    with pytest.raises(ConfigError, match="number_spread"):
        soft_number_loss(Foreign(), 2.0)


def test_questions_of_labels(school) -> None:  # type: ignore[no-untyped-def]
    source = read_source(school.labels, tasks=("boxes", "pose"))
    assert len(source) == 6 + 10
    kinds = [source.draw(i, None).kind for i in range(len(source))]
    assert kinds.count("boxes") == 6
    pose = source.draw(kinds.index("pose"), None)
    assert "[[" in pose.question
    assert source.draw(0, None) == source.draw(0, None)
    wordings = {source.draw(0, np.random.default_rng(s)).question for s in range(30)}
    assert len(wordings) == 4
    asked = {source.draw(1, np.random.default_rng(s)).question for s in range(30)}
    assert len(asked) > 20  # the box is shifted in training
    refer = read_source(school.labels, tasks=("refer",))
    assert len(refer) == 6
    assert "answer in [[" in refer.draw(2, None).question


def test_answers_are_sorted_by_their_left_edge(school) -> None:  # type: ignore[no-untyped-def]
    source = read_source(school.labels, tasks=("boxes",))
    answer = source.draw(2, None).answer
    left = [int(part[:3]) for part in answer.strip("[]").split(";")]
    assert left == sorted(left)
    assert len(left) == 3
    empty = read_source(school.old, tasks=("boxes",)).draw(3, None)
    assert empty.answer == "none"


def test_instructions(school, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    picture = school.labels.parent / "0.png"
    path = tmp_path / "chat.jsonl"
    path.write_text(f'{{"image": "{picture}", "question": "What is it?", "answer": "a disc"}}\n')
    [sample] = [read_source(path).draw(0, None)]
    assert (sample.question, sample.answer, sample.kind) == ("What is it?", "a disc", "text")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"image": "no.png", "question": "q", "answer": "a"}', "does not exist"),
        ('{"image": "0.png", "question": "q"}', "no 'answer'"),
        ('{"image": "0.png", "question": " ", "answer": "a"}', "question is empty"),
        ('{"image": "0.png", "question": "q", "answer": ""}', "answer is empty"),
        ('{"image": "0.png", "question": "q", "answer": "a", "kind": "song"}', "'song'"),
        ('{"image": "0.png", "question": "q", "answer": "a", "kind": "pose"}', "none of the kind"),
        ('{"image": "0.png", "question": "q", "answer": "a", "weight": 0}', "must be positive"),
    ],
)
def test_bad_instructions_name_file_line_and_fault(school, line: str, said: str) -> None:  # type: ignore[no-untyped-def]
    path = school.labels.parent / "bad.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(AnnotationError, match="line 1") as caught:
        read_source(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("boxes", "[[012,034,056,078]]"),
        ("boxes", "none"),
        ("pose", "{315,007,000}"),
        ("point", "[0.500,0.250]"),
        ("points", "[[012,034;056,078]]"),
        ("count", "3"),
        ("text", "a disc"),
    ],
)
def test_instructions_of_every_kind_score_their_own_answer(  # type: ignore[no-untyped-def]
    school, tmp_path: Path, kind: str, answer: str
) -> None:
    picture = str(school.labels.parent / "0.png")
    line = json.dumps({"image": picture, "question": "q", "answer": answer, "kind": kind})
    path = tmp_path / "chat.jsonl"
    path.write_text(f"\n{line}\n\n")
    source = read_source(path)
    assert len(source) == 1
    sample = source.draw(0, None)
    result = score_replies(Probe("own", (sample,)), [Reply("q", answer, (), ())])
    assert result.scores == (1.0,)
    wrong = score_replies(Probe("own", (sample,)), [Reply("q", "I cannot tell", (), ())])
    assert wrong.scores == (0.0,)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(AnnotationError, match="UTF-8"):
        read_source(path)


def test_missing_data_and_unknown_tasks(school, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AnnotationError, match="does not exist"):
        read_source(tmp_path / "no.jsonl")
    with pytest.raises(ConfigError, match="boxes, pose, refer"):
        read_source(school.labels, tasks=("poses",))
