from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headsight.data.reasonseg import read_reasonseg
from headsight.data.refs import read_refs
from headsight.errors import AnnotationError, InputError
from headsight.geometry.masks import mask_to_box


def square(label: str, low: float, high: float) -> dict[str, Any]:
    return {"label": label, "points": [[low, low], [high, low], [high, high], [low, high]]}


def question(folder: Path, name: str, shapes: Any, *, encoding: str = "utf-8", **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    record = {"text": ["where is it", "another wording"], "is_sentence": False, "shapes": shapes}
    text = json.dumps(record | more, ensure_ascii=False)
    (folder / f"{name}.json").write_bytes(text.encode(encoding))
    Image.new("RGB", (40, 30)).save(folder / f"{name}.jpg")


def test_a_question_by_hand(tmp_path: Path) -> None:
    """Outline included, a square from 2 to 11 is 10 x 10; the ignored one inside is 3 x 3."""
    question(tmp_path / "val", "a", [square("ignore area", 4, 6), square("target", 2, 11.9)])
    (sample,) = read_reasonseg(tmp_path).samples
    target, ignore = sample.masks()
    assert (target.sum(), ignore.sum()) == (100 - 9, 9)
    assert target[2:12, 2:12].sum() == 91
    assert ignore[4:7, 4:7].all()
    np.testing.assert_array_equal(sample.boxes, [[2, 2, 12, 12]])
    assert (sample.id, sample.text, sample.split) == ("val/a", "where is it", "val")
    assert (sample.image_wh, sample.image) == ((40, 30), tmp_path / "val" / "a.jpg")


def test_the_smaller_shape_lies_on_top_whatever_the_order(tmp_path: Path) -> None:
    shapes = [square("target", 5, 7), square("ignore", 2, 20), square("flag", 0, 29)]
    question(tmp_path, "a", shapes)
    question(tmp_path, "b", shapes[::-1])
    for sample in read_reasonseg(tmp_path).samples:
        target, ignore = sample.masks()
        assert (target.sum(), ignore.sum()) == (9, 19 * 19 - 9)
        assert not (target & ignore).any()


def test_short_and_long_questions(tmp_path: Path) -> None:
    question(tmp_path, "a", [square("target", 1, 5)], is_sentence=True, text="Which part is it?")
    question(tmp_path, "b", [square("target", 1, 5)])
    samples = read_refs(tmp_path).samples
    assert [(s.types, s.text) for s in samples] == [
        (("long",), "Which part is it?"),
        (("short",), "where is it"),
    ]


def test_splits(tmp_path: Path) -> None:
    for split, number in (("train", 3), ("val", 1), ("test", 2)):
        for n in range(number):
            question(tmp_path / split, str(n), [square("target", 1, 5)])
    assert len(read_reasonseg(tmp_path)) == 1
    assert [s.id for s in read_reasonseg(tmp_path, split="test").samples] == ["test/0", "test/1"]
    assert len(read_reasonseg(tmp_path, split="all")) == 6
    assert len(read_reasonseg(tmp_path / "train", split="train")) == 3
    with pytest.raises(InputError, match=r"no split 'dev'.*test \(2\), train \(3\), val \(1\)"):
        read_reasonseg(tmp_path, split="dev")
    with pytest.raises(InputError, match="no split 'val'"):
        read_reasonseg(tmp_path / "train", split="val")


def test_old_encodings(tmp_path: Path) -> None:
    question(tmp_path, "a", [square("target", 1, 5)], text=["the caf\xe9"], encoding="cp1252")
    question(tmp_path, "b", [square("target", 1, 5)], text=["the caf\xe9"], encoding="utf-8")
    assert {s.text for s in read_reasonseg(tmp_path).samples} == {"the caf\xe9"}


def test_no_target_is_nothing(tmp_path: Path) -> None:
    question(tmp_path, "a", [square("ignore", 1, 5)])
    (sample,) = read_reasonseg(tmp_path).samples
    assert sample.is_none
    assert not sample.masks()[0].any()


def test_one_bad_question_is_told_and_the_rest_go_on(tmp_path: Path) -> None:
    for name in "abcdefgh":
        question(tmp_path, name, [square("target", 1, 5)])
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.json").write_text("{")
    question(tmp_path, "c", [{"label": "target", "points": []}])
    question(tmp_path, "d", [square("target", 1, float("nan"))])
    question(tmp_path, "e", [], text=[])
    (tmp_path / "f.jpg").write_text("no picture")
    (tmp_path / "g.json").write_text("[]")
    found = read_reasonseg(tmp_path)
    assert [Path(s.id).name for s in found.samples] == ["h"]
    assert [Path(p.id).name for p in found.problems] == list("abcdefg")
    assert "a.jpg is missing" in found.problems[0].error


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="holds no referring expressions"):
        read_refs(tmp_path)


@settings(max_examples=40)
@given(
    corners=st.lists(
        st.tuples(st.integers(0, 39), st.integers(0, 29)), min_size=3, max_size=6, unique=True
    )
)
def test_the_box_is_that_of_the_pixels(tmp_path_factory: Any, corners: Any) -> None:
    folder = tmp_path_factory.getbasetemp() / "reasonseg"
    question(folder, "a", [{"label": "target", "points": corners}])
    (sample,) = read_reasonseg(folder).samples
    np.testing.assert_array_equal(mask_to_box(sample.masks()[0]), sample.boxes[0])


def test_a_point_and_a_line_have_pixels(tmp_path: Path) -> None:
    for name, points in (("a", [[3, 4]]), ("b", [[3, 4], [7, 4]])):
        question(tmp_path, name, [{"label": "target", "points": points}])
    assert [s.masks()[0].sum() for s in read_reasonseg(tmp_path).samples] == [1, 5]
