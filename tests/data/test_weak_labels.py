"""A teacher's poses are kept where two looks agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_sets import save_picture
from PIL import Image

from headsight.data.head_filter import HeadFilter
from headsight.data.heads import HeadSample
from headsight.data.weak_labels import weak_pose_label, weak_pose_labels
from headsight.errors import ConfigError, ImageError, InputError
from headsight.geometry.rotations import matrix_to_ypr, mirror, ypr_to_matrix
from headsight.picture import Picture
from headsight.train.labels import read_labels

WH = (490, 490)


def sample(folder: Path, *boxes: tuple[int, ...], poses: Any = None) -> HeadSample:
    path = folder / "a.png"
    if not path.exists():
        save_picture(path, WH)
    unknown = np.full((len(boxes), 3, 3), np.nan)
    rotations = unknown if poses is None else ypr_to_matrix(np.array(poses, float))
    return HeadSample(path, WH, np.array(boxes, float).reshape(-1, 4), rotations)


def always(*ypr: float) -> Callable[[Picture, Any], Any]:
    """Says the same of every box, in whatever picture."""
    return lambda picture, boxes: np.repeat(ypr_to_matrix(np.array([ypr], float)), len(boxes), 0)


def test_a_teacher_that_is_fooled_by_the_mirror_is_not_believed(tmp_path: Path) -> None:
    """Yaw 7 said twice means 7 and -7: 14 degrees apart, kept; yaw 8 is 16 apart, dropped."""
    head = sample(tmp_path, (10, 10, 60, 60))
    kept = weak_pose_label(head, always(7, 0, 0))
    np.testing.assert_allclose(matrix_to_ypr(kept.sample.rotations)[0], [[7, 0, 0]], atol=1e-9)
    assert kept.weights.tolist() == [0.5]
    assert kept.counts == {"known": 0, "small": 0, "kept": 1, "disagreed": 0, "unread": 0}
    dropped = weak_pose_label(head, always(8, 0, 0))
    assert np.isnan(dropped.sample.rotations).all()
    assert dropped.weights.tolist() == [0.0]
    assert dropped.counts["disagreed"] == 1
    assert weak_pose_label(head, always(8, 0, 0), agree_deg=17, weight=0.3).weights == [0.3]


def test_boxes_and_picture_are_mirrored_together(tmp_path: Path) -> None:
    """The teacher sees a white head at the left, then at the right; each box is on it."""
    canvas = Image.new("RGB", WH)
    canvas.paste("white", (10, 20, 60, 80))
    canvas.save(tmp_path / "a.png")
    seen = []

    def teacher(picture: Picture, boxes: Any) -> Any:
        [box] = boxes
        seen.append(box.tolist())
        assert picture.image.crop(tuple(int(v) for v in box)).getextrema() == ((255, 255),) * 3
        turned = ypr_to_matrix(np.array([[70.0, 5, 10]]))
        return turned if box[0] < 100 else mirror(turned)

    result = weak_pose_label(sample(tmp_path, (10, 20, 60, 80)), teacher)
    assert seen == [[10, 20, 60, 80], [430, 20, 480, 80]]
    np.testing.assert_allclose(matrix_to_ypr(result.sample.rotations)[0], [[70, 5, 10]], atol=1e-9)


def test_small_heads_are_not_asked_about_and_known_poses_stay(tmp_path: Path) -> None:
    boxes = ((0, 0, 6, 6), (100, 0, 113, 13), (200, 0, 250, 50), (300, 0, 350, 50))
    poses = np.full((4, 3), np.nan)
    poses[3] = (33, 0, 0)
    asked = []

    def teacher(picture: Picture, boxes: Any) -> Any:
        asked.append(len(boxes))
        return always(0, 0, 0)(picture, boxes)

    result = weak_pose_label(sample(tmp_path, *boxes, poses=poses), teacher)
    assert asked == [1, 1]  # one box, in two pictures
    assert result.weights.tolist() == [0.0, 0.5, 1.0]  # 6 px are no head to learn from at all
    assert result.counts == {"known": 1, "small": 1, "kept": 1, "disagreed": 0, "unread": 0}
    assert len(result.sample.ignore) == 1


def test_what_the_teacher_cannot_tell_is_unread(tmp_path: Path) -> None:
    head = sample(tmp_path, (10, 10, 60, 60), (100, 10, 160, 60))

    def teacher(picture: Picture, boxes: Any) -> Any:
        answer = always(0, 0, 0)(picture, boxes)
        answer[0] = np.nan
        return answer

    result = weak_pose_label(head, teacher)
    assert result.counts == {"known": 0, "small": 0, "kept": 1, "disagreed": 0, "unread": 1}
    assert result.weights.tolist() == [0.0, 0.5]


def test_records_are_read_by_the_trainer(tmp_path: Path) -> None:
    head = sample(tmp_path, (10, 10, 60, 60), (100, 10, 110, 20))
    out = tmp_path / "weak.jsonl"
    [weak] = weak_pose_labels([head], always(5, 0, 0))
    record = weak.record(beside=out, source="6drepnet")
    assert record["heads"][0]["pose_source"] == "6drepnet"
    assert "pose_source" not in record["heads"][1]
    out.write_text(json.dumps(record) + "\n")
    [picture] = read_labels(out)
    assert picture.pose_weights.tolist() == [0.5, 0.0]
    assert np.isnan(picture.rotations[1]).all()


def test_no_heads_need_no_teacher(tmp_path: Path) -> None:
    def teacher(picture: Picture, boxes: Any) -> Any:
        raise AssertionError

    result = weak_pose_label(sample(tmp_path), teacher)
    assert result.weights.shape == (0,)


def test_wrong_settings_teachers_and_pictures(tmp_path: Path) -> None:
    head = sample(tmp_path, (10, 10, 60, 60))
    for wrong in ({"weight": 0}, {"weight": 1}, {"agree_deg": 0}, {"agree_deg": 181}):
        with pytest.raises(ConfigError, match="must hold"):
            weak_pose_label(head, always(0, 0, 0), **wrong)
    with pytest.raises(InputError, match=r"answered \(3,\) to 1 boxes, but \(1, 3, 3\)"):
        weak_pose_label(head, lambda picture, boxes: np.zeros(3))
    head.image.write_text("torn")
    with pytest.raises(ImageError):
        weak_pose_label(head, always(0, 0, 0), rules=HeadFilter())
