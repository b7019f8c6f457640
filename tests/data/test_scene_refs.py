from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headsight.data.refs import read_refs
from headsight.data.scene_refs import read_scene_refs
from headsight.errors import AnnotationError, InputError


def head(number: int, image: int, x: float, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "bbox": [x, 10, 20, 30], "ignore": 0} | more


def scenes(folder: Path, **more: Any) -> Path:
    """Two pictures: three heads (one hardly seen) and none."""
    images = [{"id": n, "file_name": f"images/{n}.jpg", "width": 100, "height": 80} for n in (0, 1)]
    annotations = [head(1, 0, 5), head(2, 0, 70, ignore=1), head(3, 0, 40)]
    (folder / "images").mkdir(exist_ok=True)
    for n in (0, 1):
        Image.new("RGB", (100, 80)).save(folder / f"images/{n}.jpg")
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, **more}))
    return path


def leftmost(image: Any, heads: Any) -> list[tuple[str, list[int], tuple[str, ...]]]:
    order = sorted(range(len(heads)), key=lambda i: heads[i]["bbox"][0])
    return [("the leftmost head", order[:1], ("place",)), ("every head", order, ())]


def test_expressions_are_made_from_heads_that_count(tmp_path: Path) -> None:
    scenes(tmp_path)
    found = read_refs(tmp_path, expressions=leftmost)
    assert [s.id for s in found.samples] == [
        "0/the leftmost head", "0/every head", "1/the leftmost head", "1/every head",
    ]  # fmt: skip
    np.testing.assert_array_equal(found.samples[0].boxes, [[5, 10, 25, 40]])
    np.testing.assert_array_equal(found.samples[1].boxes, [[5, 10, 25, 40], [40, 10, 60, 40]])
    assert [s.is_none for s in found.samples] == [False, False, True, True]
    assert found.samples[0].image == tmp_path / "images/0.jpg"
    assert found.samples[0].category == "head"
    assert found.samples[0].types == ("place",)


def test_expressions_of_the_file_come_first(tmp_path: Path) -> None:
    said = [
        {"image_id": 0, "text": "the man", "annotation_ids": [3], "types": ["sex"]},
        {"image_id": 0, "text": "the hidden one", "annotation_ids": [2]},  # does not count
        {"image_id": 1, "text": "a head", "annotation_ids": []},
        {"image_id": 1, "text": "", "annotation_ids": []},
    ]
    path = scenes(tmp_path, expressions=said)
    found = read_refs(path, expressions=leftmost)
    assert [(s.text, s.types) for s in found.samples] == [("the man", ("sex",)), ("a head", ())]
    np.testing.assert_array_equal(found.samples[0].boxes, [[40, 10, 60, 40]])
    assert [p.error for p in found.problems] == ["The expression has no words."]


def test_without_either_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no 'expressions' .* and no function"):
        read_scene_refs(scenes(tmp_path))


def test_scenes_have_no_splits(tmp_path: Path) -> None:
    scenes(tmp_path)
    assert len(read_refs(tmp_path, split="all", expressions=leftmost)) == 4
    with pytest.raises(InputError, match="has no splits, so 'val'"):
        read_refs(tmp_path, split="val", expressions=leftmost)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"images": []}',
        '{"images": [{"id": 0}], "annotations": [{"image_id": 1}]}',
        '{"images": [{"id": 0}], "annotations": [], "expressions": [{"text": "x"}]}',
        "[" * 100_000,
    ],
)
def test_another_form_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(AnnotationError, match=r"annotations\.json cannot be read"):
        read_refs(tmp_path, expressions=leftmost)


def test_what_is_no_set_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("x")
    for name in ("nothing", str(tmp_path / "a.txt")):
        with pytest.raises(InputError, match=r"is no set.*refexp_coco_sample"):
            read_refs(name)
    monkeypatch.setenv("HEADSIGHT_DATA", str(tmp_path))
    with pytest.raises(InputError, match="HEADSIGHT_DATA"):
        read_refs("refexp_coco_sample")
