"""Rows of several rounds: all answers are said, and nothing else is scored."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from headsight.errors import InputError
from headsight.models.grounding.adapter import load_folder
from headsight.teach.lora import LoraSpec, attach
from headsight.teach.loss import AnswerModel, answer_logits
from headsight.teach.sample import Sample
from headsight.teach.tokens import collate, encode_sample

LATER = (
    ("User: right eye?\nReference: beside the left eye, across the nose.\nAssistant:", "[0.5,0.6]"),
    ("User: nose?\nAssistant:", "[0.123,0.456]"),
)


@pytest.fixture(scope="module")
def vlm(school: Any) -> Any:
    return load_folder(school.model, device="cpu")


def _samples(school: Any) -> list[Sample]:
    picture = school.labels.parent / "0.png"
    question = "User: left eye?\nAssistant:"
    return [
        Sample(picture, question, "[0.253,0.380]", "point", later=LATER),
        Sample(picture, question, "[0.999,0.000]", "point", 0.5, later=LATER[1:]),
        Sample(picture, question, "[0.001,0.002]", "point", later=()),
    ]


def test_said_are_all_answers_with_their_ends(school: Any, vlm: Any) -> None:
    row = encode_sample(vlm, _samples(school)[0])
    tokenizer = vlm.processor.tokenizer
    said = tokenizer.decode(row.answer[row.answer >= 0])
    assert said == "[0.253,0.380]<eos>[0.5,0.6]<eos>[0.123,0.456]<eos>"
    text = tokenizer.decode(row.inputs["input_ids"][0, -len(row.answer) :])
    assert text.startswith("[0.253,0.380]<eos>User: right eye?\nReference: beside")
    assert text.endswith("Assistant:\n[0.123,0.456]<eos>")


def test_one_round_is_the_plain_question_of_our_own_model(school: Any, vlm: Any) -> None:
    alone = _samples(school)[2]
    plain = Sample(alone.picture, alone.question, alone.answer, "point")
    one, other = encode_sample(vlm, alone), encode_sample(vlm, plain)
    assert torch.equal(one.inputs["input_ids"], other.inputs["input_ids"])
    assert torch.equal(one.answer, other.answer)


def test_only_said_places_reach_the_language_head(school: Any, vlm: Any) -> None:
    rows = [encode_sample(vlm, sample) for sample in _samples(school)]
    [batch] = collate(rows, pad_id=0)
    said = batch.labels >= 0
    with torch.no_grad():
        every = answer_logits(vlm.model, batch, can_choose=False)[said]
        log_p = every.log_softmax(-1).gather(1, batch.labels[said][:, None])[:, 0]
        weights = batch.weights[:, None].expand_as(said)[said]
        expected = -(log_p * weights).sum() / weights.sum()
        seen: list[int] = []
        hook = vlm.model.lm_head.register_forward_hook(lambda m, x, y: seen.append(x[0].shape[1]))
        found = AnswerModel(vlm.model)(batch)
        hook.remove()
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert seen == [int(said.sum())]


def test_gradients_are_those_of_a_plain_masked_loss(school: Any, vlm: Any) -> None:
    [batch] = collate([encode_sample(vlm, s) for s in _samples(school)[:1]], pad_id=0)

    def gradients(loss_of: Any) -> list[torch.Tensor]:
        model = copy.deepcopy(vlm.model).requires_grad_(False)
        learner = attach(model, LoraSpec(r=2, targets="all-linear"))
        loss_of(learner).backward()
        return [p.grad for p in learner.parameters() if p.grad is not None]

    def plain(learner: nn.Module) -> torch.Tensor:
        ids = batch.inputs["input_ids"]
        labels = torch.full_like(ids, -100)
        labels[:, -batch.labels.shape[1] :] = batch.labels
        return learner(**batch.inputs, labels=labels).loss

    ours, theirs = gradients(lambda learner: AnswerModel(learner)(batch)), gradients(plain)
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_conversation_that_is_too_long_is_an_error(school: Any, vlm: Any) -> None:
    sample = _samples(school)[0]
    long = Sample(sample.picture, sample.question, sample.answer, "point", later=LATER * 20)
    with pytest.raises(InputError, match="at most 512"):
        encode_sample(vlm, long)
