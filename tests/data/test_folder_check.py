"""What is wrong with a folder is found, and counted beside the published numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_sets import crowdhuman_line, face_landmarks, save_mat, save_picture

from headsight.data.folder_check import check_heads
from headsight.data.head_kinds import KINDS, open_heads


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_set_is_good_and_counted(kind: str, made_set: Callable[[str], Path]) -> None:
    calls: list[int] = []
    found = open_heads(made_set(kind))
    result = check_heads(found, on_picture=lambda: calls.append(1))
    assert result.is_good
    assert len(calls) == len(found)
    samples = found.samples()
    assert result.usable == len(samples)
    parts = {name: row for name, row in result.splits.items() if name != "all"}
    assert sum(row["heads"] for row in parts.values()) == sum(len(s.boxes) for s in samples)
    assert sum(row["labelled"] for row in parts.values()) == len(found)
    assert json.loads(json.dumps(result.to_dict()))["is_good"] is True


def test_counts_stand_beside_the_published_ones(made_set: Callable[[str], Path]) -> None:
    result = check_heads(open_heads(made_set("agora_hpe")))
    assert result.splits["train"] == {
        "labelled": 1, "pictures": 1, "heads": 2, "poses": 2,
        "published_labelled": 14_408, "published_heads": 105_046,
    }  # fmt: skip
    assert result.notes[0].startswith("train: 1 labelled pictures, but 14408 are published")
    whole = check_heads(open_heads(made_set("300w_lp"))).splits
    assert whole["all"]["labelled"] == 2
    assert whole["all"]["published_labelled"] == 122_450


def test_broken_and_wrong_pictures(made_set: Callable[[str], Path]) -> None:
    folder = made_set("crowdhuman")
    cut, other = sorted((folder / "Images").iterdir())
    cut.write_bytes(cut.read_bytes()[:700])
    quick = check_heads(open_heads(folder), decode=False)
    assert quick.is_good  # its header is whole
    result = check_heads(open_heads(folder))
    assert [p.id for p in result.problems] == [str(cut)]
    assert "damaged or cut off" in result.problems[0].error
    assert (result.is_good, result.usable) == (False, 1)
    other.write_text("not a picture")
    assert check_heads(open_heads(folder)).usable == 0


def test_a_picture_of_another_size_than_its_labels(made_set: Callable[[str], Path]) -> None:
    folder = made_set("cmu_hpe")
    save_picture(folder / "images" / "all" / "1000000001.jpg", (640, 360))
    [problem] = check_heads(open_heads(folder)).problems
    assert "is 640 x 360, but its labels are of one of 1280 x 720" in problem.error


def edit_annotations(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    for path in (folder / "annotations").iterdir():
        whole = json.loads(path.read_text())
        for annotation in whole["annotations"]:
            change(annotation)
        path.write_text(json.dumps(whole))


def test_boxes_outside_their_picture(made_set: Callable[[str], Path]) -> None:
    folder = made_set("agora_hpe")
    edit_annotations(folder, lambda a: a.update(bbox=[1200, 10, 90, 90]))
    [warning] = check_heads(open_heads(folder)).warnings
    assert warning.startswith("4 boxes reach outside their pictures")


def test_angles_in_radians(made_set: Callable[[str], Path]) -> None:
    folder = made_set("agora_hpe")
    path = folder / "annotations" / "coco_style_train.json"
    whole = json.loads(path.read_text())
    whole["annotations"] = whole["annotations"] * 5
    path.write_text(json.dumps(whole))
    assert check_heads(open_heads(folder)).is_good
    edit_annotations(
        folder, lambda a: a.update(euler_angles=np.deg2rad(a["euler_angles"]).tolist())
    )
    [warning] = check_heads(open_heads(folder)).warnings
    assert "The angles look like radians: of 12 poses none is beyond 2.97 degrees" in warning


def test_mat_angles_in_degrees(tmp_path: Path) -> None:
    for number in range(3):
        path = tmp_path / f"image0000{number}.mat"
        save_mat(path, np.rad2deg((20.0, 10, 5)).tolist(), face_landmarks())
    result = check_heads(open_heads(tmp_path))
    assert result.left_out == {"an angle beyond 99 degrees": 3}
    assert "Pose_Para looks like degrees" in result.warnings[0]
    assert result.warnings[1] == "Not one pose was read."


def test_what_the_protocol_leaves_out_is_no_fault(made_set: Callable[[str], Path]) -> None:
    result = check_heads(open_heads(made_set("aflw2000")))
    assert result.left_out == {"an angle beyond 99 degrees": 1}
    assert result.splits == {
        "test": {
            "labelled": 2, "pictures": 1, "heads": 1, "poses": 1, "published_labelled": 2_000
        }
    }  # fmt: skip
    assert result.is_good


def test_a_head_wholly_outside_is_counted(tmp_path: Path) -> None:
    line = crowdhuman_line("a", [{"hbox": [-50, 0, 40, 40]}, {"hbox": [5, 5, 40, 40]}])
    (tmp_path / "annotation_val.odgt").write_text(line)
    save_picture(tmp_path / "a.jpg", (100, 100))
    result = check_heads(open_heads(tmp_path))
    assert result.left_out == {"outside the picture": 1}
    assert result.splits["val"]["heads"] == 1
