"""`headsight eval pose`, `eval heads --boxes-from` and `eval forget`, end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headsight.cli.given_boxes import OWN, TRUTH, HeadAsker, box_source
from headsight.data.heads import read_heads
from headsight.geometry.rotations import ypr_to_matrix
from headsight.models.base import MODELS
from headsight.models.headpose import SixDRepNet, SixDRepNetConfig

BOXES = "[[100,200,300,600;600,200,800,600]]"


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Twenty pictures of two heads with known poses."""
    images, annotations = [], []
    for number in range(20):
        Image.new("RGB", (200, 100)).save(tmp_path / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 200, "height": 100})
        for x, yaw in ((20, 10), (120, 20)):
            pose = {"yaw_deg": yaw, "pitch_deg": 0, "roll_deg": 0}
            box = [x, 20, 40, 40]
            annotations.append({"image_id": number, "bbox": box, "head_pose": pose})
    text = json.dumps({"images": images, "annotations": annotations})
    (tmp_path / "annotations.json").write_text(text)
    return tmp_path


@pytest.fixture
def regressor(tmp_path: Path) -> Path:
    """A network that says yaw 10 of every crop."""
    config = SixDRepNetConfig(
        backbone="tiny", backbone_config={"stem_width": 4, "widths": [4], "depths": [1]},
        image_size=32, resize_size=None,
    )  # fmt: skip
    model = SixDRepNet(config)
    matrix = ypr_to_matrix(np.array([10.0, 0, 0]))
    with torch.no_grad():
        model.linear_reg.weight.zero_()
        model.linear_reg.bias.copy_(torch.from_numpy(matrix[:, :2].T.ravel()))
    model.save_pretrained(tmp_path / "regressor")
    return tmp_path / "regressor"


@pytest.fixture
def forgetful(scripted: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three models: `good` knows boxes and poses; `taught` better poses, but answers boxes so too;
    `good2` is `good` under another name."""

    def make(yaws: tuple[int, int], boxes: str) -> Callable:
        def script(_: object, prompt: str) -> str:
            if "yaw" not in prompt:
                return boxes
            return f"{{{yaws['[[600' in prompt]:03d},000,000}}"

        return lambda device: scripted(script)

    monkeypatch.setitem(MODELS, "good", make((70, 80), BOXES))
    monkeypatch.setitem(MODELS, "good2", make((70, 80), BOXES))
    monkeypatch.setitem(MODELS, "taught", make((10, 20), "{010,000,000}"))


def test_poses_are_measured_and_a_journal_spares_asking_again(
    run: Callable, scenes: Path, forgetful: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = scenes / "result.json"
    ran = run("eval", "pose", "--data", scenes, "--model", "good", "--output", output, "--json")
    assert ran.code == 0
    result = json.loads(ran.out)
    assert result == json.loads(output.read_text())
    assert result["figures"]["pose"]["full"]["yaw"] == pytest.approx(60)
    assert result["figures"]["boxes"]["recall"] == 1
    assert result["figures"]["invalid"]["pose"]["strict_invalid"] == 0
    assert len(result["items"]["mae_penalised"]["items"]) == 40
    output.unlink()

    def gone(device: str) -> object:
        class Silent:
            name = "silent"

            def answer(self, *_: object, **__: object) -> list[object]:
                raise AssertionError("asked again")

        return Silent()

    monkeypatch.setitem(MODELS, "good", gone)
    again = run("eval", "pose", "--data", scenes, "--model", "good", "--output", output, "--json")
    assert json.loads(again.out)["figures"] == result["figures"]


def test_the_table_tells_bad_answers(run: Callable, scenes: Path, forgetful: None) -> None:
    ran = run("eval", "pose", "--data", scenes, "--model", "taught")
    assert ran.code == 0
    line = next(row for row in ran.out.splitlines() if row.startswith("│ boxes ") and "%" in row)
    assert [c.strip() for c in line.strip("│").split("│")][:5] == [
        "boxes",
        "20",
        "100.0%",
        "100.0%",
        "100.0%",
    ]


def test_own_boxes_that_are_none_leave_every_head_without_a_pose(
    run: Callable, scenes: Path, forgetful: None
) -> None:
    ran = run("eval", "pose", "--data", scenes, "--model", "taught", "--boxes", "own", "--json")
    pose = json.loads(ran.out)["figures"]["pose"]
    assert pose["missed"] == 40
    assert pose["full"]["mae"] is None
    assert pose["full"]["mae_penalised"] == 90


def test_a_crop_regressor_is_measured_in_the_true_boxes(
    run: Callable, scenes: Path, regressor: Path
) -> None:
    ran = run("eval", "pose", "--data", scenes, "--model", regressor, "--json")
    assert ran.code == 0, ran.err
    figures = json.loads(ran.out)["figures"]
    assert figures["pose"]["full"]["yaw"] == pytest.approx(5, abs=1e-3)  # 10 said of 10 and 20
    assert figures["boxes"] is None


def test_whose_boxes_are_used(regressor: Path) -> None:
    assert box_source(str(regressor), None) == TRUTH
    assert box_source("good", None) == OWN
    assert box_source("good", "good") == OWN
    assert box_source(str(regressor), "good") == "good"


def yaws(model: object, source: str, scenes: Path) -> list[float]:
    """What is said of the first picture."""
    sample = read_heads(str(scenes))[0]
    found = HeadAsker(str(model), source, device="cpu", constrain=False)(sample)
    return found.poses[:, 0].round().tolist()


def test_any_model_can_be_given_the_true_boxes(
    scenes: Path, regressor: Path, forgetful: None
) -> None:
    assert yaws("taught", TRUTH, scenes) == [10, 20]
    assert yaws("taught", OWN, scenes) == []  # it lost the boxes
    assert yaws(regressor, TRUTH, scenes) == [10, 10]
    assert yaws("taught", "good", scenes) == [10, 20]


def test_eval_heads_in_the_boxes_of_another_model(
    run: Callable,
    scenes: Path,
    regressor: Path,
    scripted: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = scripted(lambda *_: "[[100,200,300,600]]")
    monkeypatch.setitem(MODELS, "left", lambda device: left)
    call = ("eval", "heads", "--data", scenes, "--model", regressor, "--limit", 6)
    call = (*call, "--boxes-from", "left")
    result = json.loads(run(*call, "--json").out)
    assert result["settings"]["boxes_from"] == "left"
    assert result["figures"]["recall"] == 0.5
    assert result["figures"]["yaw"] == pytest.approx(0, abs=1e-3)
    assert len(left.calls) == 6  # where heads are, and never how they are turned
    assert result["items"]["recall"]["values"] == [1.0, 0.0] * 6
    assert result["items"]["mae_penalised"]["values"] == pytest.approx([0.0, 90.0] * 6, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (("--boxes", "true"), "expected gt or own", 2),
        (("--boxes", "own", "--model", "regressor"), "finds none of its own", 2),
    ],
)
def test_wrong_calls_of_eval_pose(
    run: Callable, scenes: Path, regressor: Path, options: tuple[str, ...], message: str, code: int
) -> None:
    told = [regressor if word == "regressor" else word for word in options]
    ran = run("eval", "pose", "--data", scenes, *told)
    assert ran.code == code
    assert message in ran.err


def test_data_without_poses_is_told_before_a_model_is_asked(run: Callable, scenes: Path) -> None:
    document = json.loads((scenes / "annotations.json").read_text())
    for annotation in document["annotations"]:
        del annotation["head_pose"]
    (scenes / "annotations.json").write_text(json.dumps(document))
    ran = run("eval", "pose", "--data", scenes)
    assert ran.code == 3
    assert "labels no head pose" in ran.err


def forget(run: Callable, scenes: Path, *words: object) -> object:
    skills = ("--skill", f"boxes={scenes}", "--skill", f"pose={scenes}")
    return run("eval", "forget", *words, *skills)


@pytest.mark.parametrize("suffix", [".md", ".html", ".json"])
def test_forgetting_is_told(run: Callable, scenes: Path, forgetful: None, suffix: str) -> None:
    out = scenes / f"report{suffix}"
    ran = forget(
        run,
        scenes,
        "--before",
        "good",
        "--after",
        "taught",
        "--new",
        "pose",
        "--out",
        out,
        "--json",
    )
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert result["skills"]["boxes"]["figures"]["recall"]["verdict"] == "forgot"
    assert result["skills"]["boxes"]["answers"]["after"]["swapped"] == 1
    pose = result["skills"]["pose"]["figures"]["mae_penalised"]
    assert (pose["verdict"], pose["change"]) == ("gained", pytest.approx(-20))
    assert result["weights"] is None
    assert "forgot" in out.read_text()
    assert out.with_name(out.name + ".journal").exists()


def test_a_new_skill_that_is_none_is_told_before_asking(
    run: Callable, scenes: Path, forgetful: None
) -> None:
    out = scenes / "report.json"
    ran = forget(run, scenes, "--before", "good", "--after", "bad", "--new", "poses", "--out", out)
    assert ran.code == 2
    assert "the skills are boxes, pose" in " ".join(ran.err.split())
    assert not out.with_name(out.name + ".journal").exists()


def test_the_same_model_forgot_nothing(run: Callable, scenes: Path, forgetful: None) -> None:
    ran = forget(run, scenes, "--before", "good", "--after", "good2")
    assert ran.code == 0
    assert "gained: nothing; forgot: nothing" in " ".join(ran.out.split())


def test_earlier_runs_are_compared_like_models(
    run: Callable, scenes: Path, forgetful: None
) -> None:
    for name in ("good", "taught"):
        run(
            "eval",
            "pose",
            "--data",
            scenes,
            "--model",
            name,
            "--output",
            scenes / f"{name}.json",
            "--json",
        )
    files = ("--before", scenes / "good.json", "--after", scenes / "taught.json")
    ran = run("eval", "forget", *files, "--json")
    assert ran.code == 0, ran.err
    from_files = json.loads(ran.out)["skills"]
    asked = forget(run, scenes, "--before", "good", "--after", "taught", "--json")
    from_models = json.loads(asked.out)["skills"]
    for skill in ("boxes", "pose"):
        for name, figure in from_models[skill]["figures"].items():
            told = from_files[skill]["figures"][name]
            assert told["verdict"] == figure["verdict"]
            assert told["interval"] == pytest.approx(figure["interval"], abs=1e-3)  # files round
        assert from_files[skill]["answers"] == from_models[skill]["answers"]


def test_a_killed_comparison_goes_on(run: Callable, scenes: Path, forgetful: None) -> None:
    """The report is gone and the journal is cut: what it holds still counts, the rest is asked."""
    out = scenes / "report.md"
    words = ("--before", "good", "--after", "taught", "--out", out)
    forget(run, scenes, *words)
    whole = out.read_text()
    journal = out.with_name("report.md.journal")
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:30]) + '{"id": "torn')
    out.unlink()
    forget(run, scenes, *words)
    assert out.read_text() == whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--before", "good", "--after", "good2", "--skill", "poses=x"),
            "one of boxes, pose, refer",
        ),
        (("--before", "good", "--after", "good2", "--out", "x.pdf"), ".md, .html, .json"),
        (("--before", "good", "--before", "taught", "--after", "good2"), "several models"),
        (("--before", "a.json", "--after", "b.json"), "is no file"),
        (("--before", "a.json", "--before", "good", "--after", "b.json"), "mixes files and models"),
    ],
)
def test_wrong_calls_of_eval_forget(
    run: Callable, forgetful: None, words: tuple[str, ...], message: str
) -> None:
    ran = run("eval", "forget", *words)
    assert ran.code == 2
    assert message in ran.err


def test_a_result_without_items_is_told(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"figures": {}, "settings": {"data": "x"}}')
    old = tmp_path / "old.json"
    ran = run("eval", "forget", "--before", old, "--after", old)
    assert ran.code == 3
    assert "measure again" in ran.err
