"""MP-100: names, folders, what is there source by source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headsight.data.keypoint_files import read_keypoints
from headsight.data.mp100 import SOURCES, check_mp100, is_mp100, read_mp100, schemas_of
from headsight.errors import AnnotationError, InputError

FOLDERS = {18: "amur_tiger_body", 32: "car", 40: "human_face", 72: "human_body"}


def write_part(
    root: Path, name: str, ids: Sequence[int], *, first: int = 0, pictures: bool = True
) -> None:
    """Two instances in two pictures of each category."""
    images, annotations = [], []
    for key in ids:
        for _ in range(2):
            number = first + len(images)
            file = f"{FOLDERS[key]}/{number}.jpg"
            images.append({"id": number, "file_name": file, "width": 60, "height": 40})
            annotations.append({
                "id": number, "image_id": number, "category_id": key, "bbox": [5, 5, 30, 20],
                "area": 600, "iscrowd": 0, "num_keypoints": 2, "keypoints": [6, 6, 2, 20, 20, 1],
            })  # fmt: skip
            if pictures:
                (root / FOLDERS[key]).mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (60, 40)).save(root / file)
    categories = [{"id": k, "name": "face" if k in (18, 40) else FOLDERS[k]} for k in ids]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    path = root / "annotations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole))


def test_every_category_has_one_source() -> None:
    ids = sorted(key for keys in SOURCES.values() for key in keys)
    assert ids == list(range(1, 101))
    assert len(SOURCES) == 13
    assert [len(SOURCES[s]) for s in ("AP-10K", "AnimalWeb", "DeepFashion2", "CUB-200")] == [
        34,
        30,
        13,
        8,
    ]


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("mp100_split1_test.json", True),
        ("mp100_split5_train.json", True),
        ("mp100_split1_test-dev-2017.json", True),
        ("mp100_split6_test.json", False),
        ("mp100_split1_testing.json", False),
        ("instances_val2017.json", False),
    ],
)
def test_files_are_told_by_their_names(name: str, is_one: bool) -> None:
    assert is_mp100(Path(name)) is is_one


def test_a_part_is_read_with_names_of_its_own(tmp_path: Path) -> None:
    write_part(tmp_path, "mp100_split1_test.json", [18, 40, 72])
    found = read_mp100(tmp_path, split=1, part="test")
    assert [i.category for i in found.instances[::2]] == [
        "human face (AFLW)", "human face (300W)", "human_body"
    ]  # fmt: skip
    assert [i.word for i in found.instances[::2]] == ["human face", "human face", "human body"]
    assert found.without_picture == frozenset()
    again = read_keypoints(tmp_path / "annotations" / "mp100_split1_test.json")
    assert [i.category for i in again.instances] == [i.category for i in found.instances]


def test_every_category_has_its_schema(tmp_path: Path) -> None:
    write_part(tmp_path, "mp100_split1_test.json", [18, 40, 72])
    path = tmp_path / "annotations" / "mp100_split1_test.json"
    whole = json.loads(path.read_text())
    for a in whole["annotations"]:
        a["keypoints"] = [6, 6, 2] * {18: 19, 40: 68, 72: 17}[a["category_id"]]
    path.write_text(json.dumps(whole))
    schemas = schemas_of(read_mp100(tmp_path, split=1, part="test"))
    assert {name: one.name for name, one in schemas.items()} == {
        "human face (AFLW)": "face-19",
        "human face (300W)": "face-68",
        "human_body": "person-17",
    }
    whole["annotations"][0]["keypoints"] = whole["annotations"][1]["keypoints"] = [6, 6, 2]
    path.write_text(json.dumps(whole))
    with pytest.raises(AnnotationError, match="has 1 keypoints, but the schema face-19 has 19"):
        schemas_of(read_mp100(tmp_path, split=1, part="test"))
    path.write_text(path.read_text().replace('"category_id": 18', '"category_id": 101'))
    with pytest.raises(AnnotationError, match="'category 101' has the id None"):
        schemas_of(read_mp100(tmp_path, split=1, part="test"))


def test_one_source_alone_is_read(tmp_path: Path) -> None:
    """Pictures of equal names in other folders are not taken for those that are missing."""
    write_part(tmp_path, "mp100_split1_val.json", [32, 72])
    for picture in (tmp_path / "car").iterdir():
        picture.rename(tmp_path / "human_body" / picture.name)
    found = read_mp100(tmp_path, split=1, part="val")
    assert found.without_picture == {"0", "1"}
    assert found.coverage == "pictures of 2 of 4 instances are there (50.0%)"


def test_pictures_may_lie_in_images(tmp_path: Path) -> None:
    write_part(tmp_path, "mp100_split2_train.json", [72])
    (tmp_path / "images").mkdir()
    (tmp_path / "human_body").rename(tmp_path / "images" / "human_body")
    assert read_mp100(tmp_path, split=2, part="train").without_picture == frozenset()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no split 6 test"):
        read_mp100(tmp_path, split=6, part="test")
    with pytest.raises(InputError, match=r"holds no mp100_split1_test.json"):
        read_mp100(tmp_path, split=1, part="test")
    path = tmp_path / "mp100_split1_test.json"
    path.write_text("{}")
    with pytest.raises(AnnotationError, match="no annotation file of MP-100: KeyError"):
        read_mp100(tmp_path, split=1, part="test")
    path.write_text("{")
    with pytest.raises(AnnotationError, match="cannot be read: JSONDecodeError"):
        read_mp100(tmp_path, split=1, part="test")


def test_a_whole_folder_is_good(tmp_path: Path) -> None:
    write_part(tmp_path, "mp100_split1_test.json", [18, 72])
    write_part(tmp_path, "mp100_split2_train.json", [18, 72])  # the same annotations again
    seen: list[Any] = []
    result = check_mp100(tmp_path, on_size=seen.append, on_picture=lambda: seen.append("."))
    assert result.is_good
    assert seen == [4, ".", ".", ".", "."]
    assert list(result.sources) == ["COCO", "AFLW"]
    coco = result.sources["COCO"]
    assert (coco.labelled, coco.found, coco.instances, coco.usable) == (2, 2, 2, 2)
    assert result.files["mp100_split1_test.json"] == {"categories": 2, "instances": 4, "usable": 4}
    assert len(result.missing_files) == 13
    assert "mp100_split1_train.json" in result.missing_files
    assert result.notes == ()


def test_what_is_missing_or_broken_is_told_by_source(tmp_path: Path) -> None:
    write_part(tmp_path, "mp100_split1_test.json", [32, 72])
    (tmp_path / "car" / "0.jpg").unlink()
    (tmp_path / "car" / "1.jpg").unlink()
    (tmp_path / "human_body" / "2.jpg").write_text("no picture")
    Image.new("RGB", (10, 10)).save(tmp_path / "human_body" / "3.jpg")
    result = check_mp100(tmp_path)
    cars, people = result.sources["CarFusion"], result.sources["COCO"]
    assert (cars.found, cars.labelled, cars.usable) == (0, 2, 0)
    assert (people.found, people.labelled, people.usable) == (2, 2, 0)
    assert not result.is_good
    assert result.notes[0].startswith("CarFusion: its converter names pictures otherwise")
    assert [Path(p.id).name for p in result.problems] == ["2.jpg", "3.jpg"]
    assert (
        "The picture is 10 x 10, but its labels are of one of 60 x 40" in result.problems[1].error
    )
    assert check_mp100(tmp_path, decode=False).usable == 2


def test_pictures_may_be_labelled_as_stored(tmp_path: Path) -> None:
    write_part(tmp_path, "mp100_split1_test.json", [72])
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    for picture in (tmp_path / "human_body").iterdir():
        Image.new("RGB", (60, 40)).save(picture, exif=exif)
    assert check_mp100(tmp_path).is_good


def test_parts_and_broken_files(tmp_path: Path) -> None:
    write_part(tmp_path, "mp100_split1_test.json", [72])
    write_part(tmp_path, "mp100_split1_val.json", [32])
    assert list(check_mp100(tmp_path, part="val").files) == ["mp100_split1_val.json"]
    with pytest.raises(InputError, match="no part 'valid'"):
        check_mp100(tmp_path, part="valid")
    (tmp_path / "annotations" / "mp100_split1_val.json").write_text("[")
    result = check_mp100(tmp_path)
    assert result.problems[0].id == "mp100_split1_val.json"
    assert result.usable == 2
    with pytest.raises(InputError, match="holds no annotation file of MP-100"):
        check_mp100(tmp_path / "human_body")


def test_an_unknown_category_is_no_source(tmp_path: Path) -> None:
    write_part(tmp_path, "mp100_split1_test.json", [72])
    path = tmp_path / "annotations" / "mp100_split1_test.json"
    whole = json.loads(path.read_text())
    whole["categories"] = []
    path.write_text(json.dumps(whole))
    assert list(check_mp100(tmp_path).sources) == ["unknown source"]
