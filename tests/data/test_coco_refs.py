from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headsight.data.refs import read_refs
from headsight.errors import AnnotationError, InputError


def instances(folder: Path, *rows: tuple[int, int, list[float]], **more: Any) -> Path:
    """Annotations (picture, category, box x, y, w, h) of two pictures, 1 a dog and 2 a cup."""
    images = [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in (1, 2)]
    names = [{"id": 1, "name": "dog"}, {"id": 2, "name": "wine cup"}]
    found = [
        {"id": n, "image_id": image, "category_id": kind, "bbox": box, "iscrowd": 0}
        for n, (image, kind, box) in enumerate(rows)
    ]
    path = folder / "instances_val2017.json"
    document = {"images": images, "annotations": found, "categories": names, **more}
    path.write_text(json.dumps(document))
    return path


def pictures(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n in (1, 2):
        Image.new("RGB", (40, 30)).save(folder / f"{n}.png")


DOG, CUP, OTHER = (1, 1, [5.0, 5, 10, 10]), (1, 2, [0.0, 0, 4, 4]), (2, 1, [1.0, 1, 2, 2])


def test_what_a_picture_holds_once_is_named(tmp_path: Path) -> None:
    pictures(tmp_path / "val2017")  # beside the file, as COCO's folder is called
    path = instances(tmp_path, DOG, CUP, OTHER, (2, 1, [9.0, 9, 3, 3]))  # two dogs in picture 2
    refs = read_refs(path)
    assert [(s.image.name, s.text, s.boxes.tolist()) for s in refs.samples] == [
        ("1.png", "dog", [[5, 5, 15, 15]]),
        ("1.png", "wine cup", [[0, 0, 4, 4]]),
    ]
    assert refs.samples[0].category == "dog"


def test_crowds_are_not_named(tmp_path: Path) -> None:
    pictures(tmp_path / "photos")
    path = instances(tmp_path, DOG, CUP)
    whole = json.loads(path.read_text())
    whole["annotations"][0]["iscrowd"] = 1
    path.write_text(json.dumps(whole))
    assert [s.text for s in read_refs(path, images=tmp_path / "photos").samples] == ["wine cup"]


def test_files_of_no_use(tmp_path: Path) -> None:
    pictures(tmp_path)
    doubles = instances(tmp_path, DOG, DOG)
    with pytest.raises(AnnotationError, match="holds just one thing"):
        read_refs(doubles)
    with pytest.raises(InputError, match="has no splits"):
        read_refs(instances(tmp_path, DOG), split="val")
    with pytest.raises(AnnotationError, match="cannot be read: KeyError"):
        read_refs(instances(tmp_path, DOG, annotations=[{"id": 1}]))
    for picture in tmp_path.glob("*.png"):
        picture.unlink()
    with pytest.raises(AnnotationError, match="is missing"):
        read_refs(instances(tmp_path, DOG))
