from __future__ import annotations

import json

import pytest

from headsight.eval.format_report import format_report
from headsight.language.codec import CodecSpec, parse

POSE, BOXES = CodecSpec("pose"), CodecSpec("boxes")
FIVE = ("{315,007,000}", "[[312,208,388,410]]", "{315,007}", "", "{[[315,007,000]]}")


def test_five_answers_to_a_pose_question() -> None:
    report = format_report(parse(text, POSE) for text in FIVE)
    assert report.strict_invalid == pytest.approx(4 / 5)
    assert report.invalid == pytest.approx(4 / 5)
    assert report.swapped == pytest.approx(1 / 5)
    assert report.blended == pytest.approx(1 / 5)
    assert report.failures == {"wrong_kind": 1, "wrong_arity": 1, "empty": 1, "blended": 1}


def test_confusion_of_two_tasks() -> None:
    answers = [parse(text, POSE) for text in FIVE]
    answers += [
        parse("[[12,34,56,78]]", BOXES),
        parse("none", BOXES),
        parse("{315,007,000}", BOXES),
    ]
    report = format_report(answers)
    assert report.confusion == {
        "boxes": {"boxes": 1, "none": 1, "pose": 1},
        "pose": {"pose": 1, "boxes": 1, "wrong_arity": 1, "empty": 1, "blended": 1},
    }
    assert (report.asked, report.recovered) == (8, 1)
    assert report.strict_invalid == pytest.approx(6 / 8)
    assert report.invalid == pytest.approx(5 / 8)
    assert json.loads(json.dumps(report.to_dict()))["schema"] == "headsight.format/1"
    table = str(report)
    assert "strict invalid 75.00%" in table
    assert "| boxes | 0 | 1 | 0 | 1 | 1 | 0 |" in table


def test_no_answers() -> None:
    report = format_report([])
    assert (report.invalid, report.strict_invalid, report.asked) == (0, 0, 0)
    assert "0 answers" in str(report)
