from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headsight.data.heads import READERS, read_coco, read_heads
from headsight.detections import Detections
from headsight.errors import AnnotationError, InputError
from headsight.geometry.rotations import matrix_to_ypr, ypr_to_matrix

DATA = Path(os.environ.get("HEADSIGHT_DATA", Path(__file__).parents[3] / "shared" / "data"))


def folder(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is not there; set HEADSIGHT_DATA")
    return DATA / name


def picture(path: Path, wh: tuple[int, int] = (200, 100)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", wh).save(path)
    return path


def coco_file(path: Path, annotations: list[dict[str, Any]]) -> Path:
    image = {"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}
    path.write_text(json.dumps({"images": [image], "annotations": annotations}))
    return path


def ypr(rotations: Any) -> Any:
    return matrix_to_ypr(rotations)[0]


def test_aflw2000_rows_of_a_made_folder(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels.csv").write_text(
        "image,yaw_deg,pitch_deg,roll_deg,lm_x0,lm_y0,lm_x1,lm_y1\nimages/a.jpg,10,-20,30,1,2,31,42\n"
    )
    (sample,) = READERS["aflw2000_sample"](tmp_path)
    assert sample.image == tmp_path / "images" / "a.jpg"
    assert sample.image_wh == (200, 100)
    assert sample.box_kind == "landmarks"
    np.testing.assert_array_equal(sample.boxes, [[1, 2, 31, 42]])
    np.testing.assert_allclose(ypr(sample.rotations), [[10, -20, 30]], atol=1e-9)


def test_panoptic_yaw_is_turned_round(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    row = {
        "image": "a.jpg",
        "box_xywh": [10, 20, 30, 40],
        "yaw_deg": -150.0,
        "pitch_deg": 5.0,
        "roll_deg": -7.0,
    }
    (tmp_path / "labels.json").write_text(json.dumps([row]))
    (sample,) = READERS["panoptic_sample"](tmp_path)
    np.testing.assert_array_equal(sample.boxes, [[10, 20, 40, 60]])
    np.testing.assert_allclose(ypr(sample.rotations), [[150, 5, -7]], atol=1e-9)


def test_hardhat_boxes_are_of_the_picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "b.jpg")
    rows = [
        {"image": "a.jpg", "boxes_cxcywh_norm": [[0.5, 0.5, 0.5, 0.5], [0.25, 0.75, 0.5, 0.25]]},
        {"image": "b.jpg", "boxes_cxcywh_norm": []},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps({"images": rows}))
    full, empty = READERS["hardhat_workers"](tmp_path)
    np.testing.assert_array_equal(full.boxes, [[50, 25, 150, 75], [0, 62.5, 100, 87.5]])
    assert np.isnan(full.rotations).all()
    assert full.words == "every head with a hard hat"
    assert empty.boxes.shape == (0, 4)
    assert empty.rotations.shape == (0, 3, 3)


def test_known_rows_of_the_real_sets() -> None:
    portraits = READERS["aflw2000_sample"](folder("aflw2000_sample"))
    assert len(portraits) == 15
    np.testing.assert_allclose(
        ypr(portraits[0].rotations)[0], [0.9390741, -4.663556, 5.635692], atol=1e-6
    )
    front, back = READERS["panoptic_sample"](folder("panoptic_sample"))
    # stored: yaw -5.4 and -174.8 in that repository's sign
    np.testing.assert_allclose(ypr(front.rotations)[0, 0], 5.416421, atol=1e-5)
    np.testing.assert_allclose(ypr(back.rotations)[0, 0], 174.772034, atol=1e-5)
    assert front.image_wh == (1920, 1080)
    np.testing.assert_array_equal(front.boxes, [[877, 120, 1145, 386]])


def test_hardhat_sizes_of_the_real_set() -> None:
    samples = READERS["hardhat_workers"](folder("hardhat_workers"))
    assert (len(samples), sum(len(s.boxes) for s in samples)) == (360, 935)


def test_coco_poses_rotations_and_crowds(tmp_path: Path) -> None:
    turned = ypr_to_matrix(np.array([170.0, 10.0, -20.0]))
    path = coco_file(
        tmp_path / "annotations.json",
        [
            {
                "image_id": 7,
                "bbox": [10, 20, 30, 40],
                "head_pose": {"yaw_deg": 1, "pitch_deg": 2, "roll_deg": 3},
            },
            {"image_id": 7, "bbox": [0, 0, 5, 5], "rotation": turned.tolist()},
            {"image_id": 7, "bbox": [50, 50, 10, 10]},
            {"image_id": 7, "bbox": [60, 0, 20, 20], "iscrowd": 1},
            {"image_id": 7, "bbox": [90, 0, 20, 20], "ignore": 1},
        ],
    )
    (sample,) = read_heads(str(tmp_path))
    assert sample == sample
    assert sample.image == path.parent / "a.jpg"
    np.testing.assert_array_equal(sample.boxes, [[10, 20, 40, 60], [0, 0, 5, 5], [50, 50, 60, 60]])
    np.testing.assert_allclose(ypr(sample.rotations)[:2], [[1, 2, 3], [170, 10, -20]], atol=1e-9)
    assert np.isnan(sample.rotations[2]).all()
    np.testing.assert_array_equal(sample.ignore, [[60, 0, 80, 20], [90, 0, 110, 20]])


def test_coco_round_trip_of_detections(tmp_path: Path) -> None:
    boxes = np.array([[10.0, 20, 40, 60], [1.5, 2.25, 3, 4]])
    rotations = ypr_to_matrix(np.array([[30.0, -10, 5], [-179.0, 0, 0]]))
    found = Detections(
        boxes,
        np.array([0.9, 0.5]),
        np.zeros(2, np.int64),
        ("head",),
        (200, 100),
        rotations=rotations,
    )
    (sample,) = read_coco(coco_file(tmp_path / "x.json", found.to_coco(image_id=7)))
    np.testing.assert_array_equal(sample.boxes, boxes)
    np.testing.assert_allclose(sample.rotations, rotations, atol=1e-12)


def test_a_picture_without_heads(tmp_path: Path) -> None:
    (sample,) = read_coco(coco_file(tmp_path / "x.json", []))
    assert sample.boxes.shape == sample.ignore.shape == (0, 4)
    assert sample.rotations.shape == (0, 3, 3)


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        "{}",
        '{"images": [], "annotations": [{"bbox": [1, 2, 3, 4]}]}',
        '{"images": [{"id": 1}], "annotations": []}',
        '{"images": [{"id": 1, "file_name": "a", "width": "wide", "height": 1}], "annotations": []}',
        '{"images": [{"id": 1, "file_name": "a", "width": 9, "height": 9}],'
        ' "annotations": [{"image_id": 1, "bbox": [1, 2, 3]}]}',
        '{"images": [{"id": 1, "file_name": "a", "width": 9, "height": 9}],'
        ' "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4], "head_pose": {"yaw": 1}}]}',
        '{"images": [{"id": 1, "file_name": "a", "width": 9, "height": 9}],'
        ' "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4], "rotation": [1, 0, 0]}]}',
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=r"bad\.json is not a COCO file"):
        read_heads(str(path))


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_missing_set_says_where_it_was_looked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSIGHT_DATA", str(tmp_path))
    with pytest.raises(InputError, match="HEADSIGHT_DATA"):
        read_heads(name)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match="aflw2000_sample"):
        read_heads("aflw")


@pytest.mark.parametrize("name", sorted(READERS))
def test_broken_labels_of_a_named_set(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSIGHT_DATA", str(tmp_path))
    place = tmp_path / name
    place.mkdir()
    for file in ("labels.csv", "labels.json", "boxes.json"):
        (place / file).write_text('image,yaw_deg\n[{"torn')
    with pytest.raises(AnnotationError, match=name):
        read_heads(name)
