"""The report: what it says of gains and losses, and that its pages show the same."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from headsight.errors import InputError
from headsight.eval.forget_report import (
    SkillRun,
    answer_counts,
    forget_report,
    summary,
    to_html,
    to_markdown,
)
from headsight.eval.item_scores import Better, Scores
from headsight.merging.drift import ModuleDrift

GOOD = {"asked": "boxes", "failure": None, "valid": True, "strict": True}
SWAPPED = {"asked": "boxes", "failure": "wrong_kind", "valid": False, "strict": False}
MENDED = {"asked": "boxes", "failure": "bad_digits", "valid": True, "strict": False}


def run(figure: str, value: float, better: Better, *readings: dict[str, object]) -> SkillRun:
    names = tuple(f"p{k}" for k in range(20))
    scores = Scores(names, names, np.full(20, float(value)), better)
    return SkillRun("set", {figure: scores}, answer_counts(readings))


def example() -> dict[str, object]:
    before = {
        "boxes": run("mean_iou", 0.8, "higher", GOOD, GOOD),
        "pose": run("mae_penalised", 60, "lower", GOOD),
        "pose aflw": run("mae_penalised", 20, "lower"),
    }
    after = {
        "boxes": run("mean_iou", 0.2, "higher", SWAPPED, MENDED),
        "pose": run("mae_penalised", 12, "lower", GOOD),
        "pose aflw": run("mae_penalised", 20, "lower"),
    }
    drift = [ModuleDrift("layers.0.q", 64, 0.5, 0.9), ModuleDrift("layers.0.k", 64, 0.0, 1.0)]
    return forget_report(before, after, names=("M0", "M2"), new=["pose"], drift=drift)


def test_gains_and_losses() -> None:
    report = example()
    skills = report["skills"]
    assert skills["boxes"]["figures"]["mean_iou"]["verdict"] == "forgot"
    assert skills["pose"]["figures"]["mae_penalised"]["verdict"] == "gained"
    assert skills["pose"]["is_new"]
    assert report["forgetting"]["boxes"] == {"figure": "mean_iou", "lost": pytest.approx(0.6)}
    assert "pose" not in report["forgetting"]  # new: nothing to forget
    assert report["forgetting"]["pose aflw"]["lost"] == 0
    assert report["backward_transfer"] == {"mean_iou": pytest.approx(-0.6), "mae_penalised": 0}
    assert report["weights"]["untouched"] == 1
    assert [m["module"] for m in report["weights"]["most_moved"]] == ["layers.0.q"]
    json.dumps(report)


def test_the_summary_names_them() -> None:
    text = summary(example())
    assert "gained: pose; forgot: boxes." in text
    assert "Of 2 modules 1 are untouched" in text


def test_too_few_pictures_are_said_to_be_too_few() -> None:
    few = {
        "pose": SkillRun("set", {"mae_penalised": Scores(("a",), ("a",), np.zeros(1), "lower")}, {})
    }
    report = forget_report(few, few)
    assert "Too few pictures to tell of pose." in summary(report)
    assert "| 0.000 | 0.000 | 0.000 | too few pictures |" in to_markdown(report)


def test_answers_are_counted_by_kind() -> None:
    counts = answer_counts([SWAPPED, MENDED, GOOD, GOOD])
    assert (counts["asked"], counts["invalid"], counts["strict_invalid"]) == (4, 0.25, 0.5)
    assert counts["swapped"] == 0.25
    assert counts["failures"] == {"wrong_kind": 1, "bad_digits": 1}
    assert answer_counts([])["invalid"] == 0


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.is_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.is_cell = tag in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.is_cell:
            self.cells.append(data)
            self.is_cell = False


def test_both_pages_hold_the_same_cells() -> None:
    report = example()
    parser = Cells()
    parser.feed(to_html(report))
    lines = [line.strip("| ") for line in to_markdown(report).splitlines() if line[:2] == "| "]
    rows = [line.split(" | ") for line in lines if "---" not in line]
    assert [c.strip() for c in parser.cells if c.strip()] == [
        c.strip() for row in rows for c in row if c.strip()
    ]
    assert "-0.600 (-0.600 to -0.600)" in parser.cells
    assert "50.0%" in parser.cells


def test_names_cannot_break_the_pages() -> None:
    one = {"refer": run("right", 1, "higher")}
    report = forget_report(one, one, names=("<script>", "a|b"))
    assert "<script>" not in to_html(report)
    assert "<script>" not in to_markdown(report)
    header = next(line for line in to_markdown(report).splitlines() if line.startswith("| skill"))
    assert header.count("|") - header.count("\\|") == 7


def test_other_skills_are_refused() -> None:
    one, other = {"boxes": run("recall", 1, "higher")}, {"pose": run("mae", 1, "lower")}
    with pytest.raises(InputError, match="Before boxes was measured, after pose"):
        forget_report(one, other)
    with pytest.raises(InputError, match="--new names refer"):
        forget_report(one, one, new=["refer"])


def test_runs_survive_json() -> None:
    one = run("recall", 0.5, "higher", SWAPPED)
    again = SkillRun.from_dict(json.loads(json.dumps(one.to_dict())))
    assert again.answers == one.answers
    assert again.scores["recall"].items == one.scores["recall"].items
