"""Words to boxes."""

from __future__ import annotations

import numpy as np
import pytest

from headsight.errors import InputError
from headsight.language import prompts
from headsight.language.dialects import DIALECTS
from headsight.models.base import Reply
from headsight.picture import Picture
from headsight.tasks.refer import ground


def test_the_words_are_cleaned_and_asked(vlm, picture: Picture) -> None:
    found = ground(vlm, picture, "  the man  in the red shirt. ")
    [(_, asked, _)] = vlm.calls
    assert asked == (prompts.refer("the man in the red shirt"),)
    np.testing.assert_allclose(found.boxes, [[100, 100, 300, 300], [500, 0, 600, 100]])
    assert found.label_names == ("the man in the red shirt",)
    assert found.rotations is None


def test_none(scripted, picture: Picture) -> None:
    found = ground(scripted(lambda *_: "none"), picture, "a unicorn")
    assert len(found) == 0
    assert found.exchanges[0].reading["strict"]


def test_scores_tell_sure_from_unsure(scripted, picture: Picture) -> None:
    text = "[[100,200,300,600;500,000,600,200]]"
    vlm = scripted(lambda *_: text)
    reply = vlm.answer(picture, ["?"])[0]
    sure, unsure = np.log(0.9), np.log(0.2)
    second = text.index("500")
    starts = np.cumsum([0, *map(len, reply.tokens)])[:-1]
    reply = type(reply)(
        "?", text, reply.tokens, tuple(unsure if at >= second else sure for at in starts)
    )
    vlm.answer = lambda *_, **__: [reply]
    np.testing.assert_allclose(ground(vlm, picture, "heads").scores, [0.9, 0.2])


def test_a_box_at_the_last_step_is_kept(scripted, picture: Picture) -> None:
    found = ground(scripted(lambda *_: "[[998,998,999,999]]"), picture, "the corner")
    np.testing.assert_allclose(found.boxes, [[998, 499, 999, 499.5]])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "no words"),
        ("?!", "no words"),
        ("red\x1b[2J", r"U\+001B"),
        ("word " * 3000, "3000 words"),
    ],
)
def test_words_that_cannot_be_asked(vlm, picture: Picture, words: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ground(vlm, picture, words)
    assert vlm.calls == []


class Native:
    """Says one text, in the format of a family."""

    name = "native"

    def __init__(self, dialect: str, text: str) -> None:
        self.dialect, self.text = dialect, text

    def answer(self, picture: Picture, prompts, **_) -> list[Reply]:
        self.asked = list(prompts)
        return [Reply(p, self.text, (), ()) for p in prompts]

    def read(self, picture: Picture, reply: Reply, *, mode: str = "strict"):
        return DIALECTS[self.dialect].parse(reply.text, picture.image_wh, mode=mode)


def test_a_model_with_a_format_of_its_own_is_asked_and_read_in_it(picture: Picture) -> None:
    vlm = Native("internvl", "<ref>red cup</ref><box>[[100, 200, 300, 400]]</box>")
    found = ground(vlm, picture, "red cup.")
    assert "<ref>red cup</ref>" in vlm.asked[0]
    np.testing.assert_allclose(found.boxes, [[100, 100, 300, 200]])  # thousandths of 1000 x 500
    assert found.exchanges[0].reading["dialect"] == "internvl"
    assert found.label_names == ("red cup",)


def test_a_native_answer_that_cannot_be_read_is_kept_and_finds_nothing(picture: Picture) -> None:
    found = ground(Native("internvl", "I see no cup."), picture, "red cup")
    assert len(found) == 0
    assert found.exchanges[0].text == "I see no cup."
    assert not found.exchanges[0].reading["valid"]


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("molmo", '<point x="52.0" y="43.0" alt="cup">cup</point>'),
        ("molmo2", '<points coords="1 1 520 430">cup</points>'),
    ],
)
def test_a_family_that_points_gives_points(picture: Picture, dialect: str, text: str) -> None:
    found = ground(Native(dialect, text), picture, "cup")
    np.testing.assert_allclose(found.keypoints, [[[520, 215, 2]]])
    np.testing.assert_allclose(found.boxes, [[520, 215, 520, 215]])
