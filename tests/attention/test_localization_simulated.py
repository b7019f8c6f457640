"""The whole method on simulated heads of which it is known what they look at.

The simulation is that of `reproductions/localization-heads`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import pytest
from scripts import scripts_of

from headsight.attention.selection import PRESETS
from headsight.attention.selection_counts import Selection, diagnose


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """The simulation as a module."""
    with scripts_of("localization-heads") as found:
        yield found.simulation


@pytest.fixture(scope="module")
def both(script: ModuleType) -> Selection:
    return script.found("both")


def test_the_true_heads_are_found(script: ModuleType, both: Selection) -> None:
    assert set(both.top(3)) == script.TRIO
    assert both.candidates[2, :19].all()  # all that look at the picture, and no other
    assert both.candidates.sum() == 19
    assert not any(note.faults for note in diagnose(both))


def test_fixed_heads_beat_greedy_and_each_criterion_alone(
    script: ModuleType, both: Selection
) -> None:
    fixed = script.accuracy(both.top(3))
    greedy = script.accuracy(None)
    by_sum, by_entropy = (
        script.accuracy(script.found(c, samples=40).top(3)) for c in ("sum", "entropy")
    )
    assert fixed > greedy + 0.15
    assert greedy > max(by_sum, by_entropy)
    assert max(by_sum, by_entropy) < 0.15


def test_a_sink_enters_the_top_three_and_is_named(script: ModuleType) -> None:
    paper = script.found("both", with_sink=True)
    assert (2, 63) in paper.top(3)
    faulty = [note.head for note in diagnose(paper) if note.faults]
    assert faulty == [(2, 63)]
    robust = replace(paper, rule=PRESETS["robust"])
    assert set(robust.top(3)) == script.TRIO
