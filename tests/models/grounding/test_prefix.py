"""The shared image prefix writes what `generate` writes, for any batch of questions and pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headsight.errors import InputError
from headsight.models.grounding import GroundingVLM
from headsight.models.grounding.prefix import answer_many, encode_image

Build = Callable[..., GroundingVLM]
Row = Callable[..., dict[str, torch.Tensor]]
QUESTIONS = [[9, 33, 71], [8, 90, 17, 44, 5, 6], [12], [9, 33, 71]]


def generated(
    row: Row, model: GroundingVLM, question: list[int], pixels: Tensor, **options: object
) -> tuple[int, ...]:
    inputs = row(question, slots=model.model.slots_per_image)
    out = model.generate(**inputs, pixel_values=pixels[None], do_sample=False, **options)
    ids = out[0, inputs["input_ids"].shape[1] :].tolist()
    return tuple(ids[: ids.index(2)] if 2 in ids else ids)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_key_value_heads": 2},
        {"num_key_value_heads": 1, "image_mask": "full"},
        {"share_image_position": False, "rope_dtype": "checkpoint"},
        {"expert_layers": 2, "tie_word_embeddings": True, "attention": "eager"},
    ],
)
def test_same_tokens_as_generate(
    row: Row, build: Build, pixels: Tensor, options: dict[str, object]
) -> None:
    model = build(**options)
    prefix = encode_image(model, pixels)
    about = [0, 1, 0, 1]
    written = answer_many(model, prefix, QUESTIONS, pictures=about, max_new_tokens=16)
    wanted = [
        generated(row, model, q, pixels[p], max_new_tokens=16)
        for q, p in zip(QUESTIONS, about, strict=True)
    ]
    assert [w.token_ids for w in written] == wanted
    assert all(w.ended == (len(w.token_ids) < 16) for w in written)


def test_logprobs_are_those_of_a_full_pass(row: Row, tiny: GroundingVLM, pixels: Tensor) -> None:
    prefix = encode_image(tiny, pixels[:1])
    written = answer_many(tiny, prefix, QUESTIONS, max_new_tokens=8, eos_token_id=-1)
    for question, answer in zip(QUESTIONS, written, strict=True):
        inputs = row([*question, *answer.token_ids])
        with torch.no_grad():
            logits = tiny(**inputs, pixel_values=pixels[:1]).logits[0]
        first = 6 + len(question)
        expected = logits[first : first + 8].log_softmax(-1)
        picked = expected.gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(answer.logprobs), picked, rtol=0, atol=1e-4)


def test_neighbours_count_towards_a_token(tiny: GroundingVLM, pixels: Tensor) -> None:
    prefix = encode_image(tiny, pixels[:1])
    vocabulary = tiny.config.vocab_size
    ids = torch.arange(vocabulary)
    alone = answer_many(tiny, prefix, QUESTIONS, max_new_tokens=8)
    nothing_near = torch.stack([ids, torch.full_like(ids, -1)], 1)
    everything = ids.expand(vocabulary, -1)
    same = answer_many(tiny, prefix, QUESTIONS, max_new_tokens=8, neighbours=nothing_near)
    sure = answer_many(tiny, prefix, QUESTIONS, max_new_tokens=8, neighbours=everything)
    for one, two, three in zip(alone, same, sure, strict=True):
        assert one.token_ids == two.token_ids == three.token_ids
        assert two.logprobs == pytest.approx(one.logprobs)
        assert three.logprobs == pytest.approx([0.0] * len(one.logprobs), abs=1e-5)


def test_rows_stop_by_themselves(tiny: GroundingVLM, pixels: Tensor) -> None:
    prefix = encode_image(tiny, pixels[:1])
    free = answer_many(tiny, prefix, QUESTIONS, max_new_tokens=10, eos_token_id=-1)
    end = free[0].token_ids[3]
    stopped = answer_many(tiny, prefix, QUESTIONS, max_new_tokens=10, eos_token_id=[end, 95])
    for a, b in zip(free, stopped, strict=True):
        cut = next((i for i, t in enumerate(a.token_ids) if t in (end, 95)), 10)
        assert b.token_ids == a.token_ids[:cut]
        assert len(b.logprobs) == cut
        assert b.ended == (cut < 10)


def test_filters_for_all_rows_or_each(tiny: GroundingVLM, pixels: Tensor) -> None:
    prefix = encode_image(tiny, pixels[:1])
    seen: list[tuple[int, ...]] = []

    def even(ids: Tensor, scores: Tensor) -> Tensor:
        seen.append(tuple(ids.shape))
        scores[:, 1::2] = -torch.inf
        return scores

    written = answer_many(
        tiny, prefix, QUESTIONS[:2], max_new_tokens=3, eos_token_id=-1, filters=even
    )
    assert seen == [(2, 6), (2, 7), (2, 8)]
    assert all(t % 2 == 0 for w in written for t in w.token_ids)
    free = answer_many(tiny, prefix, QUESTIONS[:2], max_new_tokens=3, eos_token_id=-1)
    mixed = answer_many(
        tiny, prefix, QUESTIONS[:2], max_new_tokens=3, eos_token_id=-1, filters=[None, even]
    )
    assert mixed[0] == free[0]
    assert mixed[1].token_ids == written[1].token_ids
    assert all(p <= 0 for w in mixed for p in w.logprobs)


def test_nothing_to_do(tiny: GroundingVLM, pixels: Tensor) -> None:
    prefix = encode_image(tiny, pixels)
    assert prefix.num_pictures == 2
    assert answer_many(tiny, prefix, []) == []
    nothing = answer_many(tiny, prefix, [[4]], max_new_tokens=0)
    assert nothing[0].token_ids == ()
    assert not nothing[0].ended


def test_bad_questions(tiny: GroundingVLM, pixels: Tensor) -> None:
    prefix = encode_image(tiny, pixels)
    with pytest.raises(InputError, match="Question 1 has no tokens"):
        answer_many(tiny, prefix, [[3], []])
    with pytest.raises(InputError, match="a number under 2"):
        answer_many(tiny, prefix, [[3]], pictures=[2])
    with pytest.raises(InputError, match="for each of"):
        answer_many(tiny, prefix, [[3]], pictures=[0, 1])


def test_lora_is_seen(row: Row, build: Build, pixels: Tensor) -> None:
    """The lean loop runs the modules, so adapters and hooks on the linears count."""
    from peft import LoraConfig, get_peft_model

    model = build()
    names = ["language_expert_query_key_value", "language_expert_dense"]
    config = LoraConfig(r=2, target_modules=names, init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's own
        inner = get_peft_model(model, config).base_model.model
    prefix = encode_image(inner, pixels[:1])
    written = answer_many(inner, prefix, QUESTIONS[:1], max_new_tokens=12)
    assert written[0].token_ids == generated(row, inner, QUESTIONS[0], pixels[0], max_new_tokens=12)
