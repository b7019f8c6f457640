"""COCO keypoint files and files of other layouts as instances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from headsight.data.coco_keypoints import keypoint_set
from headsight.data.heads import data_folder
from headsight.data.keypoint_files import SAMPLES, read_keypoints
from headsight.data.keypoint_layouts import DEEPFASHION2_SLOTS
from headsight.data.keypoints import KeypointSet
from headsight.errors import AnnotationError, InputError

IMAGE = {"id": 7, "file_name": "a.png", "width": 100, "height": 80}
CATEGORY = {"id": 3, "name": "cup", "keypoints": ["rim", "handle"]}


def annotation(**more: Any) -> dict[str, Any]:
    return {
        "id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 40], "area": 900,
        "iscrowd": 0, "num_keypoints": 2, "keypoints": [12, 22, 2, 30, 50, 1], **more,
    }  # fmt: skip


def made(
    *annotations: Any, categories: Any = (CATEGORY,), images: Any = (IMAGE,)
) -> dict[str, Any]:
    return {
        "images": list(images), "annotations": list(annotations), "categories": list(categories)
    }  # fmt: skip


def read(whole: Any, folder: Path = Path("nowhere")) -> KeypointSet:
    return keypoint_set(whole, folder / "labels.json")


def test_an_annotation_becomes_an_instance() -> None:
    """Box 10, 20 to 40, 60; cleaned it is 29 by 39 px."""
    found = read(made(annotation()))
    (one,) = found.instances
    assert (one.id, one.category, one.names, one.image_wh) == (
        "1",
        "cup",
        ("rim", "handle"),
        (100, 80),
    )
    assert one.box.tolist() == [10, 20, 40, 60]
    assert one.points.tolist() == [[12, 22], [30, 50]]
    assert one.visible.tolist() == [True, True]
    assert one.hidden is not None
    assert one.hidden.tolist() == [False, True]
    assert (one.area, one.box_length) == (900, 39)
    assert found.without_picture == {"1"}
    assert found.coverage == "pictures of 0 of 1 instances are there (0.0%)"
    assert found.categories == {3: "cup"}


def test_what_the_protocol_leaves_out() -> None:
    found = read(
        made(
            annotation(),
            annotation(id=2, iscrowd=1),
            annotation(id=3, area=0),
            annotation(id=4, num_keypoints=0),
            annotation(id=5, keypoints=[0] * 6),
            annotation(id=6, bbox=[200, 10, 30, 30]),
            annotation(id=7, bbox=[10, 10, 1, 30]),
        )
    )
    assert [i.id for i in found.instances] == ["1"]
    assert found.left_out == {
        "crowd": 1,
        "area 0": 1,
        "no labelled keypoint": 2,
        "box without area in the picture": 2,
    }
    assert [i.id for i in found.ignored] == ["2", "3", "4", "5", "6", "7"]
    assert found.crowds == {"2"}


def test_files_may_leave_things_out() -> None:
    """No category, names, area, count or box: numbers for names, the box of what is labelled."""
    bare = {"image_id": 7, "keypoints": [5, 6, 1, 25, 36, 1, 99, 9, 0]}
    (one,) = read({"images": [IMAGE], "annotations": [bare]}).instances
    assert (one.id, one.category, one.names, one.area) == ("0", "object", ("1", "2", "3"), 0)
    assert one.box.tolist() == [5, 6, 25, 36]
    assert one.points[2].tolist() == [0, 0]
    assert one.hidden is None  # without a 2, a 1 tells nothing
    empty = {**bare, "keypoints": [0] * 9}
    found = read({"images": [IMAGE], "annotations": [bare, empty]})
    assert found.left_out == {"no labelled keypoint": 1}
    assert found.notes == ("Boxes are drawn around the labelled points, as the file has none.",)
    unknown = read(made(annotation(category_id=9)))
    assert unknown.instances[0].category == "category 9"


def test_names_that_come_twice_are_told_apart() -> None:
    cups = [CATEGORY, {**CATEGORY, "id": 4}, {"id": 5, "name": "jug"}]
    found = read(made(annotation(), annotation(category_id=4), categories=cups))
    assert [i.category for i in found.instances] == ["cup (3)", "cup (4)"]
    assert [i.id for i in found.instances] == ["1", "1#2"]
    assert list(found.categories.values()) == ["cup (3)", "cup (4)", "jug"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 8}, "Its image_id 8 is not among 'images'"),
        ({"keypoints": None}, "It has no keypoints"),
        ({"keypoints": [1, 2, 2]}, "holds 3 numbers of keypoints, but 6 are expected"),
        ({"keypoints": [1, 2, 2, 3, float("nan"), 2]}, "A labelled keypoint is not a number"),
        ({"keypoints": ["x"] * 6}, "not in its format: ValueError"),
        ({"bbox": [1, 2, 3]}, "not in its format: ValueError"),
        ({"bbox": [1, 2, 3, float("inf")]}, "is not four numbers"),
    ],
)
def test_a_broken_annotation_is_a_problem_and_the_rest_go_on(change: Any, message: str) -> None:
    found = read(made(annotation(**{"id": 5} | change), annotation()))
    assert [i.id for i in found.instances] == ["1"]
    assert found.problems[0].id == "annotation 5"
    assert message in found.problems[0].error
    with pytest.raises(AnnotationError, match=r"Not one of the annotations .* annotation 5: "):
        read(made(annotation(**{"id": 5} | change)))


def test_keypoints_that_are_no_list_are_a_problem_too() -> None:
    """In a file without a 2, where hidden points cannot be told, as in others."""
    seen_alike = annotation(keypoints=[12, 22, 1, 30, 50, 1])
    found = read(made(seen_alike, annotation(id=5, keypoints=5)))
    assert [i.id for i in found.instances] == ["1"]
    assert "holds 1 numbers of keypoints" in found.problems[0].error


def test_the_first_instances_keep_what_is_missing_of_them() -> None:
    found = read(made(annotation(), annotation(id=2), annotation(id=3))).first(2)
    assert [i.id for i in found.instances] == ["1", "2"]
    assert found.coverage == "pictures of 0 of 2 instances are there (0.0%)"


def test_a_picture_is_opened_as_its_labels_count(tmp_path: Path) -> None:
    """Labels of COCO and MP-100 are of the stored pixels, whatever the camera noted."""
    image, note = Image.new("RGB", (30, 20), "black"), Image.Exif()
    image.paste("red", (0, 0, 10, 20))  # at the left as stored, at the top as seen
    note[ExifTags.Base.Orientation] = 6
    image.save(tmp_path / "a.png", exif=note)
    for wh in ((30, 20), (20, 30), (15, 10)):
        size = {**IMAGE, "width": wh[0], "height": wh[1]}
        (one,) = read(made(annotation(bbox=[1, 1, 8, 8]), images=[size]), tmp_path).instances
        picture = one.open()
        assert picture.image_wh == (wh if wh != (15, 10) else (20, 30))
        assert picture.to_array()[-1, 0].tolist() == ([255, 0, 0] if wh == (30, 20) else [0, 0, 0])


def test_without_names_all_of_a_category_have_as_many_points() -> None:
    rows = [annotation(), annotation(id=2, keypoints=[1, 1, 2])]
    found = read(made(*rows, categories=[{"id": 3, "name": "cup"}]))
    assert "holds 3 numbers of keypoints, but 6" in found.problems[0].error


@pytest.mark.parametrize("whole", [{}, [], {"images": [{}], "annotations": []}, {"images": 5}])
def test_what_is_no_coco_file(whole: Any) -> None:
    with pytest.raises(AnnotationError, match="not a COCO keypoint file"):
        read(whole)


def test_an_empty_file_is_an_empty_set() -> None:
    found = read(made())
    assert (len(found), found.coverage) == (0, "")


@pytest.mark.parametrize("place", [".", "images", "..", "../images", "deep/below"])
def test_pictures_are_found_near_the_labels(tmp_path: Path, place: str) -> None:
    labels = tmp_path / "annotations" / "labels.json"
    picture = labels.parent / place / "a.png"
    labels.parent.mkdir()
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 80)).save(picture)
    labels.write_text(json.dumps(made(annotation(), images=[{"id": 7, "file_name": "a.png"}])))
    found = read_keypoints(labels)
    assert found.instances[0].image.resolve() == picture.resolve()
    assert found.instances[0].image_wh == (100, 80)
    assert found.coverage == ""
    assert read_keypoints(labels, images=picture.parent).instances[0].image == picture


def test_a_folder_of_scenes(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text(json.dumps(made(annotation())))
    assert read_keypoints(tmp_path).instances[0].category == "cup"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'nothing' is no set of keypoints.*300w, aflw"):
        read_keypoints("nothing")
    torn = tmp_path / "torn.json"
    torn.write_text('{"images": [')
    with pytest.raises(AnnotationError, match=r"torn.json cannot be read: JSONDecodeError"):
        read_keypoints(torn)
    torn.write_text(json.dumps([{"joints": 1, "joints_vis": 1, "center": [1, 2], "scale": "x"}]))
    with pytest.raises(AnnotationError, match="looks like a keypoint file of another layout"):
        read_keypoints(torn)


def test_mpii_counts_pixels_from_one(tmp_path: Path) -> None:
    """Scale 0.5 is 100 px high; the centre 61, 51 is 60, 50 from 0."""
    record = {
        "image": "a.png", "center": [61, 51], "scale": 0.5,
        "joints": [[11, 21]] * 16, "joints_vis": [1] + [0] * 15,
    }  # fmt: skip
    Image.new("RGB", (200, 160)).save(tmp_path / "a.png")
    (tmp_path / "l.json").write_text(json.dumps([record, record]))
    one, _ = read_keypoints(tmp_path / "l.json").instances
    assert one.box.tolist() == [10, 0, 110, 100]
    assert (one.points[0].tolist(), one.visible.sum(), one.names[0]) == ([10, 20], 1, "right_ankle")
    (tmp_path / "a.png").unlink()
    with pytest.raises(AnnotationError, match="Not one of the annotations"):  # of unknown size
        read_keypoints(tmp_path / "l.json")


def test_a_garment_has_its_own_slots(tmp_path: Path) -> None:
    """Shorts are slots 158 to 167 of 294."""
    row = np.zeros((294, 3))
    row[158:168] = [(x, 5, 2) for x in range(10)]
    shorts = annotation(category_id=7, keypoints=row.reshape(-1).tolist(), num_keypoints=10)
    strange = annotation(id=2, category_id=14, keypoints=row.reshape(-1).tolist())
    (tmp_path / "l.json").write_text(json.dumps(made(shorts, strange, categories=[])))
    found = read_keypoints(tmp_path / "l.json")
    one, other = found.instances
    assert (one.category, len(one.names)) == ("shorts", 10)
    assert one.points[:, 0].tolist() == list(range(10))
    assert (other.category, len(other.names)) == ("category 14", 294)
    assert sum(number for _, number in DEEPFASHION2_SLOTS.values()) == 294


def test_whole_bodies_have_133_points(tmp_path: Path) -> None:
    names = [f"n{i}" for i in range(17)]
    whole = annotation(
        category_id=3, keypoints=[1, 1, 2] * 17, num_keypoints=17,
        foot_kpts=[2, 2, 1] * 6, face_kpts=[3, 3, 0] * 68,
        lefthand_kpts=[4, 4, 1] * 21, righthand_kpts=[5, 5, 1] * 21,
    )  # fmt: skip
    category = {"id": 3, "name": "person", "keypoints": names}
    (tmp_path / "l.json").write_text(json.dumps(made(whole, categories=[category])))
    (one,) = read_keypoints(tmp_path / "l.json").instances
    assert len(one.names) == 133
    assert (one.names[17], one.names[23], one.names[-1]) == (
        "left_big_toe",
        "face_1",
        "right_hand_21",
    )
    assert (int(one.visible.sum()), one.hidden) == (133 - 68, None)


def test_animals_are_the_categories(tmp_path: Path) -> None:
    rows = [
        annotation(id=n, category_id=99, animal_parent_class="Bird", animal=name)
        for n, name in enumerate(("Owl", "Emu"))
    ]
    (tmp_path / "l.json").write_text(json.dumps(made(*rows)))
    found = read_keypoints(tmp_path / "l.json")
    assert [(i.category, i.names) for i in found.instances] == [
        ("Owl", ("rim", "handle")),
        ("Emu", ("rim", "handle")),
    ]


EXPECTED = {
    # instances, keypoints, labelled in all, category of the first
    "300w": (2, 68, 136, "face"), "aflw": (2, 19, 38, "face"), "aic": (9, 14, 101, "person"),
    "ak": (2, 23, 12, "Elephant"), "animalpose": (2, 20, 32, "cat"), "ap10k": (2, 17, 32, "jaguar"),
    "coco": (12, 17, 181, "person"), "coco_wholebody": (12, 133, 701, "person"),
    "cofw": (2, 29, 58, "face"), "crowdpose": (4, 14, 47, "person"),
    "deepfashion2": (2, 37, 59, "long_sleeved_dress"), "fld": (2, 8, 15, "fashion"),
    "fly": (2, 32, 64, "fly"), "h36m": (4, 17, 68, "person"), "horse10": (3, 22, 52, "horse"),
    "macaque": (2, 17, 31, "macaque"), "mpii": (5, 16, 76, "person"),
    "mpii_trb": (5, 40, 181, "person"), "onehand10k": (4, 21, 63, "hand"),
    "panoptic": (4, 21, 84, "hand"), "posetrack18": (14, 17, 182, "person"),
    "wflw": (4, 98, 392, "face"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_real_samples(name: str) -> None:
    try:
        data_folder("keypoint_samples")
    except InputError:
        pytest.skip("the folder of public sample data is absent")
    found = read_keypoints(name)
    assert (found.name, found.problems, found.without_picture) == (name, (), frozenset())
    first = found.instances[0]
    labelled = sum(int(i.visible.sum()) for i in found.instances)
    assert (len(found), len(first.names), labelled, first.category) == EXPECTED[name]
    for i in found.instances:
        with Image.open(i.image) as picture:
            assert picture.size == i.image_wh
        assert i.box_length > 0
