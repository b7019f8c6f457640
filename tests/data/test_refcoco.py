from __future__ import annotations

import json
import logging
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headsight.data.ref_sample import regions_of
from headsight.data.refcoco import SENTENCES, read_refcoco
from headsight.data.refs import read_refs
from headsight.errors import AnnotationError, InputError

SQUARE = [[10, 10, 30, 10, 30, 40, 10, 40]]


def ref(number: int, split: str, *texts: str, **more: Any) -> dict[str, Any]:
    sentences = [
        {"sent_id": 100 * number + k, "sent": text, "raw": text, "tokens": text.split()}
        for k, text in enumerate(texts)
    ]
    return {
        "ref_id": number, "ann_id": number, "image_id": number, "category_id": 1, "split": split,
        "file_name": f"COCO_train2014_{number:012d}_{number}.jpg", "sentences": sentences,
        "sent_ids": [s["sent_id"] for s in sentences], **more,
    }  # fmt: skip


UNC = [
    ref(1, "train", " the man ", "guyin black"),
    ref(2, "val", "left cup"),
    ref(3, "testA", "Woman", "lady", "girl"),
    ref(4, "testB", "dog", "brown dog"),
]


def write(
    root: Path, refs: Any, *, dataset: str = "refcoco", file: str = "refs(unc).p", images: str = ""
) -> Path:
    """The files of one data set with four pictures of 100 x 80; annotation n is (10n, 10, 20, 30)."""
    folder = root / dataset
    folder.mkdir(parents=True, exist_ok=True)
    whole = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": 100, "height": 80} for n in range(1, 5)
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": n % 2, "bbox": [10.0 * n, 10, 20, 30.5],
             "segmentation": SQUARE}
            for n in range(1, 5)
        ],
        "categories": [{"id": 0, "name": "cup"}, {"id": 1, "name": "person"}],
    }  # fmt: skip
    (folder / "instances.json").write_text(json.dumps(whole))
    pictures = root / (images or "images/train2014")
    pictures.mkdir(parents=True, exist_ok=True)
    for n in range(1, 5):
        Image.new("RGB", (100, 80)).save(pictures / f"{n}.jpg")
    path = folder / file
    path.write_bytes(json.dumps(refs).encode() if file.endswith("json") else pickle.dumps(refs, 2))
    return path


def test_one_sample_is_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, UNC)
    found = read_refcoco(path, split="train")
    assert [s.text for s in found.samples] == ["the man", "guyin black"]  # typing errors stay
    first, second = found.samples
    assert (first.id, second.id) == ("1/100", "1/101")
    np.testing.assert_array_equal(first.boxes, [[10, 10, 30, 40.5]])
    assert first.image == tmp_path / "refcoco" / "../images/train2014" / "1.jpg"
    assert (first.image_wh, first.category, first.split) == ((100, 80), "person", "train")
    assert first.ids == {"ref_id": 1, "image_id": 1, "ann_id": 1}
    target, ignore = first.masks()
    assert (target.sum(), ignore.sum()) == (20 * 30, 0)
    assert (found.name, found.split, found.pictures) == ("refcoco/unc", "train", 1)


@pytest.mark.parametrize(
    ("split", "number"),
    [("train", 2), ("val", 1), (None, 1), ("testA", 3), ("testB", 2), ("test", 5), ("all", 8)],
)
def test_splits_count_sentences(tmp_path: Path, split: str | None, number: int) -> None:
    assert len(read_refcoco(write(tmp_path, UNC), split=split)) == number


def test_split_names_are_exact(tmp_path: Path) -> None:
    """The reference loader takes testAB for testA too; and `test` is there in the google split."""
    refs = [ref(1, "testAB", "a"), ref(2, "test", "b"), ref(3, "testA", "c")]
    path = write(tmp_path, refs)
    assert [s.text for s in read_refcoco(path, split="testA").samples] == ["c"]
    assert [s.text for s in read_refcoco(path, split="test").samples] == ["b"]
    with pytest.raises(
        InputError, match=r"no split 'testC'.*testAB \(1\), test \(1\), testA \(1\)"
    ):
        read_refcoco(path, split="testC")
    with pytest.raises(InputError, match="no split 'val'"):
        read_refcoco(path)


def test_all_data_sets_and_split_makers(tmp_path: Path) -> None:
    """refcocog holds two refs files: one has to be chosen."""
    google = write(tmp_path, UNC[:2], dataset="refcocog", file="refs(google).p")
    assert read_refs(tmp_path / "refcocog").name == "refcocog/google"
    write(tmp_path, UNC, dataset="refcocog", file="refs(umd).p")
    with pytest.raises(InputError, match=r"several sets.*refs\(google\)\.p.*refs\(umd\)\.p"):
        read_refs(tmp_path / "refcocog")
    assert read_refs(google, split="train").name == "refcocog/google"
    assert read_refs(tmp_path / "refcocog" / "refs(umd).p", split="testA").name == "refcocog/umd"
    write(tmp_path, UNC, dataset="refcoco+")
    with pytest.raises(InputError, match=r"several sets.*refcoco\+"):
        read_refs(tmp_path)
    assert len(read_refs(tmp_path / "refcoco+", split="test")) == 5


def test_missing_pictures_are_told_and_the_rest_go_on(tmp_path: Path) -> None:
    path = write(tmp_path, UNC)
    (tmp_path / "images/train2014/3.jpg").unlink()
    found = read_refcoco(path, split="test")
    assert [s.text for s in found.samples] == ["dog", "brown dog"]
    assert [p.id for p in found.problems] == ["3/300", "3/301", "3/302"]
    assert "3.jpg is missing" in found.problems[0].error


def test_no_picture_at_all_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, UNC)
    for picture in (tmp_path / "images/train2014").iterdir():
        picture.unlink()
    with pytest.raises(AnnotationError, match=r"Not one of the 5 expressions.*--images"):
        read_refcoco(path, split="test")


def test_pictures_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path, UNC, images="photos")
    with pytest.raises(AnnotationError, match="Not one"):
        read_refcoco(path)
    found = read_refcoco(path, images=tmp_path / "photos")
    assert found.samples[0].image == tmp_path / "photos" / "2.jpg"
    with pytest.raises(InputError, match="is no folder"):
        read_refcoco(path, images=tmp_path / "nowhere")


def test_what_a_ref_points_at_may_be_missing(tmp_path: Path) -> None:
    refs = [
        ref(1, "val", "good"), ref(2, "val", "x", ann_id=99), ref(3, "val", "x", image_id=98),
        ref(4, "val", " "),
    ]  # fmt: skip
    refs[0]["sentences"] += [{"sent_id": 7}, {"sent": 5}, "text"]
    found = read_refcoco(write(tmp_path, refs))
    assert [s.text for s in found.samples] == ["good"]
    assert [p.id for p in found.problems] == ["1/7", "1/2", "1/3", "2/200", "3/300", "4/400"]
    told = " ".join(p.error for p in found.problems)
    for reason in (
        "annotation 99 is not",
        "picture 98 is not",
        "no words",
        "KeyError 'sent'",
        "no text",
    ):
        assert reason in told


def test_several_targets_and_none(tmp_path: Path) -> None:
    """gRefCOCO: a list of annotations; -1 where the right answer is nothing."""
    refs = [
        ref(1, "val", "the two on the left", ann_id=[1, 3]), ref(2, "val", "the cow", ann_id=[-1]),
        ref(3, "val", "both", ann_id=[1, 2]),
    ]  # fmt: skip
    path = write(tmp_path, refs, dataset="grefcoco", file="grefs(unc).json")
    several, none, mixed = read_refs(path.parent).samples
    np.testing.assert_array_equal(several.boxes, [[10, 10, 30, 40.5], [30, 10, 50, 40.5]])
    assert (several.category, mixed.category, none.category) == ("person", "", "")
    assert (several.is_none, none.is_none, none.has_mask) == (False, True, True)
    assert not none.masks()[0].any()


def test_masks_are_the_union_of_polygons_or_run_lengths(tmp_path: Path) -> None:
    path = write(tmp_path, UNC)
    whole = json.loads((path.parent / "instances.json").read_text())
    two = [*SQUARE, [20, 10, 50, 10, 50, 40, 20, 40], [1, 1, 2, 2]]
    rle = {"size": [80, 100], "counts": [80, 160, 7760]}  # columns 1 and 2
    wrong = {"size": [60, 100], "counts": [6000]}
    for n, segmentation in enumerate((two, rle, wrong, [])):  # ref 4 has no mask
        whole["annotations"][n]["segmentation"] = segmentation
    (path.parent / "instances.json").write_text(json.dumps(whole))
    by_ref = {s.ids["ref_id"]: s for s in read_refcoco(path, split="all").samples}
    assert by_ref[1].masks()[0].sum() == 40 * 30
    target = by_ref[2].masks()[0]
    assert target[:, 1:3].all()
    assert target.sum() == 160
    with pytest.raises(AnnotationError, match="100 x 60, but its picture 100 x 80"):
        by_ref[3].masks()
    assert not by_ref[4].has_mask
    for segmentation in (
        {"size": [80, 100]},
        {"size": [80, 100], "counts": [5]},
        [[0, 0, 9, 9, 1e12, 5]],
    ):
        (region,) = regions_of(segmentation)
        with pytest.raises(AnnotationError, match="true mask cannot be drawn"):
            region.draw((100, 80))


def test_the_published_number_of_sentences(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(SENTENCES["refcoco", "unc"].values()) == 142_210
    assert sum(SENTENCES["refcoco+", "unc"].values()) == 141_564
    assert sum(SENTENCES["refcocog", "umd"].values()) == 95_010
    with caplog.at_level(logging.WARNING):
        found = read_refcoco(write(tmp_path, UNC), split="test")
    assert found.notes[0].startswith("5 sentences, but refcoco (unc) testA+testB has 10752")
    assert "10752" in caplog.text
    assert read_refcoco(write(tmp_path, UNC, dataset="mine")).notes == ()
    monkeypatch.setitem(SENTENCES, ("refcoco", "unc"), {"testA": 3, "testB": 2})
    assert read_refcoco(write(tmp_path, UNC), split="test").notes == ()


@pytest.mark.parametrize(
    "refs",
    [
        [], {}, 5, [1], [{"image_id": 1}], [{**UNC[0], "sentences": 3}], [{**UNC[0], "split": 4}],
        [{**UNC[0], "ann_id": None}], [{**UNC[0], "image_id": [1]}], [{**UNC[0], "ref_id": ()}],
        [{**UNC[0], "ann_id": [[]]}],
    ],
)  # fmt: skip
def test_another_form_is_an_error(tmp_path: Path, refs: Any) -> None:
    with pytest.raises(AnnotationError, match="holds no list of refs"):
        read_refcoco(write(tmp_path, refs), split="all")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"images": [1], "annotations": []}', "[" * 100_000]
)
def test_instances_of_another_form(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, UNC)
    (path.parent / "instances.json").write_text(text)
    with pytest.raises(AnnotationError, match=r"instances\.json"):
        read_refcoco(path)
    (path.parent / "instances.json").unlink()
    with pytest.raises(AnnotationError, match="belongs beside the refs file"):
        read_refcoco(path)


def test_a_nested_bomb_is_not_unfolded(tmp_path: Path) -> None:
    """Thirty lists in each other, each twice: small in memory, endless as text."""
    bomb: Any = []
    for _ in range(30):
        bomb = [bomb, bomb]
    with pytest.raises(AnnotationError):
        read_refcoco(write(tmp_path, [{**UNC[1], "split": bomb}]))
    sentences = [{"sent": bomb, "sent_id": bomb}, {"sent": "fine", "sent_id": 1}]
    found = read_refcoco(write(tmp_path, [{**UNC[1], "sentences": sentences}]))
    assert Counter(s.text for s in found.samples) == {"fine": 1}
