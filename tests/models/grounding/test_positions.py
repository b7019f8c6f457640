"""Positions, expert mask and routes: the worked examples of CogVLM and their properties."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from headsight.models.grounding.positions import (
    answer_positions,
    build_position_ids,
    token_routes,
    vision_expert_mask,
)


def _ids(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows)


def test_one_picture_in_front() -> None:
    types = _ids([0, 1, 1, 1, 1, 0, 0, 0])
    assert build_position_ids(types).tolist() == [[0, 1, 2, 2, 3, 4, 5, 6]]
    assert vision_expert_mask(types).int().tolist() == [[0, 1, 1, 1, 0, 0, 0, 0]]


def test_two_pictures_of_one_patch() -> None:
    types = _ids([0, 1, 1, 1, 0, 0, 1, 1, 1, 0])
    assert build_position_ids(types).tolist() == [list(range(10))]
    assert vision_expert_mask(types).int().tolist() == [[0, 1, 1, 0, 0, 0, 1, 1, 0, 0]]


def test_490_px_has_1227_slots_and_text_starts_at_position_4() -> None:
    slots = (490 // 14) ** 2 + 2
    types = _ids([0] + [1] * slots + [0, 0])
    assert slots == 1227
    assert build_position_ids(types)[0, -2:].tolist() == [4, 5]
    assert (
        int(vision_expert_mask(types).sum()) == 1226
    )  # the end of the picture is a language token


def test_pictures_that_touch_are_told_apart_by_their_length() -> None:
    types = _ids([0, 1, 1, 1, 1, 1, 1, 1, 1, 0])  # two pictures of two patches
    positions = build_position_ids(types, slots_per_image=4)
    assert positions.tolist() == [[0, 1, 2, 2, 3, 4, 5, 5, 6, 7]]
    mask = vision_expert_mask(types, slots_per_image=4)
    assert mask.int().tolist() == [[0, 1, 1, 1, 0, 1, 1, 1, 0, 0]]


def test_padding_does_not_advance() -> None:
    types = _ids([0, 0, 0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0, 0, 0])
    mask = _ids([0, 0, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 0, 0])
    assert build_position_ids(types, mask).tolist() == [
        [0, 0, 0, 1, 2, 2, 3, 4],
        [0, 1, 2, 2, 3, 4, 4, 4],
    ]


def test_without_a_shared_position_every_token_counts() -> None:
    types = _ids([0, 1, 1, 1, 1, 0])
    assert build_position_ids(types, share_image_position=False).tolist() == [[0, 1, 2, 3, 4, 5]]


def test_the_last_token_never_uses_the_expert() -> None:
    assert vision_expert_mask(_ids([0, 1, 1])).int().tolist() == [[0, 1, 0]]


@given(st.lists(st.booleans(), min_size=1, max_size=24))
def test_routes_put_every_token_back(marks: list[bool]) -> None:
    mask = torch.tensor([marks])
    routes = token_routes(mask)
    if routes is None:
        assert not mask.any()
        return
    parts = torch.cat([routes.language, routes.vision])
    assert parts[routes.inverse].tolist() == list(range(len(marks)))
    assert mask.flatten()[routes.vision].all()
    assert not mask.flatten()[routes.language].any()


def test_no_tokens_at_all() -> None:
    empty = torch.zeros(1, 0, dtype=torch.long)
    assert build_position_ids(empty).shape == (1, 0)
    assert token_routes(vision_expert_mask(empty)) is None


def test_answer_positions_stand_before_the_answer() -> None:
    labels = _ids([-100, -100, 7, 8], [-100, 5, -100, -100])
    assert answer_positions(labels).int().tolist() == [[0, 1, 1, 0], [1, 0, 0, 0]]
