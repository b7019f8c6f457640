"""Packing, masks and losses of the language stage, and one step on imagined readings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from headsight.models.grounding.headgrid import ATTRIBUTES
from headsight.models.grounding.tokenizer import build_tokenizer, first_number_id
from headsight.train.imagined import imagine
from headsight.train.language import LanguageJob, LanguageOptions, build_model
from headsight.train.loop import LoopConfig
from headsight.train.packing import answer_loss, block_mask, pack
from headsight.train.pictures import Augmentation
from headsight.train.questions import Question
from headsight.train.recipe import Recipe, Source, Stage

TOKENIZER = build_tokenizer()


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    source = Source(labels=Path("x"), share=1.0)
    stage = Stage(name="s", kind="language", loop=LoopConfig(steps=1), sources=(source,))
    return Recipe(
        name="tiny",
        output=Path("out"),
        validation=Path("x"),
        encoder={"image_size": 128, "neck_channels": 16, "hidden_size": 192, "keep_tokens": 20},
        decoder={
            "hidden_size": 192,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "tie_word_embeddings": True,
            "adapter": "linear",
        },
        stages=(stage,),
    )


def test_labels_stand_on_the_answer_alone() -> None:
    questions = [
        [
            Question("Where?", "[[001,002,003,004]]", "boxes"),
            Question("How?", "{350,000,010}", "pose"),
        ]
    ]
    packed = pack(questions, TOKENIZER, box_spread=2.0, angle_spread=2.0, first_position=4)
    said = packed.labels[0] >= 0
    text = TOKENIZER.decode(packed.labels[0][said])
    assert text == "[[001,002,003,004]]<eos>{350,000,010}<eos>"
    assert (packed.modulus[0][said][-8:] == 360).all()
    numbers = packed.spreads[0] > 0
    assert int(numbers.sum()) == 7
    first = packed.segments[0].tolist().index(1)
    assert packed.position_ids[0, first] == 4  # each question starts where the image prefix ends
    assert packed.position_ids[0, 0] == 4


def test_questions_do_not_see_each_other() -> None:
    mask = block_mask(torch.tensor([[0, 0, 1, 1, -1]]), prefix=2)[0, 0]
    assert mask[3].tolist() == [True, True, True, True, False, False, False]
    assert mask[5].tolist() == [True, True, False, False, True, True, False]
    assert mask[1].tolist() == [True, True] + [False] * 5


def test_soft_targets_are_gaussian_and_circular() -> None:
    first = 10
    logits = torch.full((2, 1010), -30.0)
    labels = torch.tensor([first + 359, first + 500])
    near = torch.arange(-8, 9)
    logits[0, first + (359 + near) % 360] = -(near.float() ** 2) / 8
    logits[1, first + 500 + near] = -(near.float() ** 2) / 8
    loss = answer_loss(
        logits,
        labels,
        torch.tensor([2.0, 2.0]),
        torch.tensor([360, 1000]),
        first_number=first,
    )
    assert loss.abs().max() < 1e-4  # exactly the target: costs nothing
    hard = answer_loss(
        logits, labels, torch.zeros(2), torch.tensor([360, 1000]), first_number=first
    )
    assert hard.min() > 1.0


def test_imagined_readings_hold_their_subjects() -> None:
    for seed in range(20):
        reading, content, subjects = imagine(np.random.default_rng(seed), 24, ATTRIBUTES)
        peaks = reading.center_logits[0] > -1.6
        assert int(peaks.sum()) >= len(subjects)
        for subject in subjects:
            middle = (subject.box[:2] + subject.box[2:]) / 2 * content
            row, column = (min(int(v * 24), 23) for v in middle[::-1])
            read = reading.boxes[0, row, column].numpy() / np.tile(content, 2)
            side = np.tile(subject.box[2:] - subject.box[:2], 2)
            assert (np.abs(read - subject.box) < 0.2 * side + 1e-6).all()


def test_a_few_steps_on_imagined_readings_lower_the_loss(recipe: Recipe) -> None:
    torch.manual_seed(0)
    model = build_model(recipe, TOKENIZER)
    assert model.config.vision_config is not None
    job = LanguageJob(
        model,
        TOKENIZER,
        [([], 1.0, Augmentation())],
        [],
        batch_size=2,
        lr=3e-3,
        seed=0,
        options=LanguageOptions(imagined=1.0, ramp_steps=100, poses=1, refers=0),
    )
    groups = [{k: v for k, v in g.items() if k != "optimizer"} for g in job.parameter_groups()]
    optimizer = torch.optim.AdamW(groups)
    losses = []
    for step in range(12):
        loss, _ = job.loss(job.batch(step))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.75 * losses[0]
    dense = model.model.vision.encoder.center.out.weight
    assert dense.grad is None  # the encoder's reading is not moved by the text loss
    assert first_number_id(TOKENIZER) > 0
