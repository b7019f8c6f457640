"""The result type: what it accepts, how it is cut, and how it travels."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headsight.detections import Detections, Exchange
from headsight.errors import AnnotationError, InputError, MissingExtraError
from headsight.export import mask_to_rle, rle_to_mask
from headsight.geometry.region_maps import RegionMap
from headsight.geometry.rotations import ypr_to_matrix
from headsight.picture import Picture


def two(**changes: Any) -> Detections:
    """A head that was read and one that was not."""
    rotations = np.stack([ypr_to_matrix(np.array([30.0, -10.0, 5.0])), np.full((3, 3), np.nan)])
    made = Detections(
        np.array([[10.0, 20.0, 50.0, 80.0], [60.5, 20.25, 90.0, 70.0]]),
        np.array([0.9, 0.25]),
        np.array([0, 1]),
        ("head", "hat"),
        (100, 90),
        rotations=rotations,
        attributes={"reading": ("strict", None), "sure": (0.5, 1.0)},
        exchanges=(Exchange("Where?", "[[1]]", {"strict": True, "failure": None}),),
    )
    return replace(made, **changes)


def full(**changes: Any) -> Detections:
    masks = np.zeros((2, 90, 100), bool)
    masks[0, 20:80, 10:50] = True
    keypoints = np.array([[[1.0, 2.0, 2.0], [0.0, 0.0, 0.0]], [[3.5, 4.0, 1.0], [5.0, 6.0, 2.0]]])
    return two(masks=masks, keypoints=keypoints, **changes)


def test_poses() -> None:
    poses = two().poses
    np.testing.assert_allclose(poses[0], [30, -10, 5], atol=1e-9)
    assert np.isnan(poses[1]).all()
    assert np.isnan(two(rotations=None).poses).all()
    assert two().names == ("head", "hat")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boxes": np.zeros((2, 3))}, "boxes has shape"),
        ({"boxes": np.zeros((3, 4))}, "scores has shape"),
        ({"scores": np.zeros((2, 1))}, "scores has shape"),
        ({"labels": np.zeros(1, int)}, "labels has shape"),
        ({"rotations": np.zeros((2, 3))}, "rotations has shape"),
        ({"keypoints": np.zeros((2, 5, 2))}, "keypoints has shape"),
        ({"masks": np.zeros((2, 100, 90), bool)}, "masks has shape"),
        ({"attributes": {"a": (1,)}}, "1 values for 2"),
        ({"attributes": {"box": (1, 2)}}, "may not be called"),
        ({"boxes": np.array([[0, 0, 1, np.nan], [0, 0, 1, 1]])}, "NaN"),
        ({"boxes": np.array([[0, 0, 1, np.inf], [0, 0, 1, 1]])}, "infinite"),
        ({"boxes": np.array([[0.0, 0, 1, 1], [5.0, 0, 4, 1]])}, "inside out"),
        ({"scores": np.array([0.5, 1.5])}, "must be in"),
        ({"scores": np.array([0.5, np.nan])}, "must be in"),
        ({"labels": np.array([0, 2])}, "label_names"),
        ({"labels": np.array([0, -1])}, "label_names"),
        ({"image_wh": (0, 90)}, "at least one pixel"),
    ],
)
def test_bad_values(changes: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # as users have it: without the type checker that the tests run under
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(InputError, match=words):
        two(**changes)


def test_nobody_changes_it() -> None:
    boxes = two().boxes.copy()
    made = two(boxes=boxes)
    boxes[:] = 7
    assert made == two()
    with pytest.raises(ValueError, match="read-only"):
        made.boxes[0, 0] = 7
    with pytest.raises(FrozenInstanceError):
        made.scores = boxes  # type: ignore[misc]


def test_equality() -> None:
    assert full() == full()
    assert full() != two()
    assert two() != two(scores=np.array([0.9, 0.26]))
    assert two() != two(attributes={})
    assert two() != two(rotations=None)
    assert two() != "two"


def test_picking() -> None:
    whole = full()
    assert whole[0] == whole[:1] == whole[[0]] == whole[np.array([True, False])] == whole[-2]
    assert whole[np.array([1, 0])][np.array([1, 0])] == whole
    assert [len(one) for one in whole] == [1, 1]
    assert whole[1].attributes == {"reading": (None,), "sure": (1.0,)}
    assert whole.with_min_score(0.9) == whole[0]
    assert len(whole.with_min_score(0.95)) == 0
    assert whole[0].exchanges == whole.exchanges
    with pytest.raises(IndexError):
        whole[2]


def test_none_found() -> None:
    none = Detections.empty((640, 480))
    assert len(none) == 0
    assert list(none) == []
    assert none.poses.shape == (0, 3)
    assert none[np.zeros(0, int)] == none == none.with_min_score(0.0)
    assert none.to_coco() == []
    assert Detections.from_json(none.to_json()) == none
    assert repr(none) == "Detections: 0 places in a picture of 640 x 480"
    assert two()[[]].rotations is not None


def test_to_dict() -> None:
    document = two().to_dict()
    assert document["schema"] == "headsight.detections/1"
    assert document["image_wh"] == [100, 90]
    assert document["source"] is None
    assert document["places"] == [
        {
            "box": [10.0, 20.0, 50.0, 80.0],
            "score": 0.9,
            "label": "head",
            "pose": {"yaw_deg": 30.0, "pitch_deg": -10.0, "roll_deg": 5.0},
            "reading": "strict",
            "sure": 0.5,
        },
        {
            "box": [60.5, 20.25, 90.0, 70.0],
            "score": 0.25,
            "label": "hat",
            "pose": None,
            "reading": None,
            "sure": 1.0,
        },
    ]
    assert "pose" not in two(rotations=None).to_dict()["places"][0]


def test_numpy_and_nan_become_plain() -> None:
    odd = two(attributes={"a": (np.float32(0.5), float("nan")), "b": (np.arange(2), ("x", 1))})
    places = json.loads(odd.to_json())["places"]
    assert [places[0]["a"], places[1]["a"]] == [0.5, None]
    assert [places[0]["b"], places[1]["b"]] == [[0, 1], ["x", 1]]


@settings(max_examples=20)
@given(
    poses=st.lists(
        st.none() | st.tuples(st.integers(-179, 180), st.integers(-89, 89), st.integers(-89, 89)),
        min_size=1,
        max_size=4,
    ),
    words=st.text(max_size=8),
)
def test_round_trip(poses: list[tuple[int, int, int] | None], words: str) -> None:
    """Whole degrees away from +-90 yaw survive being written."""
    rotations = np.stack(
        [
            np.full((3, 3), np.nan)
            if pose is None or abs(pose[0]) == 90
            else ypr_to_matrix(np.array(pose, np.float64))
            for pose in poses
        ]
    )
    number = len(poses)
    made = Detections(
        np.tile([1.5, 2.0, 3.0, 4.125], (number, 1)),
        np.full(number, 0.5),
        np.zeros(number, np.int64),
        (words,),
        (9, 9),
        rotations=rotations,
    )
    again = Detections.from_json(made.to_json())
    assert again.to_dict() == made.to_dict()
    np.testing.assert_allclose(again.rotations, rotations, atol=1e-9)


def test_round_trip_of_everything() -> None:
    assert Detections.from_json(full().to_json(indent=2)).to_dict() == full().to_dict()
    again = Detections.from_dict(full().to_dict())
    assert again.masks is not None
    np.testing.assert_array_equal(again.masks, full().masks)
    np.testing.assert_array_equal(again.keypoints, full().keypoints)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[]", "schema"),
        ('{"schema": "other/1"}', "'other/1'"),
        ('{"schema": "headsight.detections/1"}', "KeyError"),
        (two().to_json().replace('"hat"', '"cap"', 1), "ValueError"),
        (two().to_json().replace('"score": 0.25', '"score": 2.5'), "must be in"),
        (two().to_json().replace("60.5", '"x"', 1), "ValueError"),
    ],
)
def test_foreign_documents(text: str, words: str) -> None:
    with pytest.raises(AnnotationError, match=words):
        Detections.from_json(text)


def test_to_coco() -> None:
    read, unread = full().to_coco(image_id=7)
    assert read["image_id"] == unread["image_id"] == 7
    assert (read["category_id"], unread["category_id"]) == (1, 2)
    assert read["bbox"] == [10.0, 20.0, 40.0, 60.0]
    assert read["score"] == 0.9
    assert read["head_pose"] == {"yaw_deg": 30.0, "pitch_deg": -10.0, "roll_deg": 5.0}
    np.testing.assert_allclose(read["rotation"], ypr_to_matrix(np.array([30.0, -10.0, 5.0])))
    assert "head_pose" not in unread
    assert "rotation" not in unread
    assert read["keypoints"] == [1, 2, 2, 0, 0, 0]
    assert rle_to_mask(read["segmentation"]).sum() == read["area"] == 40 * 60
    assert "mask_kind" not in read
    json.dumps([read, unread], allow_nan=False)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_masks_in_coco_as_its_own_tools_read_them() -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools.cocoeval import COCOeval

    found = full(attributes={"mask_kind": ("segmenter", "coarse-box")})
    assert found.masks is not None
    results = json.loads(json.dumps(found.to_coco(image_id=7)))
    assert [r["mask_kind"] for r in results] == ["segmenter", "coarse-box"]
    truth = coco.COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": 7, "width": 100, "height": 90}],
        "categories": [{"id": 1, "name": "head"}, {"id": 2, "name": "hat"}],
        "annotations": [{**r, "id": n, "iscrowd": 0} for n, r in enumerate(results[:1], 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        read = truth.loadRes([dict(r) for r in results])
        judged = COCOeval(truth, read, "segm")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    for annotation, mask in zip(read.dataset["annotations"], found.masks, strict=True):
        np.testing.assert_array_equal(read.annToMask(annotation).astype(bool), mask)
    assert judged.stats[0] == pytest.approx(1)


def test_masks_in_json_are_one_short_string() -> None:
    place = full().to_dict()["places"][0]
    assert place["mask"]["size"] == [90, 100]
    assert isinstance(place["mask"]["counts"], str)
    assert len(json.dumps(place["mask"])) < 200
    np.testing.assert_array_equal(rle_to_mask(place["mask"]), full().masks[0])


def test_which_masks_are_coarse() -> None:
    kinds = {"mask_kind": ("coarse-attention", "segmenter")}
    assert full(attributes=kinds).is_coarse.tolist() == [True, False]
    assert full().is_coarse.tolist() == [False, False]
    assert Detections.empty((9, 9)).is_coarse.shape == (0,)
    assert repr(full(attributes=kinds)).splitlines()[2].endswith("  2400 px (coarse)")
    assert repr(full()).splitlines()[2].endswith("  2400 px")


def test_the_map_is_neither_compared_nor_saved() -> None:
    looked = full(heat=RegionMap(np.eye(2), (0.0, 0.0, 100.0, 90.0)))
    assert looked == full()
    assert looked[0].heat is looked.heat
    assert looked.to_dict() == full().to_dict()


@settings(max_examples=50)
@given(st.lists(st.booleans(), min_size=12, max_size=12))
def test_rle(bits: list[bool]) -> None:
    mask = np.array(bits).reshape(3, 4)
    rle = mask_to_rle(mask)
    assert sum(rle["counts"]) == 12
    np.testing.assert_array_equal(rle_to_mask(rle), mask)


def test_rle_known_answer() -> None:
    # COCO reads down the columns and begins with the zeros, here none
    assert mask_to_rle(np.array([[True, False], [True, True]])) == {
        "size": [2, 2],
        "counts": [0, 2, 1, 1],
    }
    with pytest.raises(InputError, match="add up to 3"):
        rle_to_mask({"size": [2, 2], "counts": [1, 2]})


def test_to_supervision() -> None:
    pytest.importorskip("supervision", reason="the extra 'supervision' is not installed")
    found = full().to_supervision()
    np.testing.assert_array_equal(found.xyxy, full().boxes.astype(np.float32))
    np.testing.assert_allclose(found.confidence, [0.9, 0.25])
    assert found.data["class_name"].tolist() == ["head", "hat"]
    np.testing.assert_allclose(found.data["ypr_deg"][0], [30, -10, 5], atol=1e-9)
    assert found.mask.sum() == 40 * 60
    assert found.data["reading"].tolist() == ["strict", None]
    assert found[found.data["sure"] == 0.5].mask.sum() == 40 * 60
    assert len(found[found.confidence > 0.5]) == 1
    assert len(Detections.empty((9, 9)).to_supervision()) == 0


def test_without_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"headsight\[supervision\]"):
        two().to_supervision()


def test_table() -> None:
    assert repr(two()).splitlines() == [
        "Detections: 2 places in a picture of 100 x 90",
        "  label  score  x1  y1  x2  y2  yaw  pitch  roll",
        "  head    0.90  10  20  50  80   30    -10     5",
        "  hat     0.25  60  20  90  70    -      -     -",
    ]
    assert "yaw" not in repr(two(rotations=None))
    assert repr(two()[np.zeros(50, int)]).endswith("... and 30 more")


def test_notebook() -> None:
    assert two()._repr_png_() is None
    with pytest.raises(InputError, match="hold no picture"):
        two().draw()
    shown = two(picture=Picture(Image.new("RGB", (100, 90)), "a.png"))
    assert "a.png" in repr(shown)
    png = shown._repr_png_()
    assert png is not None
    assert Image.open(io.BytesIO(png)).size == (480, 432)  # enlarged for the screen
    assert shown.draw().size == (100, 90)
