from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headsight.data.ref_jsonl import read_expressions, read_ref_jsonl
from headsight.data.refs import read_refs
from headsight.errors import AnnotationError, InputError

DATA = Path(os.environ.get("HEADSIGHT_DATA", Path(__file__).parents[3] / "shared" / "data"))


def row(**more: Any) -> dict[str, Any]:
    return {
        "image": "a.jpg",
        "sent": "the cup",
        "bbox": [1, 2, 30.5, 40],
        "height": 80,
        "width": 100,
    } | more


def write(folder: Path, rows: list[Any]) -> Path:
    Image.new("RGB", (100, 80)).save(folder / "a.jpg")
    path = folder / "refs.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return path


def test_rows(tmp_path: Path) -> None:
    rle = {"size": [80, 100], "counts": [80, 160, 7760]}
    path = write(
        tmp_path,
        [
            row(),
            "",
            row(bbox=None, id="x", category="cup", types=["exclude"]),
            row(bbox=[[1, 2, 3, 4], [5, 6, 7, 8]], segmentation=rle, id="x"),
        ],
    )
    plain, none, several = read_refs(path).samples
    np.testing.assert_array_equal(plain.boxes, [[1, 2, 30.5, 40]])
    assert (plain.text, plain.image_wh, plain.image) == ("the cup", (100, 80), tmp_path / "a.jpg")
    assert (plain.has_mask, none.is_none, several.has_mask) == (False, True, True)
    assert (none.category, none.types) == ("cup", ("exclude",))
    assert several.masks()[0].sum() == 160
    assert [s.id for s in (plain, none, several)] == ["1", "x", "x#2"]  # one of a kind


def test_the_size_is_read_from_the_picture_as_it_is_seen(tmp_path: Path) -> None:
    path = write(
        tmp_path, [{"image": name, "sent": "x", "bbox": None} for name in ("a.jpg", "b.jpg")]
    )
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (100, 80)).save(tmp_path / "b.jpg", exif=exif)
    assert [s.image_wh for s in read_ref_jsonl(path).samples] == [(100, 80), (80, 100)]


def test_splits(tmp_path: Path) -> None:
    path = write(tmp_path, [row(split="train"), row(split="val"), row(split="val")])
    assert [len(read_refs(path, split=s)) for s in (None, "train", "all")] == [2, 1, 3]
    with pytest.raises(InputError, match=r"no split 'test'.*train \(1\), val \(2\)"):
        read_refs(path, split="test")
    with pytest.raises(InputError, match=r"no split 'val'.*\(none\) \(1\)"):
        read_refs(write(tmp_path, [row()]), split="val")


def test_pictures_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path, [row(image="b.jpg"), row()])
    found = read_ref_jsonl(path)
    assert [p.error for p in found.problems] == [f"The picture {tmp_path / 'b.jpg'} is missing."]
    (tmp_path / "in").mkdir()
    (tmp_path / "a.jpg").rename(tmp_path / "in" / "a.jpg")
    assert len(read_ref_jsonl(path, images=tmp_path / "in")) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(bbox=[5, 5, 3, 9]), "inside out"),
        (row(bbox=[5, 5, 9]), "not four numbers"),
        (row(bbox=[[[1, 2, 3, 4]]]), "not four numbers"),
        (row(bbox=[0, 0, float("inf"), 4]), "inside out"),
        (row(bbox="x"), "not in its format"),
        (row(sent="  "), "no words"),
        (row(width=0), "0 x 80"),
        (row(width=1e400), "not in its format"),
        (row(segmentation=[["a"]]), "neither polygons nor run lengths"),
        ({"image": "a.jpg", "sent": "x"}, "KeyError 'bbox'"),
    ],
)
def test_one_bad_row_is_told_and_the_rest_go_on(tmp_path: Path, bad: Any, reason: str) -> None:
    found = read_ref_jsonl(write(tmp_path, [bad, row()]))
    assert len(found) == 1
    assert [p.id for p in found.problems] == ["1"]
    assert reason in found.problems[0].error


@pytest.mark.parametrize("line", ["{", "[1]", '"text"', "[" * 100_000])
def test_a_line_that_is_no_object(tmp_path: Path, line: str) -> None:
    with pytest.raises(AnnotationError, match=r"refs\.jsonl line 2 is no JSON object"):
        read_refs(write(tmp_path, [row(), line]))


def test_an_empty_file_has_no_samples(tmp_path: Path) -> None:
    assert len(read_refs(write(tmp_path, []))) == 0


@pytest.mark.parametrize("text", ["{", "{}", "[" * 100_000])
def test_expressions_of_another_form(tmp_path: Path, text: str) -> None:
    (tmp_path / "expressions.json").write_text(text)
    with pytest.raises(AnnotationError, match=r"expressions\.json"):
        read_expressions(tmp_path)


def test_a_made_folder_of_expressions(tmp_path: Path) -> None:
    write(tmp_path, [])
    said = {"empty_case": True, "hops": "3", "type": ["spatial", "verb"]}
    rows = [
        {
            "image": "a.jpg",
            "width": 100,
            "height": 80,
            "expression": "it ",
            "box_xyxy": None,
            "categories": said,
        },
        {
            "image": "a.jpg",
            "width": 100,
            "height": 80,
            "expression": "this",
            "box_xyxy": [1, 2, 3, 4],
        },
        "no row",
    ]
    (tmp_path / "expressions.json").write_text(json.dumps(rows))
    found = read_refs(tmp_path)
    assert [s.types for s in found.samples] == [("spatial", "verb", "3 hops"), ()]
    assert [s.is_none for s in found.samples] == [True, False]
    assert [p.id for p in found.problems] == ["2"]


def test_the_sample_of_the_data_directory() -> None:
    if not (DATA / "refexp_coco_sample").is_dir():
        pytest.skip(f"{DATA / 'refexp_coco_sample'} is not there; set HEADSIGHT_DATA")
    found = read_refs("refexp_coco_sample")
    assert (len(found), found.pictures, found.problems) == (13, 12, ())
    assert [s.text for s in found.samples if s.is_none] == [
        "person outside the middle window",
        "letter X on the wall",
    ]
    by_text = {s.text: s for s in found.samples}
    cake = by_text["the knife not in a plate and not the closest to the cake"]
    np.testing.assert_allclose(cake.boxes, [[216.19, 310.9, 408.97, 422.36]])
    assert cake.types == ("spatial", "exclude", "3 hops")
    for sample in found.samples:
        with Image.open(sample.image) as image:
            assert image.size == sample.image_wh
