"""Labelled keypoints as conversations: who is asked, where, in which crop; a stage that trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bars import SCHEMA, SIDE, tiny_vlm, write_bars
from PIL import Image

from headsight.data.keypoint_files import read_keypoints
from headsight.errors import AnnotationError, ConfigError
from headsight.language.codec import parse
from headsight.picture import open_picture
from headsight.teach.keypoint_rounds import KeypointData, schemas_for
from headsight.teach.mixture import Mixture
from headsight.teach.plan import TuneStage, read_plan
from headsight.teach.rehearsal import Rehearsal
from headsight.teach.stages import run_plan


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    return write_bars(tmp_path / "bars", 6, seed=0)


def _data(bars: Path, **changed: Any) -> KeypointData:
    still = {"scale_spread": 0.0, "turn_share": 0.0, "side": 64}
    return KeypointData(path=bars, schemas=(str(bars / "schema.json"),), **{**still, **changed})


def _asked(sample: Any) -> list[tuple[str, str]]:
    return [(sample.question, sample.answer), *sample.later]


def _names(sample: Any) -> list[str]:
    return [
        next(n for n in SCHEMA.names if f"the {n} of" in question) for question, _ in _asked(sample)
    ]


@pytest.mark.parametrize("settings", [{}, {"scale_spread": 0.3, "turn_share": 1.0}])
def test_answers_are_where_the_points_are_in_the_crop(bars: Path, settings: Any) -> None:
    source = _data(bars, rounds="single", **settings).read()
    rng = np.random.default_rng(0)
    for index in range(len(source)):
        sample = source.draw(index, rng)
        [name] = _names(sample)
        pixels = np.asarray(open_picture(sample.picture).image, float)
        x, y = np.asarray(parse(sample.answer, _data(bars).format.spec).value) * 64
        red, blue = pixels[..., 0] - pixels[..., 2], pixels[..., 2] - pixels[..., 0]
        for colour, image in (("red", red), ("blue", blue)):
            if name == colour:  # the end lies within the bar's thickness of pixels of its colour
                rows, columns = np.nonzero(image > 60)
                assert np.hypot(columns + 0.5 - x, rows + 0.5 - y).min() < 4


def test_every_point_is_asked_once_a_pass(bars: Path) -> None:
    mixture = Mixture([_data(bars, rounds="dynamic").read()], [], Rehearsal(), seed=0)
    counts: dict[str, int] = {}
    place = passes = 0
    while passes < 4 * 18:  # of the endless row, four passes over 6 x 3 points
        names = _names(mixture[place])
        assert 1 <= len(names) <= 8
        for name in names:
            counts[name] = counts.get(name, 0) + 1
        passes += len(names)
        place += 1
    assert all(abs(count - 24) <= 6 for count in counts.values())
    assert {len(_names(mixture[i])) for i in range(40)} == {1, 2, 3}


def test_fixed_groups_stay_dynamic_ones_change(bars: Path) -> None:
    rng = np.random.default_rng(0)
    fixed, dynamic = (_data(bars, rounds=r, k=2).read() for r in ("fixed", "dynamic"))
    assert len(fixed) == 12  # of three points two groups of two, one filled up

    def passes(source: Any) -> list[list[list[str]]]:
        return [
            [_names(source.draw_again(i, rng, epoch=epoch)) for i in range(len(source))]
            for epoch in range(3)
        ]

    first, second, _ = passes(fixed)
    assert first == second
    assert all(len(names) == 2 for names in first)
    first, second, _ = passes(dynamic)
    assert first != second


def test_hidden_and_outer_points_are_not_asked(bars: Path) -> None:
    labels = bars / "annotations.json"
    document = json.loads(labels.read_text())
    for place, annotation in enumerate(document["annotations"]):
        keypoints = annotation["keypoints"]
        keypoints[2] = 0  # red is hidden everywhere
        if place == 0:
            annotation["bbox"] = [0, 0, 0, 10]  # no area
        if place == 1:
            annotation["bbox"] = [500, 500, 20, 20]  # outside
        if place == 2:
            keypoints[5] = keypoints[8] = 0  # nothing to see
    labels.write_text(json.dumps(document))
    source = _data(bars, rounds="fixed").read()
    assert len(source) == 3
    for index in range(3):
        assert sorted(_names(source.draw(index, None))) == ["blue", "middle"]


def test_nothing_to_ask_is_an_error(bars: Path) -> None:
    labels = bars / "annotations.json"
    document = json.loads(labels.read_text())
    for annotation in document["annotations"]:
        annotation["bbox"] = [0, 0, 2, 2]  # there, but without its points
    labels.write_text(json.dumps(document))
    with pytest.raises(AnnotationError, match="none has a labelled point"):
        _data(bars).read()
    for annotation in document["annotations"]:
        annotation["bbox"] = [500, 500, 20, 20]
    labels.write_text(json.dumps(document))
    with pytest.raises(AnnotationError, match="no object that can be used"):
        _data(bars).read()


def test_a_category_without_schema_names_the_nearest(bars: Path) -> None:
    with pytest.raises(AnnotationError, match=r"No schema is for the category 'bar'.*Nearest"):
        KeypointData(path=bars).read()
    other = json.loads((bars / "schema.json").read_text())
    other |= {"keypoints": other["keypoints"][:2], "skeleton": []}
    (bars / "two.json").write_text(json.dumps(other))
    with pytest.raises(AnnotationError, match="labelled with 3"):
        KeypointData(path=bars, schemas=(str(bars / "two.json"),)).read()


def test_categories_of_mp100_have_their_schemas_whatever_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "horse_body").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "horse_body" / "1.jpg")
    image = {"id": 1, "file_name": "horse_body/1.jpg", "width": 60, "height": 40}
    horse = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [5, 5, 30, 20], "area": 600}
    horse["keypoints"] = [6, 6, 2] * 17
    whole = {
        "images": [image], "annotations": [horse], "categories": [{"id": 2, "name": "horse_body"}]
    }  # fmt: skip
    path = tmp_path / "mp100_split1_train.json"
    path.write_text(json.dumps(whole))
    source = KeypointData(path=path, rounds="single").read()
    assert len(source) == 17
    assert "Where is the left eye of the horse body?" in source.draw(0, None).question
    other = tmp_path / "horses.json"
    other.write_text(path.read_text())
    with pytest.raises(AnnotationError, match=r"category 'horse_body'.*Nearest: horse,"):
        KeypointData(path=other).read()
    other.write_text(path.read_text().replace('"horse_body"', '"Polar_bear"'))
    assert len(KeypointData(path=other, rounds="fixed").read()) == 5


def test_bad_settings(bars: Path) -> None:
    for wrong in ({"rounds": "some"}, {"frame": "tile"}, {"k": 0}, {"scale_spread": 1.0}):
        with pytest.raises(ConfigError):
            _data(bars, **wrong)
    with pytest.raises(ConfigError, match="keypoint"):
        _data(bars, question="Where?")


def test_two_digits_and_the_whole_picture(bars: Path) -> None:
    one = read_keypoints(bars).instances[0]
    source = _data(bars, rounds="single", digits=2, frame="image").read()
    said = [source.draw(i, None).answer for i in range(3)]
    x, y = one.points[0] / SIDE
    assert f"[{x:.2f},{y:.2f}]" in said


def test_a_stage_teaches_and_keeps_how_to_ask(bars: Path, tmp_path: Path) -> None:
    vlm, model = tiny_vlm(width=32), tmp_path / "tiny"
    vlm.model.save_pretrained(model)
    vlm.processor.save_pretrained(model)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"""
name: bars
model: {model}
output: {tmp_path / "run"}
skills:
  bars: {{path: {bars}, schemas: ["{bars / "schema.json"}"], side: 32, limit: 2}}
stages:
  - name: points
    type: capellm
    data: {{path: {bars}, schemas: ["{bars / "schema.json"}"], side: 32, k: 2}}
    lora: {{r: 2, targets: attention}}
    steps: 2
    batch_size: 4
"""
    )
    plan = read_plan(recipe)
    assert plan.stages[0].data[0].rounds == "dynamic"  # type: ignore[union-attr]
    assert plan.skills["bars"].rounds == "single"  # type: ignore[union-attr]
    folder = run_plan(plan, quiet=True)
    kept = json.loads((folder / "config.json").read_text())["headsight_keypoints"]
    assert (kept["rounds"], kept["k"], kept["side"]) == ("dynamic", 2, 32)
    after = json.loads((folder.parent / "after.json").read_text())["skills"]["bars"]
    assert len(after["texts"]) == 6
    assert (folder.parent / "report.html").exists()


def test_a_stage_asks_in_one_way(bars: Path) -> None:
    def stage(*data: KeypointData) -> TuneStage:
        return TuneStage(name="points", type="capellm", data=data, steps=1, lr=1e-3)

    with pytest.raises(ConfigError, match="asked with digits 3 and 2, but"):
        stage(KeypointData(path=bars), KeypointData(path=bars, digits=2))
    stage(KeypointData(path=bars), KeypointData(path=bars, rounds="fixed"))


def test_schemas_are_those_beside_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {**SCHEMA.to_dict(), "name": "own"}
    words = {"categories": {"thing": "own"}, "schemas": [own]}
    (tmp_path / "schemas.json").write_text(json.dumps(words), "utf-8")
    (tmp_path / "labels.json").write_text("{}", "utf-8")
    assert schemas_for(tmp_path)[0].name == "own"
    assert schemas_for(tmp_path / "labels.json")[0].name == "own"
    monkeypatch.chdir(tmp_path)
    assert schemas_for("coco")[0].name != "own"  # a name of labels lies beside nothing
