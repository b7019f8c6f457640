"""`reproductions/localization-heads`: its ablations on maps whose answer is known, and its tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts import REPRODUCTIONS, scripts_of

import headsight
from headsight.attention.selection import SelectionRule
from headsight.data.ref_sample import RefSample

FOLDER = REPRODUCTIONS / "localization-heads"
SAMPLE = Path(headsight.__file__).parent / "samples" / "astronaut.jpg"
SEER, SINK = (1, 0), (1, 2)


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    """The scripts as modules."""
    with scripts_of("localization-heads") as found:
        yield found


def kept(scripts: Any, number: int, seed: int) -> Any:
    """2 layers of 4 heads over 6 boxes of 20 px in a row; one head finds the true one.

    Another gives half of its attention to the first box, whatever is asked; the rest look at the
    text.
    """
    rng = np.random.default_rng(seed)
    x = np.arange(6) * 30.0
    regions = np.stack([x, np.full(6, 10.0), x + 20, np.full(6, 30.0)], 1)
    wanted = rng.integers(1, 6, number)
    rows = rng.uniform(0, 0.002, (number, 4, 2, 4, 6))
    rows[:, :, 1, 2, 0] = 0.5
    for index, token in enumerate(wanted):
        rows[index, :, 1, 0, token] = 0.8
    return scripts.capture.Kept(
        rows.astype(np.float32),
        np.repeat(regions[None], number, 0).astype(np.float32),
        np.repeat([[180, 40]], number, 0),
        regions[wanted],
        np.ones(number),
    )


@pytest.fixture(scope="module")
def lab(scripts: Any) -> Any:
    return scripts.ablations.Lab(kept(scripts, 30, 0), kept(scripts, 20, 1))


def test_the_head_that_follows_the_words_is_found(scripts: Any, lab: Any) -> None:
    rule = SelectionRule(skip_layers=1, num_low=2)
    assert set(lab.select("answer", rule).top(2)) == {SEER, SINK}
    assert lab.row("", "answer", (SEER,))["acc50"] == 1
    assert lab.row("", "answer", (SINK,))["acc50"] == 0
    robust = SelectionRule(skip_layers=1, num_low=2, exclude_fixed_position=True)
    assert lab.select("answer", robust).top(3) == (SEER,)


def test_rows_of_the_tables(scripts: Any, lab: Any) -> None:
    rule = SelectionRule(skip_layers=1, num_low=2, exclude_fixed_position=True)
    made = scripts.ablations
    by_name = {row["name"]: row for row in made.criteria(lab, "answer", rule)}
    assert by_name["fixed, both"]["acc50"] == 1
    assert by_name["greedy, both"]["heads"] is None
    smooth = {row["name"]: row for row in made.smoothing(lab, "answer", rule)}
    assert smooth["sigma 0"]["mean_iou"] == smooth["kernel 1"]["mean_iou"] > 0.85
    assert smooth["sigma 1.8"]["mean_iou"] < smooth["sigma 0"]["mean_iou"]
    table, _ = made.heads_table(lab, "answer", rule)
    assert table[0]["head"] == list(SEER)
    assert table[0]["mean_iou"] > 0.85


def test_capture_goes_on_and_is_of_one_model(scripts: Any, tmp_path: Path) -> None:
    vlm = headsight.load().vlm
    texts = ("the woman", "the largest head")
    box = np.array([[160.0, 24, 297, 179]])
    samples = [RefSample(text, SAMPLE, (512, 512), text, box) for text in texts]
    first = scripts.capture.capture(vlm, samples, tmp_path, ask=True)
    assert first.rows.shape == (2, 4, 4, 8, 48)
    assert first.native.min() > 0.5
    part = tmp_path / "00000.npz"
    stamp = part.stat().st_mtime_ns
    again = scripts.capture.capture(vlm, samples, tmp_path, ask=True)
    assert part.stat().st_mtime_ns == stamp  # what is there is not looked at again
    np.testing.assert_array_equal(again.rows, first.rows)
    with pytest.raises(SystemExit, match="other samples"):
        scripts.capture.capture(vlm, samples[:1], tmp_path, ask=True)


def test_the_tables_are_those_of_the_results(scripts: Any) -> None:
    text = (FOLDER / "README.md").read_text("utf-8")
    assert scripts.tables.render(text, FOLDER / "results") == text
