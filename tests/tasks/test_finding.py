"""Searching for heads over draws of samples, without a model: made-up maps, counts by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headsight.attention.selection import SelectionRule, head_statistics
from headsight.attention.selection_counts import (
    SelectionCounts,
    frequency_spread,
    mean_selection,
)
from headsight.data.refs import RefSample
from headsight.errors import InputError, ResumeError
from headsight.models.image_views import ImageView
from headsight.tasks.finding import Search, draw_samples
from headsight.tasks.looking import Looks

RULE = SelectionRule(num_low=2, skip_layers=0, tau=0.0)
BY_MEAN = SelectionRule(num_low=2, skip_layers=0, settle_after=4)
NUMBER = 12


def looks(index: int) -> Looks:
    """Maps of 2 layers of 3 heads that depend on the number of the sample."""
    maps = np.random.default_rng(index).random((2, 3, 4, 6)) ** 4 / 24
    view = ImageView((4, 6), np.arange(24), (0.0, 0.0, 60.0, 40.0))
    return Looks(maps, view, np.ones((4, 6), bool))


def sample(index: int) -> RefSample:
    box = np.array([[0.0, 0.0, 30.0, 40.0]])
    return RefSample(str(index), Path("none.png"), (60, 40), "the cup", box)


def run(search: Search, until: int | None = None) -> Search:
    while search.done < len(search.order) and search.done != until:
        index = search.order[search.done]
        search.add(looks(index), sample(index))
    return search


def alone(draw: Any, rule: SelectionRule) -> SelectionCounts:
    counts = SelectionCounts(2, 3, rule)
    for index in draw:
        it = looks(int(index))
        truth = it.truth(sample(0).boxes)
        counts.add_statistics(head_statistics(it.maps, rule, valid=it.valid, truth=truth))
    return counts


def test_draws_are_without_repetition_and_by_seed() -> None:
    draws = draw_samples(NUMBER, 5, trials=3, seed=7)
    assert [len(set(draw.tolist())) for draw in draws] == [5, 5, 5]
    assert len({tuple(draw.tolist()) for draw in draws}) == 3
    for trial, draw in enumerate(draws):  # each draw can be made alone
        np.testing.assert_array_equal(draw, draw_samples(NUMBER, 5, seed=7 + trial)[0])
    assert sorted(draw_samples(3, 1000)[0].tolist()) == [0, 1, 2]


def test_draws_that_cannot_be_made() -> None:
    with pytest.raises(InputError, match="There are 0 expressions"):
        draw_samples(0, 5)
    with pytest.raises(InputError, match="all draws would be the same"):
        draw_samples(5, 5, trials=2)


@pytest.mark.parametrize("rule", [RULE, BY_MEAN])
def test_each_draw_says_what_it_would_say_alone(rule: SelectionRule) -> None:
    draws = draw_samples(NUMBER, 7, trials=3)
    search = Search(draws, rule)
    assert sorted(search.order) == sorted({int(i) for draw in draws for i in draw})
    run(search)
    assert search.done == len(search.order) < 3 * 7  # a sample of two draws is looked at once
    for draw, selection in zip(draws, search.selections, strict=True):
        order = [index for index in search.order if index in draw]
        expected = alone(order, rule).selection()
        for name in ("frequency", "mean_sum", "mean_entropy", "centroid_std", "mean_iou"):
            np.testing.assert_array_equal(getattr(selection, name), getattr(expected, name))
        assert selection.samples == 7


def test_the_mean_of_draws_and_its_spread() -> None:
    """Frequencies of two draws, say 0.5 and 1: mean 0.75, deviation 0.25."""
    selections = run(Search(draw_samples(NUMBER, 7, trials=2), RULE)).selections
    mean = mean_selection(selections)
    one, other = (selection.frequency for selection in selections)
    np.testing.assert_allclose(mean.frequency, (one + other) / 2)
    np.testing.assert_allclose(frequency_spread(selections)[1], np.abs(one - other) / 2)
    assert mean.samples == 7
    assert mean.mean_iou is not None
    assert mean_selection(selections[:1]) is selections[0]
    with pytest.raises(InputError, match="0 selections"):
        mean_selection([])


@pytest.mark.parametrize("rule", [RULE, BY_MEAN])
def test_stopped_anywhere_it_goes_on_as_if_it_had_not(rule: SelectionRule) -> None:
    draws = draw_samples(NUMBER, 7, trials=2)
    whole = run(Search(draws, rule))
    for stop in range(len(whole.order) + 1):
        record = json.loads(json.dumps(run(Search(draws, rule), until=stop).to_dict()))
        search = Search(draws, rule).restored(record)
        assert search.done == stop
        again = run(search).to_dict()
        assert again == whole.to_dict()


def test_what_is_remembered_does_not_grow_with_the_samples() -> None:
    """Numbers and texts in the state, after the candidates are settled and at the very end."""
    draw = [np.arange(200)]
    rule = SelectionRule(num_low=2, skip_layers=0, settle_after=20)
    sizes = {n: count(run(Search(draw, rule), until=n).to_dict()) for n in (10, 20, 100, 199)}
    assert sizes[10] > sizes[20]  # until then the order of the heads of each sample is kept
    assert sizes[20] == sizes[100] == sizes[199]
    assert count(run(Search(draw, rule)).to_dict()) == sizes[20]
    short = run(Search([np.arange(15)], rule)).to_dict()  # whole before it would have settled
    assert short["counts"][0]["orders"] == []


def count(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(count, value.values()))
    return sum(map(count, value)) if isinstance(value, list | tuple) else 1


def test_what_cannot_be_looked_at_is_noted_up_to_a_number() -> None:
    search = Search([np.arange(50)], RULE)
    search.add(looks(0), sample(0))
    for index in range(1, 50):
        search.skip(str(index), InputError("It is odd."))
    assert (search.done, search.failed, len(search.failures)) == (50, 49, 20)
    assert search.selections[0].samples == 1
    empty = Search([np.arange(1)], RULE)
    empty.skip("a", InputError("It is odd."))
    with pytest.raises(InputError, match=r"None of 1 expressions .* The first: It is odd"):
        _ = empty.selections


@pytest.mark.parametrize("spoilt", [{"done": None}, {"counts": [{}]}, {"counts": []}])
def test_a_spoilt_record_is_refused(spoilt: dict[str, Any]) -> None:
    draws = draw_samples(NUMBER, 7, trials=2)
    record = {**run(Search(draws, RULE), until=3).to_dict(), **spoilt}
    if spoilt == {"counts": []}:
        record["done"] = 99
    with pytest.raises(ResumeError, match="again"):
        Search(draws, RULE).restored(record)
