"""Training labels that `headsight.train.labels` reads back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headsight.data.head_filter import HeadFilter
from headsight.data.head_folder import LeftOut
from headsight.data.head_kinds import KINDS, open_heads
from headsight.data.label_lines import convert_heads
from headsight.data.ref_sample import Problem
from headsight.errors import AnnotationError, InputError
from headsight.train.labels import read_labels


@pytest.mark.parametrize("kind", KINDS)
def test_the_trainer_reads_what_is_written(
    kind: str, made_set: Callable[[str], Path], tmp_path: Path
) -> None:
    found = open_heads(made_set(kind))
    out = tmp_path / "labels" / "train.jsonl"
    done = convert_heads(found, out)
    samples = found.samples()
    pictures = read_labels(out)
    assert (done.pictures, done.problems) == (len(samples), ())
    assert done.heads == sum(len(p.boxes) for p in pictures)
    for picture, sample in zip(pictures, samples, strict=True):
        boxes = sample.boxes if sample.head_boxes is None else sample.head_boxes
        np.testing.assert_allclose(picture.boxes, boxes, atol=6e-4)
        np.testing.assert_allclose(picture.rotations, sample.rotations, atol=1e-4)
        np.testing.assert_allclose(picture.ignore, sample.ignore)
        assert picture.encoded == sample.image.read_bytes()
    assert done.poses == sum(np.isfinite(p.rotations).all((-1, -2)).sum() for p in pictures)


def test_pictures_are_named_relative_to_the_file(
    made_set: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "labels.jsonl"
    convert_heads(open_heads(made_set("biwi")), out)
    record = json.loads(out.read_text())
    assert record["image"] == "../biwi/hpdb/12/frame_00003_rgb.png"
    assert record["heads"][0]["ypr_deg"] == [9.327, -0.405, -6.394]


def test_problems_and_what_is_left_out_are_counted(
    made_set: Callable[[str], Path], tmp_path: Path
) -> None:
    good = open_heads(made_set("crowdhuman")).samples()
    found = [*good, Problem("x", "torn"), LeftOut("y", "no head"), LeftOut("z", "no head")]
    done = convert_heads(found, tmp_path / "a.jsonl", rules=HeadFilter(most_heads=1))
    assert done.problems == (Problem("x", "torn"),)
    assert (done.pictures, done.heads) == (2, 2)
    assert done.left_out == {"ignored": 1, "unsure": 1, "mask": 1, "too many": 1, "no head": 2}


def test_nothing_is_written_where_nothing_is_usable(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    with pytest.raises(AnnotationError, match=r"Not one picture could be used.*torn"):
        convert_heads([Problem("x", "torn")], out)
    assert not out.exists()
    with pytest.raises(InputError, match=r"does not end in .jsonl"):
        convert_heads([], tmp_path / "a.json")
    out.write_text("kept")
    with pytest.raises(InputError, match="exists"):
        convert_heads([], out)
    assert out.read_text() == "kept"
