"""Heads and their poses from a scripted model: known answers, and every way to say nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headsight.geometry.rotations import ypr_to_matrix
from headsight.language import prompts
from headsight.language.spec import CodecSpec
from headsight.picture import Picture
from headsight.tasks.heads import find_heads

# steps of 1/1000 of 1000 x 500 pixels: x stays, y halves
BOXES = [[100, 100, 300, 300], [500, 0, 600, 100]]


def test_two_heads(vlm, picture: Picture) -> None:
    found = find_heads(vlm, picture)
    np.testing.assert_allclose(found.boxes, BOXES)
    np.testing.assert_allclose(found.poses, [[-45, 10, 0], [180, 0, -5]], atol=1e-9)
    np.testing.assert_allclose(found.rotations[0], ypr_to_matrix(np.array([-45.0, 10.0, 0.0])))
    # every number of both boxes has probability 0.8
    np.testing.assert_allclose(found.scores, [0.8, 0.8])
    assert found.label_names == ("head",)
    assert found.image_wh == (1000, 500)
    assert found.picture is picture


def test_one_call_for_the_boxes_and_one_for_all_poses(vlm, picture: Picture) -> None:
    found = find_heads(vlm, picture)
    (seen, asked, grammar), (seen_again, asked_again, _) = vlm.calls
    assert seen is picture
    assert seen_again is picture  # so that the model need not encode it anew
    assert asked == (prompts.head_boxes(),)
    assert asked_again == (
        prompts.head_pose("[[100,200,300,600]]"),
        prompts.head_pose("[[500,000,600,200]]"),
    )
    assert grammar is None
    assert [e.prompt for e in found.exchanges] == [*asked, *asked_again]
    assert [e.reading["strict"] for e in found.exchanges] == [True] * 3


def test_a_grammar_goes_to_the_model(vlm, picture: Picture) -> None:
    find_heads(vlm, picture, constrain=True)
    assert [grammar for _, _, grammar in vlm.calls] == [CodecSpec("boxes"), CodecSpec("pose")]


def test_without_poses(vlm, picture: Picture) -> None:
    found = find_heads(vlm, picture, poses=False)
    assert found.rotations is None
    assert len(vlm.calls) == 1


def answering(scripted: Callable, boxes: str, pose: str = "{000,000,000}", **options: object):
    return scripted(lambda _, prompt: pose if "yaw" in prompt else boxes, **options)


def test_no_head(scripted, picture: Picture) -> None:
    vlm = answering(scripted, "none")
    found = find_heads(vlm, picture)
    assert len(found) == 0
    assert found.rotations.shape == (0, 3, 3)
    assert len(vlm.calls) == 1  # there is no pose to ask for
    assert found.exchanges[0].reading["failure"] is None


@pytest.mark.parametrize(
    ("text", "failure"),
    [("", "empty"), ("I am sorry, I cannot see it.", "refusal"), ("{315,010,000}", "wrong_kind")],
)
def test_an_answer_without_boxes_is_a_result(scripted, picture: Picture, text, failure) -> None:
    found = find_heads(answering(scripted, text), picture)
    assert len(found) == 0
    assert found.exchanges[0].text == text
    assert found.exchanges[0].reading["failure"] == failure


def test_a_cut_answer_keeps_its_whole_boxes(scripted, picture: Picture) -> None:
    vlm = answering(scripted, "[[100,200,300,600;500,000,6", ended=False)
    found = find_heads(vlm, picture)
    np.testing.assert_allclose(found.boxes, BOXES[:1])
    assert found.exchanges[0].reading["failure"] == "truncated"
    assert 0 <= found.scores[0] <= 1


@pytest.mark.parametrize("pose", ["", "left", "{315,010}", "[[001,002,003,004]]"])
def test_an_unread_pose_is_nan_and_says_why(scripted, picture: Picture, pose: str) -> None:
    found = find_heads(answering(scripted, "[[100,200,300,600]]", pose), picture)
    assert np.isnan(found.rotations).all()
    assert np.isnan(found.poses).all()
    assert found.attributes["pose_confidence"] == (0.0,)
    assert found.attributes["pose_reading"] == (found.exchanges[1].reading["failure"],)
    assert found.to_dict()["places"][0]["pose"] is None


def test_a_recovered_pose_says_so(scripted, picture: Picture) -> None:
    found = find_heads(answering(scripted, "[[100,200,300,600]]", "yaw {315,010,000}."), picture)
    np.testing.assert_allclose(found.poses, [[-45, 10, 0]], atol=1e-9)
    assert found.attributes["pose_reading"] == ("recovered",)


def test_a_model_without_probabilities_scores_one(scripted, picture: Picture) -> None:
    found = find_heads(answering(scripted, "[[100,200,300,600]]", has_logprobs=False), picture)
    assert found.scores.tolist() == [1.0]
    assert found.attributes["pose_confidence"] == (1.0,)


def test_one_pixel(scripted) -> None:
    from PIL import Image

    vlm = answering(scripted, "[[000,000,999,999]]")
    found = find_heads(vlm, Picture(Image.new("RGB", (1, 1))))
    np.testing.assert_allclose(found.boxes, [[0, 0, 0.999, 0.999]])
    assert found.draw().size == (1, 1)
