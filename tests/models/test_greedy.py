"""What is noted of greedy choices: tokens, their log-probabilities, the end."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from headsight.models.greedy import GreedyChoice, GreedyWriter, pad_left

HALF = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]).log()
"""Token 0, then token 2, each with probability 1/2."""
SEEN = torch.tensor([[0, 5], [6, 7]])


def test_tokens_and_logprobs() -> None:
    writer = GreedyWriter([1, 2], ends=[2])
    assert writer.choose([0, 1], SEEN, HALF).tolist() == [0, 2]
    assert writer.unfinished([0, 1]) == [0]
    writer.choose([0], SEEN[:1], HALF[1:])
    first, second = writer.written()
    assert (first.token_ids, first.ended) == ((0,), True)
    assert first.logprobs == pytest.approx((math.log(0.5),))
    assert (second.token_ids, second.logprobs, second.ended) == ((), (), True)


def test_nothing_is_noted_behind_the_end() -> None:
    writer = GreedyWriter([1], ends=[2])
    writer.choose([0], SEEN[:1], HALF[1:])
    writer.choose([0], SEEN[:1], HALF[:1])
    assert writer.written()[0].token_ids == ()
    assert writer.unfinished([0]) == []


def test_a_filter_of_a_row_sees_its_own_tokens_alone() -> None:
    seen: list[list[list[int]]] = []

    def not_zero(ids: Tensor, scores: Tensor) -> Tensor:
        seen.append(ids.tolist())
        scores[:, 0] = -torch.inf
        return scores

    writer = GreedyWriter([1, 2], ends=[], filters=[not_zero, None])
    scores = HALF.clone()
    assert writer.choose([0, 1], SEEN, scores).tolist() == [1, 2]
    assert seen == [[[5]]]  # without the padding
    assert torch.equal(scores, HALF)  # the caller's are left as they are
    assert writer.written()[0].logprobs == pytest.approx((math.log(0.25),))  # before the filter


def test_one_filter_for_all_rows_sees_the_batch() -> None:
    writer = GreedyWriter([1, 2], ends=[], filters=lambda ids, scores: -scores + ids[:, :1])
    assert writer.choose([0, 1], SEEN, HALF).tolist() == [1, 0]


def test_inside_generate_only_the_choice_is_left() -> None:
    choice = GreedyChoice(GreedyWriter([1, 2], ends=[]), [0, 1])
    inf = -math.inf
    assert choice(SEEN, HALF).tolist() == [[0, inf, inf], [inf, inf, 0]]


def test_padding_is_on_the_left() -> None:
    rows = [torch.tensor([3]), torch.tensor([4, 5, 6])]
    assert pad_left(rows).tolist() == [[0, 0, 3], [4, 5, 6]]
