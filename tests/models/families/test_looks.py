"""Attention to the picture, for every family: many expressions behind one prefill, as alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from headsight.errors import InputError
from headsight.models.transformers_vlm import TransformersVLM
from headsight.picture import Picture
from headsight.tasks.looking import Question, look, look_each

if TYPE_CHECKING:
    from tiny_vlms.tiny import Tiny

WORDS = ("the red cup", "a man", "the red cup", "the red")  # one twice, one the start of another
NOT_SHARED = ("gemma3", "paligemma")
"""Families whose picture attends to the question behind it."""


@pytest.mark.parametrize(("query", "views"), [("last_text", "merged"), ("mean_text", "global")])
def test_maps_behind_one_prefill_are_those_of_each_question_alone(
    vlm: TransformersVLM, tiny: Tiny, picture: Picture, case: str, query: Any, views: Any
) -> None:
    question = Question(query=query, views=views)
    if not tiny.has_views:
        with pytest.raises(InputError):
            look(vlm, picture, "the red cup", question)
        return
    alone = [look(vlm, picture, words, question) for words in WORDS]
    with Forwards(vlm.model) as forwards:
        together = list(look_each(vlm, picture, WORDS, question))
    assert len(together) == len(WORDS)
    for one, other in zip(alone, together, strict=True):
        # fp32 rounding of shares of attention: another order of sums
        np.testing.assert_allclose(other.maps, one.maps, atol=5e-6)
        np.testing.assert_array_equal(other.valid, one.valid)
        assert other.view.region == one.view.region
    is_shared = case.partition("/")[0] not in NOT_SHARED
    assert forwards.pictures == (1 if is_shared else len(WORDS))
    assert len(forwards.lengths) == len(WORDS) + is_shared
    if is_shared:  # each token is read once
        first, *rest = forwards.lengths
        whole = [vlm.prepare(picture, f"{words}.")["input_ids"].shape[1] for words in WORDS]
        assert [first + more for more in rest] == whole


class Forwards:
    """How many tokens each forward pass reads, and how many of them bring a picture."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.lengths, self.pictures = model, list[int](), 0

    def __enter__(self) -> Forwards:
        def count(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            self.lengths.append(kwargs["input_ids"].shape[1])
            self.pictures += any("pixel_values" in name for name in kwargs)

        self._hook = self.model.register_forward_pre_hook(count, with_kwargs=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()
