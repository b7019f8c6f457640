from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headsight.attention.head_set import HeadSet, model_fingerprint
from headsight.attention.selection import HeadStatistics, SelectionRule
from headsight.attention.selection_counts import SelectionCounts
from headsight.errors import CheckpointError, ConfigError

RULE = SelectionRule(num_low=2, skip_layers=0, tau=0.3, exclude_fixed_position=True)


def found() -> HeadSet:
    counts = SelectionCounts(1, 4, RULE)
    for x in (0.2, 0.8):
        centres = np.full((1, 4, 2), x)
        sums, entropies = np.array([[0.1, 0.5, 0.5, 0.6]]), np.array([[np.inf, 0.1, 0.3, 0.2]])
        counts.add_statistics(HeadStatistics(sums, entropies, centres, (9, 9)))
    return HeadSet.of(
        counts.selection(), model="0123", model_id="a/b", prompt="{image}\n{words}", seeds=(1, 2)
    )


def test_a_selection_becomes_a_head_set() -> None:
    heads = found()
    assert heads.heads == ((0, 1), (0, 3))
    assert [(row.head, row.frequency) for row in heads.table] == [(1, 1.0), (3, 1.0)]
    assert heads.table[0].mean_entropy == pytest.approx(0.1)
    assert heads.tau == 0.3
    assert (heads.n, heads.rule, heads.query) == (2, RULE, "last_text")


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "heads.json"
    found().save(path)
    assert HeadSet.load(path) == found()
    record = json.loads(path.read_text("utf-8"))
    assert record["schema"] == "headsight.head_set/1"
    assert record["heads"] == [[0, 1], [0, 3]]


def test_the_same_heads_are_read_in_another_way() -> None:
    heads = found()
    assert heads.changed() == heads
    fewer = heads.changed(k=1, kernel=1, sigma=0.0, choice="greedy")
    assert (fewer.heads, fewer.kernel, fewer.sigma, fewer.choice) == (((0, 1),), 1, 0.0, "greedy")
    assert fewer.changed(k=2).heads == heads.heads  # the table keeps all
    for wrong, message in (
        ({"k": 3}, "k is 3, but the table of these heads has 2"),
        ({"k": 0}, "k is 0"),
        ({"kernel": 2}, "kernel is 2"),
        ({"sigma": -1.0}, "sigma -1"),
        ({"sigma": float("nan")}, "sigma nan"),
        ({"sigma": float("inf")}, "sigma inf"),
    ):
        with pytest.raises(ConfigError, match=message):
            heads.changed(**wrong)


def test_heads_of_another_model_are_refused() -> None:
    found().require("0123")
    with pytest.raises(CheckpointError, match=r"found in a/b \(fingerprint 0123\).*has 9999"):
        found().require("9999")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema": "headsight.head_set/9"}',
        '{"schema": "headsight.head_set/1"}',
    ],
)
def test_files_that_hold_no_head_set(tmp_path: Path, text: str) -> None:
    path = tmp_path / "heads.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"heads\.json"):
        HeadSet.load(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.json cannot be read"):
        HeadSet.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    "spoilt", [{"heads": [1]}, {"rule": {"tau": 9}}, {"colour": 1}, {"table": [{}]}]
)
def test_damaged_fields(spoilt: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        HeadSet.from_dict({**found().to_dict(), **spoilt})


class Config:
    def __init__(self, **values: Any) -> None:
        self.values = values

    def to_dict(self) -> dict[str, Any]:
        return self.values


def small_model(seed: int, **values: Any) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
    model.config = Config(**{"layers": 2, "text": {"dtype": "float32"}, **values})  # type: ignore[assignment]
    return model


def test_fingerprints() -> None:
    first = model_fingerprint(small_model(0))
    assert len(first) == 16
    assert model_fingerprint(small_model(0, _name_or_path="elsewhere", dtype="bfloat16")) == first
    assert model_fingerprint(small_model(0).bfloat16()) == first
    assert model_fingerprint(small_model(0, a_later_setting=None, another=False)) == first
    assert model_fingerprint(small_model(1)) != first  # the same shape, other weights
    assert model_fingerprint(small_model(0, layers=3)) != first
