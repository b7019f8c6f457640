"""Every family can be taught: rows of samples, batches as good as single rows, a step that learns."""

from __future__ import annotations

import copy
import io
from typing import TYPE_CHECKING

import pytest
import torch

from headsight.errors import InputError
from headsight.models.conversation import glue_of
from headsight.models.transformers_vlm import TransformersVLM
from headsight.picture import Picture
from headsight.teach.answering import answer_samples
from headsight.teach.lora import LoraSpec, attach
from headsight.teach.loss import AnswerModel, checkpoint_activations_
from headsight.teach.sample import Sample
from headsight.teach.tokens import collate, encode_sample

if TYPE_CHECKING:
    from tiny_vlms.tiny import Tiny


@pytest.fixture
def samples(picture: Picture) -> list[Sample]:
    buffer = io.BytesIO()
    picture.image.save(buffer, "PNG")
    encoded = buffer.getvalue()
    return [
        Sample(encoded, "Where is it?", "[[012,034,056,078]]", "boxes"),
        Sample(encoded, "What are yaw, pitch and roll of it?", "{315,007,000}", "pose", 0.5),
    ]


def test_it_can_be_taught(tiny: Tiny, case: str, samples: list[Sample]) -> None:
    vlm = TransformersVLM(copy.deepcopy(tiny.model), tiny.processor, name=case)
    if vlm.model.config.is_encoder_decoder:
        with pytest.raises(InputError, match="encoder-decoder"):
            encode_sample(vlm, samples[0])
        return
    rows = [encode_sample(vlm, sample) for sample in samples]
    for row, sample in zip(rows, samples, strict=True):
        said = vlm.processor.tokenizer.decode(row.answer, skip_special_tokens=True)
        assert said.replace(" ", "") == sample.answer.replace(" ", "")
    vlm.model.requires_grad_(False)
    learner = attach(vlm.model, LoraSpec(r=2, targets="attention"))
    model = AnswerModel(learner)
    model.eval()
    pad = int(vlm.processor.tokenizer.pad_token_id or 0)
    total = torch.tensor(len(rows[0].answer) + 0.5 * len(rows[1].answer))
    with torch.no_grad():
        together = sum(float(model(batch, total)) for batch in collate(rows, pad_id=pad))
        alone = sum(float(model(collate([row], pad_id=pad)[0], total)) for row in rows)
    assert together == pytest.approx(alone, rel=2e-3)
    losses = []
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    for _ in range(6):
        loss = sum(model(batch, total) for batch in collate(rows, pad_id=pad))
        assert isinstance(loss, torch.Tensor)
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    replies = answer_samples(vlm, samples, max_new_tokens=3)
    assert [reply.prompt for reply in replies] == [s.question for s in samples]


def test_it_can_be_taught_in_rounds(tiny: Tiny, case: str, samples: list[Sample]) -> None:
    vlm = TransformersVLM(tiny.model, tiny.processor, name=case)
    if tiny.model.config.is_encoder_decoder:
        return
    later = (("Where is the ear?", "[0.001,0.999]"), ("Where is the nose?", "[0.500,0.250]"))
    first = Sample(samples[0].picture, "Where is the eye?", "[0.123,0.456]", "point", later=later)
    row = encode_sample(vlm, first)
    tokenizer, glue = vlm.processor.tokenizer, glue_of(vlm)
    said = tokenizer.decode(row.answer[row.answer >= 0]).replace(" ", "")
    assert said == "".join(a + glue.end for a in ("[0.123,0.456]", *(a for _, a in later)))
    plain = encode_sample(vlm, Sample(first.picture, first.question, first.answer, "point"))
    asked = plain.inputs["input_ids"].shape[1] - len(plain.answer)
    begun = row.inputs["input_ids"].shape[1] - len(row.answer)
    assert abs(asked - begun) <= 1  # a blank before the answer may belong to the question
    with torch.no_grad():
        [batch] = collate([row], pad_id=0)
        loss = AnswerModel(tiny.model)(batch)
    assert torch.isfinite(loss)


def test_checkpointed_layers_have_the_same_gradients(
    tiny: Tiny, case: str, samples: list[Sample]
) -> None:
    if tiny.model.config.is_encoder_decoder:
        return

    def gradients(*, is_checkpointed: bool) -> dict[str, torch.Tensor]:
        vlm = TransformersVLM(copy.deepcopy(tiny.model), tiny.processor, name=case)
        [batch] = collate([encode_sample(vlm, samples[0])], pad_id=0)
        vlm.model.train().requires_grad_(False)
        learner = attach(vlm.model, LoraSpec(r=2, targets="attention"))
        if is_checkpointed:
            checkpoint_activations_(vlm.model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # of dropout, where the model has any
            AnswerModel(learner)(batch).backward()
        named = learner.named_parameters()
        return {name: p.grad for name, p in named if p.grad is not None}

    plain, checkpointed = (gradients(is_checkpointed=flag) for flag in (False, True))
    assert plain
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-4, atol=1e-6)
