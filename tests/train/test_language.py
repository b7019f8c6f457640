"""Packing, masks and losses of the language stage, and one step on imagined readings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headsight.language.prompts import refer
from headsight.models.grounding.headgrid import ATTRIBUTES, HeadReading
from headsight.models.grounding.tokenizer import build_tokenizer, first_number_id
from headsight.train.imagined import imagine
from headsight.train.language import LanguageJob, LanguageOptions, _subjects, build_model
from headsight.train.packing import answer_loss, block_mask, pack
from headsight.train.pictures import Augmentation, Canvas
from headsight.train.questions import Question
from headsight.train.recipe import Recipe

TOKENIZER = build_tokenizer()


def test_the_box_of_a_pose_question_hints_at_the_yaw() -> None:
    question = Question("Turned? [[100,200,300,400]]", "{350,000,010}", "pose")
    packed = pack([[question]], TOKENIZER, box_spread=2.0, angle_spread=2.0, first_position=4)
    [last] = (packed.input_ids[0] == TOKENIZER.convert_tokens_to_ids("400")).nonzero()
    assert int(packed.labels[0, last]) == TOKENIZER.convert_tokens_to_ids("350")
    assert float(packed.spreads[0, last]) == 2.0
    assert int(packed.modulus[0, last]) == 360
    before = packed.labels[0, : int(last)]
    assert (before == -100).all()


@pytest.mark.parametrize(
    ("expression", "answer", "hinting"),
    [
        ("the man in the red shirt", "[[100,200,300,400]]", [" red"]),
        ("the person with the red hat", "[[100,200,300,400]]", [" red", " hat"]),
        ("the second person from the left", "[[100,200,300,400]]", [" left"]),
        ("the men in red", "[[100,200,300,400;500,200,600,400]]", []),
        ("the woman", "none", []),
    ],
)
def test_telling_words_hint_at_the_one_head_they_mean(
    expression: str, answer: str, hinting: list[str]
) -> None:
    question = Question(refer(expression), answer, "boxes")
    packed = pack([[question]], TOKENIZER, box_spread=2.0, angle_spread=2.0, first_position=4)
    length = len(TOKENIZER.encode(question.prompt, add_special_tokens=False))
    asked, labels = packed.input_ids[0, :length], packed.labels[0, :length]
    assert [TOKENIZER.decode([i]) for i in asked[labels >= 0].tolist()] == hinting
    left = TOKENIZER.convert_tokens_to_ids("100")
    assert labels[labels >= 0].tolist() == [left] * len(hinting)


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
            assert read.clip(0, 1) == pytest.approx(subject.box, abs=1e-5)  # to be copied


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


def test_answers_hold_the_numbers_that_were_read() -> None:
    """The label chooses the head; its box and pose are the reading's, of the surest peak near."""
    grid, side = 24, 384
    reading, _, _ = imagine(np.random.default_rng(3), grid, ATTRIBUTES, most=1)
    center = torch.full((1, grid, grid), -8.0)
    boxes, sixd = torch.zeros(1, grid, grid, 4), torch.zeros(1, grid, grid, 6)
    for row, column, logit in ((5, 5, 2.0), (7, 5, 1.0), (20, 20, 3.0)):
        center[0, row, column] = logit
        boxes[0, row, column] = torch.tensor([0.15, 0.14 + row / 1000, 0.29, 0.32])
    boxes[0, 20, 20] = torch.tensor([0.8, 0.8, 0.9, 0.9])
    sixd[..., 0] = sixd[..., 4] = 1
    reading = HeadReading(center, boxes, sixd, reading.attribute_logits)
    truth = np.array([[0.16, 0.16, 0.3, 0.3]], np.float32) * side
    canvas = Canvas(
        pixels=np.zeros((side, side, 3), np.uint8),
        boxes=truth,
        rotations=np.full((1, 3, 3), np.nan, np.float32),
        pose_weights=np.zeros(1, np.float32),
        attributes=({"hard_hat": True},),
        ignore=np.array([[0.7 * side, 0.7 * side, side, side]], np.float32),
        content_wh_rel=(1.0, 0.5),
    )
    subjects, has_stranger = _subjects(canvas, reading, 0, center[0] > 0)
    assert has_stranger  # the peak in the ignored corner
    [subject] = subjects
    assert subject.box == pytest.approx([0.15, 0.29, 0.29, 0.64], abs=1e-5)
    assert subject.rotation == pytest.approx(np.eye(3))
    assert subject.pose_weight == 1
    assert subject.attributes == {"hard_hat": True}
