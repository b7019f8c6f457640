"""AGORA-HPE and CMU-HPE are built as their authors built them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from head_sets import KNOWN_LABELS, posed_points, save_panoptic

from headsight.data.build_hpe import build_agora_hpe, build_cmu_hpe
from headsight.data.head_kinds import open_heads
from headsight.errors import AnnotationError, InputError
from headsight.geometry.rotations import matrix_to_ypr


def make_large(folder: Path) -> None:
    """Pictures of CMU Panoptic have 100 KB and more."""
    for path in folder.rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + bytes(100 * 1024))


def test_cmu_hpe_from_raw(made_set: Callable[[str], Path], tmp_path: Path) -> None:
    raw = made_set("panoptic")
    make_large(raw)
    calls: list[int] = []
    built = build_cmu_hpe(
        raw, tmp_path / "out", on_size=calls.append, on_picture=lambda: calls.append(1)
    )
    assert calls == [3, 1, 1, 1]
    assert [f.name for f in built.files] == ["coco_style_sampled_val.json"]
    assert (built.pictures, built.heads) == ({"val": 3}, {"val": 3})
    whole = json.loads(built.files[0].read_text())
    # 171026_pose3 is the second of the 17 sequences; frame 60, camera 0
    assert [i["id"] for i in whole["images"]] == [10200000000, 10200006000, 10200012000]
    for annotation, (angles, _, box) in zip(whole["annotations"], KNOWN_LABELS, strict=True):
        assert tuple(annotation["bbox"]) == box
        yaw, pitch, roll = angles
        np.testing.assert_allclose(annotation["euler_angles"], (pitch, yaw, roll), atol=1e-6)
        assert annotation["area"] == box[2] * box[3]
    samples = open_heads(tmp_path / "out").samples()  # what was built is read
    assert [s.image.name for s in samples] == [i["file_name"] for i in whole["images"]]
    for sample, (angles, _, _) in zip(samples, KNOWN_LABELS, strict=True):
        np.testing.assert_allclose(matrix_to_ypr(sample.rotations)[0], [angles], atol=1e-6)


def test_cmu_hpe_takes_one_frame_in_60_and_no_small_pictures(tmp_path: Path) -> None:
    face = [posed_points((0, 0, 0), (20, -10, 300))]
    frames = {number: face for number in (0, 30, 60, 61, 120)}
    sequence = tmp_path / "raw" / "171204_pose3"
    save_panoptic(sequence, {"00_00": (np.eye(3), (0, 0, 0))}, frames)
    make_large(sequence)
    small = sequence / "hdImgs" / "00_00" / "00_00_00000120.jpg"
    small.write_bytes(small.read_bytes()[: 50 * 1024])
    built = build_cmu_hpe(tmp_path / "raw", tmp_path / "out")
    assert built.pictures == {"train": 2}  # 0 and 60
    assert built.left_out == {"a picture under 100 KB": 1}


def test_a_long_sequence_takes_one_frame_in_180(tmp_path: Path) -> None:
    """Longer than five minutes: 9,021 frames are 301 seconds."""
    face = [posed_points((0, 0, 0), (20, -10, 300))]
    frames = {number: face for number in (0, 60, 180, 9020)}
    sequence = tmp_path / "raw" / "171204_pose3"
    save_panoptic(sequence, {"00_00": (np.eye(3), (0, 0, 0))}, frames)
    make_large(sequence)
    assert build_cmu_hpe(tmp_path / "raw", tmp_path / "out").pictures == {"train": 2}


def test_agora_hpe_from_raw(made_set: Callable[[str], Path], tmp_path: Path) -> None:
    raw = made_set("agora")
    built = build_agora_hpe(raw, tmp_path / "out")
    assert [f.name for f in built.files] == ["coco_style_validation.json"]
    assert (built.pictures, built.heads) == ({"validation": 1}, {"validation": 2})
    assert built.left_out == {"no head that can be labelled": 1, "hidden": 1}
    whole = json.loads(built.files[0].read_text())
    assert [i["file_name"] for i in whole["images"]] == ["2000100001.png"]
    linked = tmp_path / "out" / "images" / "validation" / "2000100001.png"
    assert linked.stat().st_nlink == 2  # no copy
    np.testing.assert_allclose(
        [a["euler_angles"] for a in whole["annotations"]], [[10, 20, 30], [0, 0, 0]], atol=1e-6
    )


def test_a_copy_where_links_are_refused(
    made_set: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    build_agora_hpe(made_set("agora"), tmp_path / "out")
    [copied] = (tmp_path / "out" / "images" / "validation").iterdir()
    assert copied.stat().st_nlink == 1
    assert copied.read_bytes()


def test_what_cannot_be_built(made_set: Callable[[str], Path], tmp_path: Path) -> None:
    raw = made_set("agora")
    build_agora_hpe(raw, tmp_path / "out")
    with pytest.raises(InputError, match=r"coco_style_validation.json exists.*--overwrite"):
        build_agora_hpe(raw, tmp_path / "out")
    build_agora_hpe(raw, tmp_path / "out", overwrite=True)
    for picture in raw.rglob("*.png"):
        picture.unlink()
    with pytest.raises(AnnotationError, match=r"gave no labels for AGORA-HPE.*is missing"):
        build_agora_hpe(raw, tmp_path / "other")
    sequence = made_set("panoptic") / "171026_pose3"
    other = sequence.rename(sequence.with_name("170101_other1"))
    (other / "calibration_171026_pose3.json").rename(other / "calibration_170101_other1.json")
    with pytest.raises(AnnotationError, match=r"none of the 17 sequences.*170101_other1"):
        build_cmu_hpe(other.parent, tmp_path / "third")
