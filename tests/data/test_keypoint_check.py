"""What is wrong with a file of keypoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from headsight.data.coco_keypoints import keypoint_set
from headsight.data.keypoint_check import check_keypoints
from headsight.data.keypoints import KeypointSet


def labels(folder: Path, *boxes: Any) -> KeypointSet:
    """A cup in each picture, its two points at (20, 20) and (40, 30)."""
    for n in range(len(boxes)):
        Image.new("RGB", (100, 80)).save(folder / f"{n}.png")
    whole = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": 100, "height": 80}
            for n in range(len(boxes))
        ],
        "annotations": [
            {
                "id": n, "image_id": n, "category_id": 1, "bbox": box,
                "keypoints": [20, 20, 2, 40, 30, 1],
            }
            for n, box in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "cup", "keypoints": ["rim", "handle"]}],
    }  # fmt: skip
    return keypoint_set(whole, folder / "l.json")


BOX = [10, 10, 50, 50]


def test_a_good_file(tmp_path: Path) -> None:
    seen: list[int] = []
    result = check_keypoints(labels(tmp_path, BOX, BOX), on_picture=lambda: seen.append(1))
    assert result.is_good
    assert (result.usable, len(seen)) == (2, 2)
    assert result.to_dict() == {
        "kind": "keypoints",
        "is_good": True,
        "categories": {"cup": {"instances": 2, "keypoints": 2, "labelled": 4, "usable": 2}},
        "left_out": {},
        "notes": [],
        "problems": [],
    }


def test_missing_broken_and_wrong_pictures(tmp_path: Path) -> None:
    found = labels(tmp_path, BOX, BOX, BOX, BOX)
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").write_text("no picture")
    Image.new("RGB", (10, 10)).save(tmp_path / "2.png")
    result = check_keypoints(found)
    assert [Path(p.id).name for p in result.problems] == ["0.png", "1.png", "2.png"]
    assert result.problems[0].error.startswith("The picture is missing. Fetch it")
    assert (
        "The picture is 10 x 10, but its labels are of one of 100 x 80" in result.problems[2].error
    )
    assert result.usable == 1
    assert check_keypoints(found, decode=False).usable == 3


def test_points_that_are_not_in_their_box(tmp_path: Path) -> None:
    """One of two outside is not most; both are."""
    half, none = [10, 10, 15, 15], [60, 50, 20, 20]
    assert check_keypoints(labels(tmp_path, half)).notes == ()
    result = check_keypoints(labels(tmp_path, half, none))
    assert result.is_good
    assert result.notes[0].startswith("1 instances have most points outside their box, such as 1:")
