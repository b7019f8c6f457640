"""Attention that is taught where to look: which token is meant, and the loss of a row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headsight.language.prompts import head_boxes, refer
from headsight.models.grounding.tokenizer import build_tokenizer
from headsight.train.guiding import attention_inputs, guide_loss, guide_targets
from headsight.train.imagined import imagine
from headsight.train.language import LanguageJob, LanguageOptions, build_model
from headsight.train.packing import pack
from headsight.train.questions import Question
from headsight.train.recipe import Recipe

TOKENIZER = build_tokenizer()
BOXES = torch.tensor([[[100.0, 200, 300, 400], [500, 500, 600, 600], [102, 200, 300, 400]]])
QUESTIONS = [
    [
        Question(refer("the person in red"), "[[500,500,600,600]]", "boxes"),
        Question("Turned? [[101,201,300,400]]", "{350,000,010}", "pose"),
        Question(refer("the man"), "none", "boxes"),
        Question(head_boxes(), "[[101,201,300,400;500,500,601,600]]", "boxes"),
        Question("Clothes? [[500,500,602,601]]", " red", "text"),
    ]
]


def packed_questions():
    return pack(QUESTIONS, TOKENIZER, box_spread=2.0, angle_spread=2.0, first_position=4)


def test_where_a_place_begins_the_token_of_its_head_is_looked_at() -> None:
    packed = packed_questions()
    is_peak = torch.tensor([[True, True, False]])  # the third holds the nearest box, but no head
    targets = guide_targets(QUESTIONS, packed, BOXES, is_peak)
    found = {
        (int(segment), TOKENIZER.decode([token])): target
        for segment, token, target in zip(
            packed.segments[0].tolist(),
            packed.input_ids[0].tolist(),
            targets[0].tolist(),
            strict=True,
        )
        if target >= 0
    }
    assert found == {
        (0, " red"): 1, (0, "[["): 1, (1, "400"): 0, (1, "{"): 0, (3, "[["): 0, (3, ";"): 1,
        (4, "601"): 1, (4, "\n"): 1,
    }  # fmt: skip


def test_without_a_head_nothing_is_wanted() -> None:
    none = torch.zeros(1, 3, dtype=torch.bool)
    assert (guide_targets(QUESTIONS, packed_questions(), BOXES, none) == -1).all()


def test_the_loss_is_that_of_the_eager_attention_row(recipe: Recipe) -> None:
    torch.manual_seed(0)
    model = build_model(recipe, TOKENIZER).eval()
    options = LanguageOptions(imagined=1.0, guided_layer=1, guided_heads=(0, 2))
    job = LanguageJob(model, TOKENIZER, [], [], batch_size=1, lr=1e-3, seed=0, options=options)
    tokens = torch.randn(1, 3, 192)
    packed = packed_questions()
    targets = guide_targets(QUESTIONS, packed, BOXES, torch.ones(1, 3, dtype=torch.bool))
    attention = model.model.layers[1].self_attn
    with torch.no_grad(), attention_inputs(attention) as seen:
        job._hidden(tokens, packed)
    loss = guide_loss(attention, seen, targets, (0, 2), first_slot=2, prefix=6)
    model.set_attn_implementation("eager")
    kept: list[torch.Tensor] = []
    handle = attention.register_forward_hook(lambda *a: kept.append(a[2][1]))
    with torch.no_grad():
        job._hidden(tokens, packed)
    handle.remove()
    [weights] = kept  # (1, H, L, L)
    expected = [
        -weights[0, head, 6 + place, 2 + int(target)].log()
        for place, target in enumerate(targets[0])
        if target >= 0
        for head in (0, 2)
    ]
    assert len(expected) == 2 * 8
    torch.testing.assert_close(loss, torch.stack(expected).mean())


@pytest.mark.parametrize("heads", [(), (1,)])
def test_the_loss_of_a_stage_holds_it_where_heads_are_named(
    recipe: Recipe,
    heads: tuple[int, ...],
) -> None:
    model = build_model(recipe, TOKENIZER)
    options = LanguageOptions(imagined=1.0, guided_layer=0, guided_heads=heads)
    job = LanguageJob(model, TOKENIZER, [], [], batch_size=2, lr=1e-3, seed=0, options=options)
    rng = np.random.default_rng(0)
    drawn = imagine(rng, 8, job.module.model.vision.encoder.config.attributes)
    assert drawn[2]
    _, figures = job.loss(job.batch(0))
    assert ("guide" in figures) == bool(heads)
