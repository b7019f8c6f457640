"""What each reader makes of a made file, worked by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_sets import (
    KNOWN_LABELS,
    agora_joints,
    face_landmarks,
    pickled_table,
    posed_points,
    save_mat,
)

from headsight.data.agora import intrinsics_of, read_agora
from headsight.data.biwi import read_biwi
from headsight.data.crowdhuman import read_crowdhuman
from headsight.data.head_folder import LeftOut
from headsight.data.heads import HeadSample
from headsight.data.panoptic import read_panoptic
from headsight.data.pose_mat import read_300w_lp, read_aflw2000
from headsight.data.ref_sample import Problem
from headsight.data.wider_face import read_wider_face
from headsight.errors import AnnotationError
from headsight.geometry.head_fit import fit_head, helmet_box
from headsight.geometry.rotations import matrix_to_ypr


def ypr(sample: HeadSample) -> Any:
    return np.asarray(matrix_to_ypr(sample.rotations)[0])


# --- boxes alone --------------------------------------------------------------------------------


def test_crowdhuman_heads_to_learn_and_places_to_leave(made_set: Callable[[str], Path]) -> None:
    crowd, one = read_crowdhuman(made_set("crowdhuman")).samples()
    np.testing.assert_array_equal(crowd.boxes, [[100, 50, 180, 150], [960, 0, 1000, 70]])
    np.testing.assert_array_equal(
        crowd.ignore, [[300, 50, 380, 150], [500, 50, 580, 150], [700, 10, 740, 100]]
    )
    assert crowd.left_out == {"ignored": 1, "unsure": 1, "mask": 1}
    assert np.isnan(crowd.rotations).all()
    assert len(one.boxes) == 1
    assert list(read_crowdhuman(one.image.parents[1]).items) == ["train"]


def test_a_torn_line_is_told_by_its_number(made_set: Callable[[str], Path]) -> None:
    folder = made_set("crowdhuman")
    path = folder / "annotation_train.odgt"
    first, _ = path.read_text().splitlines()
    path.write_text(first + "\n\n" + first[:100])
    good, torn = read_crowdhuman(folder)
    assert isinstance(good, HeadSample)
    assert isinstance(torn, Problem)
    assert "annotation_train.odgt line 2 is torn" in torn.error


def test_wider_faces_and_the_heads_around_them(made_set: Callable[[str], Path]) -> None:
    parade, empty = read_wider_face(made_set("wider_face")).samples()
    np.testing.assert_array_equal(parade.boxes, [[449, 330, 571, 479], [361, 98, 461, 198]])
    np.testing.assert_array_equal(parade.ignore, [[10, 10, 14, 15]])
    # a head has 0.148 of the width more at each side, 0.288 of the height above, 0.02 below
    assert parade.head_boxes is not None
    np.testing.assert_allclose(parade.head_boxes[1], [346.2, 69.2, 475.8, 200])
    assert (parade.box_kind, parade.left_out) == ("face", {"invalid": 1})
    assert empty.boxes.shape == (0, 4)


def test_a_wider_file_that_breaks_off(made_set: Callable[[str], Path]) -> None:
    folder = made_set("wider_face")
    path = folder / "wider_face_split" / "wider_face_val_bbx_gt.txt"
    path.write_text(path.read_text() + "3 4 5 6 0 0 0 0 0 0\n")
    with pytest.raises(AnnotationError, match=r"line 9 is '3 4 5 6.*name of a picture"):
        read_wider_face(folder)


# --- portraits ----------------------------------------------------------------------------------


def test_a_frontal_portrait(made_set: Callable[[str], Path]) -> None:
    """10 px a unit: an ellipsoid of half axes 10, 12.5 around (0, 5) above the middle (225, 225)."""
    portrait, turned = read_aflw2000(made_set("aflw2000"))
    assert isinstance(portrait, HeadSample)
    np.testing.assert_allclose(portrait.rotations[0], np.eye(3), atol=1e-6)
    points = face_landmarks()
    np.testing.assert_allclose(portrait.boxes[0], [*points.min(0), *points.max(0)], atol=1e-4)
    assert portrait.head_boxes is not None
    np.testing.assert_allclose(portrait.head_boxes[0], [125, 50, 325, 300], atol=1e-3)
    assert turned == LeftOut("image00004.mat", "an angle beyond 99 degrees")


def test_300w_lp_has_a_split_a_folder_and_no_landmark_files(
    made_set: Callable[[str], Path],
) -> None:
    found = read_300w_lp(made_set("300w_lp"))
    assert {split: len(items) for split, items in found.items.items()} == {"AFW": 1, "AFW_Flip": 1}
    straight, flipped = found.samples()
    np.testing.assert_allclose(ypr(straight), [[30, 10, 0]], atol=1e-4)
    np.testing.assert_allclose(ypr(flipped), [[-30, 10, 0]], atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Pose_Para": None}, "has no Pose_Para with pitch, yaw and roll; it holds pt3d_68, roi"),
        ({"Pose_Para": np.zeros((1, 2))}, "has no Pose_Para"),
        ({"Pose_Para": np.full((1, 7), np.nan)}, "has no Pose_Para"),
        ({"pt3d_68": np.zeros((3, 21))}, "has no 68 landmarks"),
        ({"pt3d_68": None}, "has no 68 landmarks"),
    ],
)
def test_mat_files_of_another_kind(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    save_mat(tmp_path / "image00002.mat", (0, 0, 0), face_landmarks(), **fields)
    [problem] = read_aflw2000(tmp_path)
    assert isinstance(problem, Problem)
    assert message in problem.error


# --- BIWI: real numbers -------------------------------------------------------------------------


def test_a_frame_of_biwi(made_set: Callable[[str], Path]) -> None:
    """Its published angles and the middle of its published face box, (336.5, 227)."""
    [sample] = read_biwi(made_set("biwi")).samples()
    np.testing.assert_allclose(ypr(sample), [[9.327469, -0.404924, -6.394386]], atol=1e-4)
    middle = (sample.boxes[0, :2] + sample.boxes[0, 2:]) / 2
    np.testing.assert_allclose(middle, (336.5, 227), atol=8)
    # 120 mm at a depth of 893.55 mm under a focal length of 517.68 px, on both sides
    side = sample.boxes[0, 2] - sample.boxes[0, 0]
    assert side == pytest.approx(2 * 120 * 517.679 / 893.554, abs=1e-2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("frame_00003_pose.txt", "1 0 0\n0 1 0\n0 0 1\n", "holds 9 numbers, but 12"),
        ("frame_00003_pose.txt", "2 0 0\n0 1 0\n0 0 1\n\n1 2 900\n", "no rotation matrix"),
        ("frame_00003_pose.txt", "-1 0 0\n0 1 0\n0 0 1\n\n1 2 900\n", "no rotation matrix"),
        ("frame_00003_pose.txt", "1 0 0\n0 1 0\n0 0 x\n\n1 2 900\n", "more than numbers"),
        ("frame_00003_pose.txt", "1 0 0\n0 1 0\n0 0 1\n\n1 2 -900\n", "behind the camera"),
        ("rgb.cal", "517 0 320\n", "holds 3 numbers, but 25"),
        ("rgb.cal", None, "The calibration"),
    ],
)
def test_biwi_files_of_another_shape(
    made_set: Callable[[str], Path], name: str, text: str | None, message: str
) -> None:
    folder = made_set("biwi")
    path = folder / "hpdb" / "12" / name
    path.unlink() if text is None else path.write_text(text)
    [problem] = read_biwi(folder)
    assert isinstance(problem, Problem)
    assert message in problem.error


# --- face points in 3D --------------------------------------------------------------------------


def test_labels_of_panoptic_are_those_of_the_rules(made_set: Callable[[str], Path]) -> None:
    samples = read_panoptic(made_set("panoptic")).samples()
    for sample, (angles, _, box) in zip(samples, KNOWN_LABELS, strict=True):
        np.testing.assert_allclose(ypr(sample), [angles], atol=1e-6)
        x, y, width, height = box
        np.testing.assert_array_equal(sample.boxes, [[x, y, x + width, y + height]])
        assert sample.box_kind == "around"


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    whole = json.loads(path.read_text())
    change(whole)
    path.write_text(json.dumps(whole))


def test_distortion_of_panoptic_is_read_in_opencvs_order(
    made_set: Callable[[str], Path],
) -> None:
    """k1, k2, p1, p2, k3, each so large and different that another order gives another box."""
    coefficients = (3.0, 90.0, 0.5, -0.2, 4000.0)
    folder = made_set("panoptic")
    path = folder / "171026_pose3" / "calibration_171026_pose3.json"
    edit_json(path, lambda w: w["cameras"][1].update(distCoef=list(coefficients)))
    found = read_panoptic(folder).samples()[1].boxes
    angles, place, _ = KNOWN_LABELS[1]
    fit = fit_head(posed_points(angles, place))
    k = np.array([[1400.0, 0, 640], [0, 1400, 360], [0, 0, 1]])
    boxes = {
        order: helmet_box(fit, k, (1280, 720), distortion=order)[0].tolist()
        for order in permutations(coefficients)
    }
    np.testing.assert_array_equal(found[0], boxes[coefficients])
    assert sum(box == boxes[coefficients] for box in boxes.values()) == 1


def test_a_frame_with_an_unlabelled_face_is_left_out(made_set: Callable[[str], Path]) -> None:
    folder = made_set("panoptic")
    path = folder / "171026_pose3" / "hdFace3d" / "faceRecon3D_hd00000060.json"
    edit_json(path, lambda w: w["people"][0]["face70"].update(averageScore=[0.1] * 70))
    good, left_out, other = read_panoptic(folder)
    assert isinstance(good, HeadSample)
    assert isinstance(other, HeadSample)
    assert left_out == LeftOut("00_00_00000060", "a face that cannot be labelled")
    edit_json(path, lambda w: w.update(people=[]))
    assert list(read_panoptic(folder))[1] == LeftOut("00_00_00000060", "no head in the picture")


def test_panoptic_without_what_it_needs(made_set: Callable[[str], Path]) -> None:
    folder = made_set("panoptic")
    sequence = folder / "171026_pose3"
    calibration = sequence / "calibration_171026_pose3.json"
    edit_json(calibration, lambda w: w["cameras"].pop())  # the only HD camera
    problem = next(iter(read_panoptic(folder)))
    assert isinstance(problem, Problem)
    assert "is of camera 00_00, which the calibration does not know" in problem.error
    edit_json(calibration, lambda w: w["cameras"][0].update(type="hd", distCoef=[1]))
    with pytest.raises(AnnotationError, match="distCoef"):
        read_panoptic(folder)
    calibration.unlink()
    with pytest.raises(AnnotationError, match=r"holds no calibration_\*.json"):
        read_panoptic(folder)


def test_panoptic_without_pictures_tells_how_to_get_them(made_set: Callable[[str], Path]) -> None:
    folder = made_set("panoptic")
    for path in folder.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(AnnotationError, match="hdImgsExtractor"):
        read_panoptic(folder)


def test_agora_focal_lengths() -> None:
    """Sensor 36 x 20.25 mm: 50 mm on 1280 x 720 are 1777.8 px, 18 mm 640, 28 mm 995.6."""
    for word, focal in (("hdri_50mm", 1777.778), ("archviz_5_10_cam02", 640), ("flowers", 995.556)):
        k = intrinsics_of(f"ag_trainset_{word}_00001.png", (1280, 720))
        np.testing.assert_allclose(k, [[focal, 0, 640], [0, focal, 360], [0, 0, 1]], atol=1e-3)
    assert intrinsics_of("hdri", (3840, 2160))[0, 0] == pytest.approx(5333.333, abs=1e-3)


def test_agora_heads_and_the_hidden_one(made_set: Callable[[str], Path]) -> None:
    """A ball of radius 1.3 x 18 cm, 1777.8 px of focal length: its outline, by its tangents."""
    sample, left_out = read_agora(made_set("agora"))
    assert isinstance(sample, HeadSample)
    np.testing.assert_allclose(ypr(sample), [[20, 10, 30], [0, 0, 0]], atol=1e-6)
    assert sample.left_out == {"hidden": 1}
    # the second head is at (120, -10, 400); the ball's middle lies 1.3 x 5 above, 1.3 x 5 behind
    middle, radius = np.array((120, -10 - 6.5, 400 + 6.5)), 1.3 * 18
    expected = []
    for axis, centre in ((0, 640), (1, 360)):
        place, depth = middle[axis], middle[2]
        angle, half = np.arctan2(place, depth), np.arcsin(radius / np.hypot(place, depth))
        expected.append(1777.778 * np.tan([angle - half, angle + half]) + centre)
    (x1, x2), (y1, y2) = expected
    # the ball is drawn by points 10 degrees apart, so its box is up to 1.5 % of a side smaller
    assert (np.abs(sample.boxes[1] - [x1, y1, x2, y2]) < 4).all()
    assert isinstance(left_out, LeftOut)
    assert left_out.reason == "no head that can be labelled"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gt_joints_3d": None}, "has no column gt_joints_3d; it has imgPath, occlusion"),
        ({"gt_joints_3d": [[np.zeros((45, 3))]]}, "joints of the shapes [(45, 3)], but 127 x 3"),
    ],
)
def test_agora_tables_without_smplx_joints(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    table = {
        "imgPath": ["a.png"],
        "occlusion": [[0.0]],
        "gt_joints_3d": [[agora_joints(np.zeros((14, 3)))]],
        **change,
    }
    whole = {name: column for name, column in table.items() if column is not None}
    (tmp_path / "train_0_withjv.pkl").write_bytes(pickled_table(whole))
    with pytest.raises(AnnotationError) as caught:
        read_agora(tmp_path)
    assert message in str(caught.value)
