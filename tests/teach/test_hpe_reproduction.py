"""`reproductions/hpe-cogvlm`: its base, its plan, its broken questions and its tables, made small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw
from scripts import REPRODUCTIONS, scripts_of

from headsight.eval.forget_report import SkillRun, forget_report
from headsight.eval.item_scores import Scores
from headsight.language.codec import CodecSpec, parse
from headsight.models.base import load_vlm
from headsight.teach.plan import read_plan
from headsight.teach.samples import read_source
from headsight.teach.stages import run_plan
from headsight.train.labels import read_labels
from headsight.train.pictures import Augmentation, augment

FOLDER = REPRODUCTIONS / "hpe-cogvlm"


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    """The scripts as modules."""
    with scripts_of("hpe-cogvlm") as found:
        yield found


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as of `headsight scenes`: three pictures of one disc, two of two."""
    folder = tmp_path_factory.mktemp("scenes")
    document: dict[str, list[Any]] = {"images": [], "annotations": []}
    for number, count in enumerate((1, 1, 1, 2, 2)):
        image = Image.new("RGB", (128, 96), "#446688")
        for place in range(count):
            x, y, side = 10 + 60 * place + number, 10 + 5 * number, 30 - 6 * place
            ImageDraw.Draw(image).ellipse((x, y, x + side, y + side), fill="#ddbb99")
            pose = {"yaw_deg": 10.0 + place, "pitch_deg": 5.0, "roll_deg": -3.0}
            document["annotations"].append(
                {
                    "image_id": number,
                    "bbox": [x, y, side, side],
                    "head_pose": pose,
                    "keypoints": [x + side / 2, y + side / 2, 2.0 - place] * 22,
                    "attributes": {"clothes_color": "red", "hard_hat": False},
                }
            )
        image.save(folder / f"{number}.png")
        document["images"].append(
            {"id": number, "file_name": f"{number}.png", "width": 128, "height": 96}
        )
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def test_a_plan_runs_and_its_tables_are_written(
    scripts: Any, school: Any, scenes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "0"
    plan = scripts.rows.plan_of(
        0,
        base=school.model,
        data={
            "new": scenes,
            "weak": scripts.testsets.weakened(scenes, tmp_path / "weak.jsonl"),
            "probe": scenes,
        },
        out=out,
        features=tmp_path / "features",
        steps=scripts.rows.Steps(weak=1, pose=1, continual=1, batch=2),
        sweep=False,
        rows=("r0", "r10", "cosine"),
        limit=2,
    )
    path = out / "plan.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(plan))
    run_plan(read_plan(path), quiet=True)
    rows = scripts.reproduce.collect(out)
    assert list(rows) == ["base", "cosine", "cosine+", "r0", "r10", "weak"]
    asked = scripts.stress.stress_questions(scenes, tmp_path / "asked")
    broken = {"r10": scripts.stress.stress(out / "r10" / "model", asked, scenes, limit=2)}
    merges = scripts.reproduce.merged(out)
    assert 0 < merges["cosine"]["from_expert"] <= merges["cosine"]["modules"]
    rows["frontal"] = scripts.crops.frontal_row({"probe": scenes})
    assert rows["frontal"]["pose probe"]["yaw"] == pytest.approx(10 + 2 / 7, abs=1e-3)
    record = {"seeds": {"0": rows}, "plain": rows, "stress": broken, "merges": merges}
    results, readme = tmp_path / "rows.json", tmp_path / "README.md"
    results.write_text(json.dumps(record))
    readme.write_text((FOLDER / "README.md").read_text("utf-8"))
    scripts.tables.write_tables(results, readme)
    written = readme.read_text("utf-8")
    for table in (*scripts.tables.SETS, "photographs", "failures", "sweep", "stress", "plain"):
        if table not in ("aflw", "panoptic"):  # both in one
            assert f"<!-- headsight:table {table} -->\n|" in written
    for row in (
        "all heads face the camera",
        "| 0.95 |",
        "M0: boxes only",
        "M4: layer-cosine, then 25 %",
        "| no box | 3 |",
        "| own boxes |",
    ):
        assert row in written


def test_the_base_learns_without_poses_and_keeps_its_shape(
    scripts: Any, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts.base, "BATCH", 2)
    made = scripts.base.make_base([scenes], tmp_path / "base", steps=1, experts=False)
    vlm = load_vlm(str(made))
    assert vlm.model.config.expert_layers == []
    assert not vlm.model.config.vision_config["tells_pose"]


def test_parts_stand_where_the_landmarks_are(scripts: Any, scenes: Path) -> None:
    config = Augmentation(image_size=128, plain_share=1.0)
    canvas = augment(read_labels(scenes)[4], config, np.random.default_rng(0))
    seen, hidden = scripts.base._with_parts(canvas).attributes
    box = canvas.boxes[0] / (np.tile(canvas.content_wh_rel, 2) * 128)
    middle, side = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    assert seen["nose"] == pytest.approx(
        np.concatenate([middle - side / 8, middle + side / 8]), abs=1e-6
    )
    assert hidden["nose"] is None


def test_broken_questions_are_about_the_right_heads(
    scripts: Any, scenes: Path, tmp_path: Path
) -> None:
    asked = scripts.stress.stress_questions(scenes, tmp_path)
    counts = {case: len(path.read_text().splitlines()) for case, path in asked.items()}
    assert counts["as it should be"] == counts["no box"] == 3
    assert counts["two heads, the larger"] == counts["two heads, the smaller"] == 2
    for case, yaw in (("two heads, the larger", 10), ("two heads, the smaller", 11)):
        sample = read_source(asked[case]).draw(0, None)
        assert parse(sample.answer, CodecSpec("pose")).value[0] == yaw


def test_the_recipe_on_nano_is_compared_skill_by_skill(scripts: Any) -> None:
    def run_of(*found: float) -> SkillRun:
        ids = tuple(f"p{n}" for n in range(len(found)))
        return SkillRun("set", {"recall": Scores(ids, ids, np.array(found, float), "higher")}, {})

    before = {"boxes": run_of(1, 1, 1, 0)}
    reports = {
        name: forget_report(before, {"boxes": run_of(*found)}, names=("nano", name))
        for name, found in {"r10": (1, 1, 1, 1), "cosine+": (0, 0, 0, 0)}.items()
    }
    table = scripts.release.table_of(reports)
    assert "direct LoRA, rehearsal 10 %: change" in table
    [row] = [line for line in table.splitlines() if line.startswith("| boxes ")]
    assert "| +0.25" in row
    assert "| -0.75" in row
