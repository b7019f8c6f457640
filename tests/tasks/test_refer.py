"""Words to boxes."""

from __future__ import annotations

import numpy as np
import pytest

from headsight.errors import InputError
from headsight.language import prompts
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
