"""Episodes: numbers, repeatability, and which keypoints count."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from headsight.data.episodes import draw_episodes
from headsight.data.keypoints import KeypointInstance
from headsight.errors import InputError


def instance(category: str, visible: list[bool], name: str = "x") -> KeypointInstance:
    return KeypointInstance(
        name, Path(f"{name}.png"), (100, 100), np.array([0.0, 0, 50, 50]),
        np.zeros((len(visible), 2)), np.array(visible), category, tuple(map(str, visible)),
    )  # fmt: skip


def group(**numbers: int) -> list[KeypointInstance]:
    return [instance(name, [True, True]) for name, number in numbers.items() for _ in range(number)]


def test_two_hundred_episodes_of_fifteen_queries_a_category() -> None:
    things = group(cup=200, jug=30)
    drawn = draw_episodes(things, shots=5)
    assert len(drawn.pairs) == 2 * 200 * 15
    for episode in drawn.episodes:
        assert len(set(episode.supports) | set(episode.queries)) == 5 + 15
        assert {things[i].category for i in (*episode.supports, *episode.queries)} == {
            episode.category
        }
    assert drawn == draw_episodes(things, shots=5)
    assert drawn != draw_episodes(things, shots=5, seed=2)


def test_drawn_as_published() -> None:
    """One generator, seeded with 1, goes through the categories in order; supports come first."""
    things = group(cup=20, jug=17)
    random_1 = random.Random(1)
    expected = [
        (sample[0], tuple(sample[1:]))
        for members in (list(range(20)), list(range(20, 37)))
        for sample in (random_1.sample(members, 16) for _ in range(3))
    ]
    drawn = draw_episodes(things, episodes=3)
    assert [(e.supports[0], e.queries) for e in drawn.episodes] == expected
    other = draw_episodes(things, episodes=3, categories=["jug", "cup", "absent"])
    assert [e.category for e in other.episodes] == ["jug"] * 3 + ["cup"] * 3
    assert other.left_out == {}


def test_small_categories_have_fewer_queries_or_none() -> None:
    drawn = draw_episodes(group(cup=4, jug=2, pan=1), shots=2, episodes=1)
    assert [len(e.queries) for e in drawn.episodes] == [2]
    assert drawn.left_out == {"jug": 2, "pan": 1}
    assert draw_episodes([]).pairs == []


def test_a_keypoint_counts_where_query_and_supports_have_it() -> None:
    things = [
        instance("cup", [True, True, False]),
        instance("cup", [True, False, True]),
        instance("cup", [True, True, True]),
    ]
    drawn = draw_episodes(things, shots=2, queries=1, episodes=5)
    for (query, supports), visible in zip(drawn.pairs, drawn.visible(things), strict=True):
        assert sorted((query, *supports)) == [0, 1, 2]
        assert visible.tolist() == [True, False, False]


@pytest.mark.parametrize("what", ["shots", "episodes", "queries"])
def test_numbers_below_one(what: str) -> None:
    with pytest.raises(InputError, match=f"{what} is 0"):
        draw_episodes(group(cup=3), **{what: 0})
