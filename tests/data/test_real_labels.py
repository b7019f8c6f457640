"""The readers on real labels: stored angles come back to 0.1 degree, full turns included."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_sets import BIWI_CALIBRATION, posed_points, save_mat, save_panoptic, save_picture

from headsight.data.biwi import read_biwi
from headsight.data.heads import HeadSample, read_heads
from headsight.data.panoptic import read_panoptic
from headsight.data.pose_mat import MOST_DEG, read_aflw2000
from headsight.geometry.rotations import (
    geodesic_deg,
    matrix_to_ypr,
    wrap_deg,
    ypr_from,
    ypr_to_matrix,
)

DATA = Path(os.environ.get("HEADSIGHT_DATA", Path(__file__).parents[3] / "shared" / "data"))
CLOSE_DEG = 0.1


def table(name: str) -> dict[str, Any]:
    file = DATA / "headpose_label_tables" / name
    if not file.exists():
        pytest.skip(f"label tables not found: {file} (set HEADSIGHT_DATA)")
    with np.load(file) as stored:
        return {key: stored[key] for key in stored.files}


def ypr(sample: HeadSample) -> Any:
    return np.asarray(matrix_to_ypr(sample.rotations)[0])


def furthest(found: Any, stored: Any) -> float:
    return float(np.abs(wrap_deg(np.asarray(found, float) - np.asarray(stored, float))).max())


def test_real_mat_files_give_the_published_angles_and_landmark_boxes() -> None:
    """Ten portraits whose labels are there twice: as .mat files, and as a table."""
    if not (DATA / "aflw2000_sample" / "mat").is_dir():
        pytest.skip(f"{DATA / 'aflw2000_sample'} is not there; set HEADSIGHT_DATA")
    known = {s.image: s for s in read_heads("aflw2000_sample")}
    samples = read_aflw2000(DATA / "aflw2000_sample").samples()
    assert len(samples) == 10
    for sample in samples:
        other = known[sample.image]
        assert furthest(ypr(sample), ypr(other)) < CLOSE_DEG
        np.testing.assert_allclose(sample.boxes, other.boxes, atol=0.02)
        assert sample.head_boxes is not None
        assert (sample.head_boxes[:, :2] <= sample.boxes[:, :2]).all()
        assert (sample.head_boxes[:, 2:] >= sample.boxes[:, 2:]).all()


def test_aflw2000_rows_survive_the_format(tmp_path: Path) -> None:
    rows = table("aflw2000_pose_landmarks.npz")
    usual = np.flatnonzero((np.abs(rows["ypr_deg"]) <= MOST_DEG).all(1))[::40]
    for row in usual:
        name = rows["name"][row]
        save_mat(tmp_path / f"{name}.mat", rows["ypr_deg"][row], rows["landmarks68"][row])
    samples = {s.image.stem: s for s in read_aflw2000(tmp_path).samples()}
    assert len(samples) == len(usual) > 30
    for row in usual:
        assert furthest(ypr(samples[rows["name"][row]])[0], rows["ypr_deg"][row]) < CLOSE_DEG


def test_biwi_rows_survive_the_format(tmp_path: Path) -> None:
    """The table negates yaw; the files hold the rotation that HopeNet's formula reads it from."""
    rows = table("biwi_boxes_pose.npz")
    chosen = range(0, len(rows["name"]), 250)
    for row in chosen:
        _, sequence, name = rows["name"][row].split("/")
        place = tmp_path / sequence
        save_picture(place / name, (640, 480))
        (place / "rgb.cal").write_text(BIWI_CALIBRATION)
        rotation = ypr_to_matrix(ypr_from(rows["ypr_deg"][row].astype(float), "opal23"))
        text = "\n".join(" ".join(f"{v:.6g}" for v in line) for line in rotation)
        (place / name.replace("_rgb.png", "_pose.txt")).write_text(f"{text}\n\n0 0 900\n")
    found = {f"{s.image.parent.name}/{s.image.name}": s for s in read_biwi(tmp_path).samples()}
    for row in chosen:
        sample = found[rows["name"][row].partition("/")[2]]
        stored = ypr_from(rows["ypr_deg"][row].astype(float), "opal23")
        assert furthest(ypr(sample)[0], stored) < CLOSE_DEG


def panoptic_rotations() -> dict[str, dict[int, Any]]:
    """Of sequence 171204_pose2, by camera and frame."""
    rows = table("panoptic_boxes_pose.npz")
    rotations = ypr_to_matrix(ypr_from(rows["ypr_deg"].astype(float), "opal23"))
    found: dict[str, dict[int, Any]] = {}
    for name, rotation in zip(rows["name"], rotations, strict=True):
        sequence, _, camera, frame = name.split("/")
        if sequence == "171204_pose2":
            found.setdefault(camera, {})[int(frame[6:14])] = rotation
    return found


def test_panoptic_labels_of_all_cameras_are_of_one_head() -> None:
    """What one camera sees, turned by the angle between two cameras, is what the other sees."""
    labels = panoptic_rotations()
    assert len(labels) == 31
    first = labels["00_00"]
    frames = sorted(first)
    for camera, seen in labels.items():
        known = [f for f in frames if f in seen]
        between = seen[known[0]] @ first[known[0]].T
        angles = [float(geodesic_deg(between @ first[f], seen[f])) for f in known]
        assert max(angles) < CLOSE_DEG, camera
    # in the table's own signs it does not hold: the test can fail
    rows = table("panoptic_boxes_pose.npz")
    raw = dict(zip(rows["name"], ypr_to_matrix(rows["ypr_deg"].astype(float)), strict=True))
    name = "171204_pose2/hdImgs/{0}/{0}_{1:08d}.jpg"
    one, other = ([raw[name.format(c, f)] for f in frames[::100]] for c in ("00_00", "00_05"))
    between = other[0] @ one[0].T
    errors = [float(geodesic_deg(between @ a, b)) for a, b in zip(one, other, strict=True)]
    assert max(errors) > 10


def test_panoptic_labels_come_back_from_raw_files(tmp_path: Path) -> None:
    """Face points posed as the stored labels say, seen by three cameras in a real layout."""
    labels = panoptic_rotations()
    frames = sorted(labels["00_00"])[::40]
    names = ("00_00", "00_01", "00_05")  # in front, behind, at the side
    middle = np.array((0.0, 0.0, 0.0))
    cameras = {}
    for name in names:
        turn = labels[name][frames[0]] @ labels["00_00"][frames[0]].T
        cameras[name] = (turn, (10.0, 5.0, 320.0))
    points = []
    for frame in frames:
        angles = np.asarray(matrix_to_ypr(labels["00_00"][frame])[0])
        points.append(posed_points(angles, middle))
    faces = {frame: [face] for frame, face in zip(frames, points, strict=True)}
    save_panoptic(tmp_path / "171204_pose2", cameras, faces)
    found = {s.image.stem: s for s in read_panoptic(tmp_path).samples()}
    assert len(found) == len(names) * len(frames) == 33
    for name in names:
        for frame in frames:
            sample = found[f"{name}_{frame:08d}"]
            stored = np.asarray(matrix_to_ypr(labels[name][frame])[0])
            assert furthest(ypr(sample)[0], stored) < CLOSE_DEG
    assert max(np.abs(ypr(s)[0, 0]) for s in found.values()) > 150  # backs of heads among them
