"""Questions say what the labels say, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headsight.geometry.rotations import ypr_to_matrix
from headsight.language.codec import parse
from headsight.language.spec import CodecSpec
from headsight.train.questions import Subject, ask, expressions


def _subject(x: float, yaw: float = 0.0, **attributes: Any) -> Subject:
    box = np.array([x, 0.2, x + 0.1, 0.3])
    return Subject(box, ypr_to_matrix(np.array([yaw, 0.0, 0.0])), 1.0, attributes)


LEFT = _subject(0.1, 45.0, hard_hat=True, hat="hardhat", hat_color="red", clothes_color="blue")
RIGHT = _subject(0.7, -170.0, hard_hat=False, hat="none", hat_color=None, clothes_color="green")


def test_expressions_name_the_right_subjects() -> None:
    named = {phrase: [s.box[0] for s in chosen] for phrase, chosen in expressions([RIGHT, LEFT])}
    assert named["the leftmost head"] == [0.1]
    assert named["the person on the right"] == [0.7]
    assert named["the second person from the left"] == [0.7]
    assert named["the person in the blue shirt"] == [0.1]
    assert named["the person with the red hard hat"] == [0.1]
    assert named["the person facing away"] == [0.7]
    assert named["the person looking left"] == [0.1]
    assert "the man" not in named  # nothing is known of it


def test_boxes_are_sorted_and_poses_are_the_truth() -> None:
    questions = ask([RIGHT, LEFT], np.random.default_rng(1), is_complete=True, refers=0)
    every = questions[0]
    assert every.answer == "[[100,200,200,300;700,200,800,300]]"
    poses = [q for q in questions if q.kind == "pose"]
    assert {q.answer for q in poses} == {"{045,000,000}", "{190,000,000}"}
    for question in poses:  # the jittered box lies within 5 % of a side of the true one
        asked = parse(question.prompt, CodecSpec("boxes")).value[0]
        gaps = [np.abs(asked - s.box).max() for s in (LEFT, RIGHT)]
        assert min(gaps) <= 0.1 * 0.05 + 0.0011


def test_incomplete_pictures_are_never_asked_for_every_head() -> None:
    for seed in range(20):
        questions = ask([LEFT], np.random.default_rng(seed), is_complete=False)
        asked = [q for q in questions if q.kind == "boxes"]
        assert all("hard" in q.prompt or "helmet" in q.prompt for q in asked)


@pytest.mark.parametrize("seed", range(5))
def test_every_answer_is_strict(seed: int) -> None:
    for question in ask([LEFT, RIGHT], np.random.default_rng(seed), is_complete=True, refers=9):
        kind = "pose" if question.kind == "pose" else "boxes"
        assert parse(question.answer, CodecSpec(kind)).strict


def test_nobody_is_none() -> None:
    questions = ask([], np.random.default_rng(0), is_complete=True)
    assert {q.answer for q in questions} == {"none"}
