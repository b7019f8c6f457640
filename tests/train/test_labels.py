"""Label files and folders of rendered scenes become the same labelled pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headsight.errors import AnnotationError
from headsight.geometry.rotations import matrix_to_ypr
from headsight.train.labels import read_labels


def test_read_labels_names_the_bad_line(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    good = json.dumps(
        {"image": "a.png", "wh": [8, 8], "heads": [{"box": [1, 1, 5, 5], "ypr_deg": None}]}
    )
    path = tmp_path / "labels.jsonl"
    path.write_text(good + "\nnonsense\n" + good + "\n")
    with pytest.raises(AnnotationError, match="line 2"):
        read_labels(path)
    path.write_text(good + "\n" + good[:20])  # torn by a kill: passed over
    assert len(read_labels(path)) == 1
    path.write_text(good + "\n" + good.replace("a.png", "lost.png"))  # whole, but no picture
    with pytest.raises(AnnotationError, match=r"line 2.*lost\.png"):
        read_labels(path)


def test_a_folder_of_scenes(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    head = {
        "image_id": 3,
        "bbox": [1, 2, 4, 5],
        "head_pose": {"yaw_deg": 10.0, "pitch_deg": -5.0, "roll_deg": 2.0},
        "attributes": {"hard_hat": True, "hat": "hard_hat", "glasses": "none"},
        "keypoints": [2.0, 3.0, 2.0, 4.0, 5.0, 1.0],
    }
    hidden = {**head, "ignore": 1, "bbox": [0, 0, 2, 2]}
    document = {
        "images": [{"id": 3, "file_name": "a.png"}, {"id": 4, "file_name": "a.png"}],
        "annotations": [head, hidden],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    first, second = read_labels(tmp_path)
    assert first.boxes.tolist() == [[1, 2, 5, 7]]
    assert matrix_to_ypr(first.rotations)[0][0] == pytest.approx([10, -5, 2], abs=1e-3)
    assert first.attributes[0]["hard_hat"] is True
    assert first.ignore.tolist() == [[0, 0, 2, 2]]
    assert first.landmarks.tolist() == [[[2, 3, 2], [4, 5, 1]]]
    assert second.landmarks is None
    assert len(second.boxes) == 0
    assert np.isfinite(second.boxes).all()
    assert len(read_labels(tmp_path / "annotations.json", limit=1)) == 1


def test_a_torn_scene_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_text('{"images": [')
    with pytest.raises(AnnotationError, match=r"annotations\.json"):
        read_labels(tmp_path)
