"""Every published set: made in its real format, read, and told by its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headsight.data.head_folder import HeadFolder, LeftOut
from headsight.data.head_kinds import KINDS, find_kind, open_heads
from headsight.data.heads import HeadSample, read_heads
from headsight.data.ref_sample import Problem
from headsight.errors import AnnotationError, InputError
from headsight.geometry.rotations import matrix_to_ypr


def ypr(sample: HeadSample) -> Any:
    return np.asarray(matrix_to_ypr(sample.rotations)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_known_by_its_files_and_read(kind: str, made_set: Callable[[str], Path]) -> None:
    folder = made_set(kind)
    assert find_kind(folder) == kind
    found = open_heads(folder)
    assert found.kind == kind
    assert len(found) == sum(len(items) for items in found.items.values())
    samples = found.samples()
    assert samples
    for sample in samples:
        assert sample.image.is_file()
        assert len(sample.boxes) == len(sample.rotations)
        assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()
        if sample.head_boxes is not None:
            assert sample.head_boxes.shape == sample.boxes.shape
        is_known = np.isfinite(sample.rotations).all((-1, -2))
        assert (is_known == KINDS[kind].has_poses).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_picture_is_a_problem_of_its_own(
    kind: str, made_set: Callable[[str], Path]
) -> None:
    folder = made_set(kind)
    first = next(s for s in open_heads(folder) if isinstance(s, HeadSample)).image
    first.unlink()
    try:
        problems = [f for f in open_heads(folder) if isinstance(f, Problem)]
    except AnnotationError as error:  # of a set whose only picture is gone
        problems = [Problem("", str(error))]
    if kind == "panoptic":  # whose pictures tell which frames are used
        assert problems == []
        assert len(open_heads(folder)) == 2
    else:
        assert len(problems) == 1
        assert "is missing" in problems[0].error


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_labels_are_one_clear_error(kind: str, made_set: Callable[[str], Path]) -> None:
    """Every label file is cut in half: the reader says which, and never raises anything else."""
    folder = made_set(kind)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in (".jpg", ".png"):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    try:
        found = list(open_heads(folder, kind))
    except AnnotationError as error:
        found = [Problem("", str(error))]
    problems = [f for f in found if isinstance(f, Problem)]
    assert problems
    assert any(str(folder) in p.error or "holds" in p.error for p in problems)


def test_splits_and_their_names(made_set: Callable[[str], Path]) -> None:
    folder = made_set("cmu_hpe")
    assert list(open_heads(folder).items) == ["train", "val"]
    assert list(open_heads(folder, split="val").items) == ["val"]
    assert len(open_heads(folder, split="all")) == 2
    with pytest.raises(AnnotationError, match=r"no split 'test'. It has: train \(1\), val \(1\)"):
        open_heads(folder, split="test")


def test_a_folder_can_be_evaluated_on_and_val_is_taken(made_set: Callable[[str], Path]) -> None:
    [sample] = read_heads(str(made_set("cmu_hpe")))
    assert sample.image.stem == "1000000002"


def test_an_unknown_folder_cannot_be_evaluated_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no annotations.json and is no published.*biwi"):
        read_heads(str(tmp_path))


def test_what_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder"):
        open_heads(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no known kind.*crowdhuman: \*\.odgt"):
        open_heads(tmp_path)
    with pytest.raises(InputError, match=r"no kind 'coco'. Choose one of: crowdhuman"):
        open_heads(tmp_path, "coco")
    for name in KINDS:
        with pytest.raises(AnnotationError, match="Expected"):
            open_heads(tmp_path, name)


def test_an_item_that_fails_in_any_way_is_a_problem(tmp_path: Path) -> None:
    def bad() -> HeadSample:
        raise KeyError("roll")

    def gone() -> LeftOut:
        return LeftOut("b", "no head")

    found = HeadFolder("biwi", tmp_path, {"x": [("a", bad), ("b", gone)]})
    assert list(found) == [
        Problem("a", "It is not in its format: KeyError 'roll'."),
        LeftOut("b", "no head"),
    ]
    with pytest.raises(AnnotationError, match=r"Not one of the 1 pictures.*data check"):
        found.samples()


def test_angles_and_boxes_of_the_hpe_files(made_set: Callable[[str], Path]) -> None:
    """`bbox` is x, y, width, height; `euler_angles` pitch, yaw, roll in degrees."""
    sample = open_heads(made_set("agora_hpe"), split="train").samples()[0]
    np.testing.assert_array_equal(sample.boxes, [[648, 185, 864, 399], [10, 20, 40, 50]])
    np.testing.assert_allclose(ypr(sample), [[20, 10, 30], [-170, 5, -10]], atol=1e-9)
    assert sample.box_kind == "around"
    assert sample.image_wh == (1280, 720)
