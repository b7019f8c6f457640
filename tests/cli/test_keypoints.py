"""`headsight keypoints`: tables, JSON, COCO files, pictures; wrong usage told before loading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bars import SCHEMA, SIDE, tiny_vlm, write_bars
from PIL import Image

from headsight.models.base import MODELS


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "bar.json"
    path.write_text(json.dumps(SCHEMA.to_dict()))
    return path


@pytest.fixture
def points(vlm: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripted model finds two boxes, and in every crop the same points."""
    answers = {"red": "[0.100,0.500]", "middle": "[0.500,0.500]", "blue": "I cannot tell"}
    boxes = vlm.script

    def script(picture: Any, prompt: str) -> str:
        if "Assistant:" not in prompt:
            return str(boxes(picture, prompt))
        return next(a for name, a in answers.items() if f"the {name} of" in prompt)

    vlm.script = script
    monkeypatch.setitem(MODELS, "nano-keypoints", lambda device: vlm)
    return vlm


def test_a_table_of_points(run: Any, points: Any, photo: Path, schema: Path) -> None:
    ran = run("keypoints", photo, "--schema", schema, "--box", "100,50,201,151")
    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert "red 110.0 100.0 0.80" in lines
    assert "blue - -" in lines
    assert "1 point answer could not be read: refusal (--raw shows the words)" in lines


def test_json_coco_and_a_picture(
    run: Any, points: Any, photo: Path, schema: Path, tmp_path: Path
) -> None:
    drawn, coco = tmp_path / "drawn.png", tmp_path / "out.json"
    ran = run(
        "keypoints", photo, "--schema", schema, "--find", "every head",
        "--json", "--save", drawn, "--coco", coco,
    )  # fmt: skip
    assert ran.code == 0
    [place, _] = json.loads(ran.out)["pictures"][0]["places"]
    assert place["keypoint_names"] == ["red", "middle", "blue"]
    assert [p[2] for p in place["keypoints"]] == [2, 2, 0]
    assert place["keypoint_failures"] == [None, None, "refusal"]
    document = json.loads(coco.read_text())
    assert document["categories"][0]["skeleton"] == [[1, 2], [2, 3]]
    assert [a["num_keypoints"] for a in document["annotations"]] == [2, 2]
    np.testing.assert_allclose(
        document["annotations"][0]["keypoints"][:3], place["keypoints"][0], atol=1e-3
    )
    with Image.open(drawn) as picture:
        assert picture.size == (1000, 500)
    again = run("keypoints", photo, "--schema", schema, "--coco", coco)
    assert again.code == 2
    assert "--overwrite" in again.err


def test_nano_finds_what_nano_keypoints_is_asked_about(
    run: Any, points: Any, scripted: Any, photo: Path, schema: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = scripted(lambda picture, prompt: "[[100,200,300,600]]")
    monkeypatch.setitem(MODELS, "nano", lambda device: finder)
    ran = run("keypoints", photo, "--schema", schema, "--find", "every head", "--json")
    assert ran.code == 0
    [place] = json.loads(ran.out)["pictures"][0]["places"]
    assert place["box"] == [100, 100, 300, 300]
    assert len(finder.calls) == 1
    assert all("Assistant:" in prompt for _, prompts, _ in points.calls for prompt in prompts)


def test_the_coco_file_can_be_read_back(
    run: Any, points: Any, photo: Path, schema: Path, tmp_path: Path
) -> None:
    from headsight.data.keypoint_files import read_keypoints

    coco = tmp_path / "out.json"
    run("keypoints", photo, "--schema", schema, "--box", "100,50,201,151", "--coco", coco)
    [one] = read_keypoints(coco).instances
    assert one.names == SCHEMA.names
    assert one.visible.tolist() == [True, True, False]
    np.testing.assert_allclose(one.points[0], [110.0, 100.0], atol=0.1)


def test_wrong_usage_is_told_before_a_model_is_loaded(
    run: Any, photo: Path, schema: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setitem(MODELS, "nano-keypoints", loaded.append)
    for words, said in (
        (["--schema", "persn-17"], "person-17"),
        (["--schema", schema, "--box", "1,2,3"], "box"),
        (["--schema", schema, "--box", "1,2,30,40", "--find", "dog"], "Leave one out"),
        (["--schema", schema, "--finder", "nano"], "Give --find too"),
        (["--schema", schema, "--order", "red,blue"], "each of red, middle, blue once"),
        (["--schema", schema, "--mode", "both"], "independent"),
        (["--schema", schema, "--decode", "mode"], "argmax"),
    ):
        ran = run("keypoints", photo, *words)
        assert ran.code == 2, said
        assert said in ran.err
        assert not loaded


def test_a_box_outside_the_picture_is_told_before_the_model_is_asked(
    run: Any, points: Any, photo: Path, schema: Path
) -> None:
    ran = run("keypoints", photo, "--schema", schema, "--box", "2000,2,3000,40")
    assert ran.code == 2
    assert "outside the picture" in ran.err
    assert not points.calls


def test_sheets_of_probability_maps(run: Any, tmp_path: Path) -> None:
    vlm, model = tiny_vlm(), tmp_path / "model"
    vlm.model.save_pretrained(model)
    vlm.processor.save_pretrained(model)
    folder = write_bars(tmp_path / "bars", 1, seed=0)
    with Image.open(folder / "0.png") as picture:
        picture.save(folder / "0.bmp")
    ran = run(
        "keypoints", folder / "0.png", folder / "0.bmp", "--schema", folder / "schema.json", "--constrain",
        "--density", tmp_path / "maps", "--mode", "cumulative", "--model", model,
    )  # fmt: skip
    assert ran.code == 0
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["0-1.png", "0.2-1.png"]
    with Image.open(tmp_path / "maps" / "0-1.png") as sheet:
        assert min(sheet.size) > SIDE


def test_a_sheet_that_exists_is_told_before_the_model_is_asked(
    run: Any, points: Any, photo: Path, schema: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "maps" / f"{photo.stem}-1.png"
    sheet.parent.mkdir()
    sheet.write_bytes(b"mine")
    ran = run("keypoints", photo, "--schema", schema, "--density", sheet.parent)
    assert ran.code == 2
    assert f"{sheet} exists" in ran.err
    assert not points.calls
    assert sheet.read_bytes() == b"mine"
