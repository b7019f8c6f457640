"""`headsight eval keypoints`, and asking a model about every instance."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from rich.progress import Progress

from headsight.cli.eval_keypoints import Evaluated, evaluate_keypoints
from headsight.cli.keypoint_answers import InBatches, ask_keypoints
from headsight.data.keypoint_files import read_keypoints
from headsight.data.keypoint_results import SCHEMA
from headsight.data.keypoints import KeypointInstance
from headsight.errors import ImageError
from headsight.files import Journal


def labels(folder: Path, number: int = 3, *, pictures: int = 3, names: bool = True) -> Path:
    """Persons with two eyes, one a picture, in boxes of 101 px: the unit is 100 px."""
    images, annotations = [], []
    for n in range(number):
        images.append({"id": n, "file_name": f"{n}.png", "width": 200, "height": 200})
        annotations.append({
            "id": 10 + n, "image_id": n, "category_id": 1, "bbox": [20, 20, 101, 80], "area": 5000,
            "iscrowd": 0, "keypoints": [40, 40, 2, 80, 40, 2], "num_keypoints": 2,
        })  # fmt: skip
        if n < pictures:
            Image.new("RGB", (200, 200)).save(folder / f"{n}.png")
    category: dict[str, Any] = {"id": 1, "name": "person"}
    if names:
        category["keypoints"] = ["left_eye", "right_eye"]
    path = folder / "labels.json"
    whole = {"images": images, "annotations": annotations, "categories": [category]}
    path.write_text(json.dumps(whole))
    return path


def answers(folder: Path, *points: Any, **more: Any) -> Path:
    rows = [{"id": 10 + n, "points": p} for n, p in enumerate(points) if p is not None]
    rows[0] |= more
    path = folder / "p.json"
    path.write_text(json.dumps({"schema": SCHEMA, "predictions": rows}))
    return path


EXACT = [[40, 40], [80, 40]]
FAR = [[40, 40], [80, 52]]  # the second is 0.12 off


def test_figures_of_a_whole_run(run: Callable, tmp_path: Path) -> None:
    gt, pred = labels(tmp_path), answers(tmp_path, EXACT, FAR, [[40, 40], None])
    out = tmp_path / "out" / "r.json"
    ran = run(
        "eval", "keypoints", "--gt", gt, "--pred", pred, "--metric", "oks,pck", "--json",
        "--output", out,
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, f"written: {out}\n")
    result = json.loads(ran.out)
    assert result == json.loads(out.read_text())
    assert result["schema"] == "headsight.eval-keypoints/1"
    row = result["figures"]["all"]
    assert row["pck@0.1"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert row["pck@0.2"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert (row["missed"], row["points"], row["instances"]) == (1, 6, 3)
    assert row["epe"] == pytest.approx((0 + 6 + 0) / 3)
    assert result["figures"]["oks"]["oks"] < 0.9
    assert result["items"]["pck@0.2"]["values"] == [1, 1, 0.5]
    assert "episodes" not in result["figures"]
    again = run("eval", "keypoints", "--gt", gt, "--pred", pred, "--output", out)
    assert (again.code, "exists. Choose another --output" in again.err) == (2, True)
    third = run(
        "eval", "keypoints", "--gt", gt, "--pred", pred, "--output", out, "--overwrite", "--quiet"
    )
    assert (third.code, third.out, third.err) == (0, "", "")


def test_both_protocols_are_printed_and_named(run: Callable, tmp_path: Path) -> None:
    gt = labels(tmp_path, pictures=2)
    pred = answers(tmp_path, EXACT, FAR, None, failures=["bad_digits", None], scores=[0.5, 0.7])
    ran = run(
        "eval", "keypoints", "--gt", gt, "--pred", pred, "--metric", "pck,oks",
        "--protocol", "episodes,all", "--episodes", 4,
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    for text in (
        "labels.json, protocol all",
        "every instance once",
        "labels.json, protocol episodes",
        "4 a category, 1 shot, 15 queries",
        "pairs that count",
        "by keypoint, protocol all",
        "keypoint similarity",
        "mean OKS",
        "2 answers: 50.0% not as asked, 0.0% of no use (1 bad_digits)",
        "coverage: scored on 2 of 3 instances (66.7%): the pictures of the others are missing.",
    ):
        assert text in ran.out, text
    assert ran.out.index("protocol all") < ran.out.index("protocol episodes")


def test_what_was_not_answered_and_left_out_is_told(run: Callable, tmp_path: Path) -> None:
    gt = labels(tmp_path, 4, pictures=4)
    whole = json.loads(gt.read_text())
    whole["annotations"][3]["iscrowd"] = 1
    whole["annotations"][2]["category_id"] = 2
    whole["annotations"][2].pop("bbox")
    whole["annotations"][2]["keypoints"][4] = 60
    whole["categories"].append({"id": 2, "name": "doll", "keypoints": ["left_eye", "right_eye"]})
    gt.write_text(json.dumps(whole))
    ran = run(
        "eval", "keypoints", "--gt", gt, "--pred", answers(tmp_path, EXACT),
        "--protocol", "all,episodes",
    )  # fmt: skip
    assert ran.code == 0
    for text in (
        "by category, protocol all",
        "doll",
        "2 instances have no prediction: missed as a whole",
        "left out of the labels: 1 (crowd)",
        "note: Boxes are drawn around the labelled points",
        "note: doll: 1 instances are too few for 1 supports and a query",
    ):
        assert text in ran.out, text
    assert "by keypoint" not in ran.out  # of several categories: --json


def test_similarity_alone_takes_results_that_are_tied_to_nothing(
    run: Callable, tmp_path: Path
) -> None:
    gt = labels(tmp_path, 1)
    row = {"image_id": 0, "category_id": 1, "keypoints": [40, 40, 1, 80, 40, 1], "score": 0.5}
    (tmp_path / "r.json").write_text(json.dumps([row, row]))
    words = ("eval", "keypoints", "--gt", gt, "--pred", tmp_path / "r.json")
    ran = run(*words, "--metric", "oks", "--json")
    figures = json.loads(ran.out)["figures"]
    assert (ran.code, figures["oks"]["ap"], figures["oks"]["oks"]) == (0, 1, None)
    ran = run(*words, "--metric", "oks")
    assert "note: All detections have one score" in ran.out
    ran = run(*words)
    assert (ran.code, "ask for --metric oks alone" in ran.err) == (3, True)


def test_broken_records_are_listed_and_the_rest_is_measured(run: Callable, tmp_path: Path) -> None:
    gt = labels(tmp_path, 1)
    rows = [{"id": 10, "points": EXACT}] + [{"id": 99, "points": EXACT}] * 25
    (tmp_path / "p.json").write_text(json.dumps(rows))
    ran = run("eval", "keypoints", "--gt", gt, "--pred", tmp_path / "p.json", "--json")
    assert ran.code == 1
    assert len(json.loads(ran.out)["failures"]) == 25
    assert ran.err.splitlines()[0].startswith("headsight: prediction 1: No instance has the id 99")
    assert ran.err.splitlines()[-1] == "headsight: and 5 more; --json lists them all"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--metric", "ap"], 2, "--metric is 'ap'; expected pck or oks, or both: pck,oks"),
        (["--metric", ","], 2, "--metric is ','"),
        (["--protocol", "both"], 2, "expected all or episodes, or both: all,episodes"),
        (["--gt", "nothing"], 2, "'nothing' is no set of keypoints"),
        (["--metric", "oks", "--gt", "unnamed"], 2, "keypoint '1'"),
        (["--pred", "gone.json"], 3, "gone.json holds no predicted keypoints"),
    ],
)
def test_wrong_usage(
    run: Callable, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    gt, pred = labels(tmp_path, 1, names="unnamed" not in words), answers(tmp_path, EXACT)
    given = [str(gt) if word == "unnamed" else word for word in words]
    ran = run("eval", "keypoints", "--gt", gt, "--pred", pred, *given)
    assert ran.code == code
    assert message in ran.err


def test_a_constant_makes_similarity_of_any_keypoints(run: Callable, tmp_path: Path) -> None:
    gt, pred = labels(tmp_path, 1, names=False), answers(tmp_path, EXACT)
    ran = run(
        "eval",
        "keypoints",
        "--gt",
        gt,
        "--pred",
        pred,
        "--metric",
        "oks",
        "--sigma",
        0.05,
        "--json",
    )
    assert json.loads(ran.out)["figures"]["oks"]["oks"] == 1


def test_compat_keeps_what_has_nothing_to_count(run: Callable, tmp_path: Path) -> None:
    """Two persons whose only labelled eyes differ: no pair has a keypoint in common."""
    gt = labels(tmp_path, 2)
    whole = json.loads(gt.read_text())
    whole["annotations"][0]["keypoints"][2] = 0
    whole["annotations"][1]["keypoints"][5] = 0
    gt.write_text(json.dumps(whole))
    words = (
        "eval", "keypoints", "--gt", gt, "--pred", answers(tmp_path, EXACT, EXACT),
        "--protocol", "episodes", "--json",
    )  # fmt: skip
    row = json.loads(run(*words).out)["figures"]["episodes"]
    assert (row["pck@0.2"], row["dropped"]) == (None, 200)
    row = json.loads(run(*words, "--compat").out)["figures"]["episodes"]
    assert (row["pck@0.2"], row["dropped"], row["instances"]) == (0, 200, 200)
    ran = run(*words[:-1])
    assert "without a keypoint that counts" in ran.out


def test_many_keypoints_are_left_to_json(run: Callable, tmp_path: Path) -> None:
    gt = labels(tmp_path, 1, names=False)
    whole = json.loads(gt.read_text())
    whole["annotations"][0]["keypoints"] = [40, 40, 2] * 41
    gt.write_text(json.dumps(whole))
    ran = run("eval", "keypoints", "--gt", gt, "--pred", answers(tmp_path, [[40, 40]] * 41))
    assert ran.code == 0
    assert "by keypoint" not in ran.out


def test_a_model_is_asked_once_about_what_has_a_picture(tmp_path: Path) -> None:
    truth = read_keypoints(labels(tmp_path, pictures=2))
    asked: list[str] = []

    def predict(instance: KeypointInstance) -> Any:
        asked.append(instance.id)
        if instance.id == "11" and asked.count("11") == 1:
            raise ImageError("The picture is torn. Fetch it again.")
        points = instance.points.copy()
        points[1] = np.nan
        return points, np.array([0.5, np.nan]), (None, "refusal")

    for _ in range(2):
        with Journal(tmp_path / "j") as journal, Progress(disable=True) as progress:
            outcome = ask_keypoints(truth, predict, journal=journal, progress=progress)
        if len(asked) == 2:
            assert outcome.failures == [
                {"id": "11", "error": "The picture is torn. Fetch it again."}
            ]
    assert asked == ["10", "11", "11"]
    assert [p.id for p in outcome.judged] == ["10", "11"]
    result = evaluate_keypoints(truth, outcome.judged, Evaluated(), settings={})
    assert result["figures"]["all"]["pck@0.2"] == 0.5
    assert result["figures"]["answers"]["failures"] == {"refusal": 2}
    assert result["coverage"].startswith("scored on 2 of 3")


def test_a_bad_mate_does_not_spoil_a_batch(tmp_path: Path) -> None:
    truth = read_keypoints(labels(tmp_path))
    (tmp_path / "1.png").write_bytes(b"torn")
    asked: list[list[str]] = []

    def find(mates: Any) -> list[Any]:
        for one in mates:
            one.open()
        asked.append([one.id for one in mates])
        return [Found([one.points], [np.ones(2)], [(None, None)]) for one in mates]

    with Progress(disable=True) as progress:
        predict = InBatches(find, truth.instances, 3)
        outcome = ask_keypoints(truth, predict, journal=None, progress=progress)
    assert [p.id for p in outcome.judged] == ["10", "12"]
    assert [one["id"] for one in outcome.failures] == ["11"]
    assert asked == [["10"], ["12"]]


def test_instances_of_a_kind_are_asked_together(tmp_path: Path) -> None:
    truth = read_keypoints(labels(tmp_path))
    first, *others = truth.instances
    mixed = (others[0], replace(first, category="child"), others[1])
    asked: list[list[str]] = []

    def find(mates: Any) -> list[Any]:
        asked.append([one.id for one in mates])
        return [Found([one.points], [np.ones(2)], [(None, None)]) for one in mates]

    with Progress(disable=True) as progress:
        predict = InBatches(find, mixed, 2)
        outcome = ask_keypoints(
            replace(truth, instances=mixed), predict, journal=None, progress=progress
        )
    assert asked == [["10"], ["11", "12"]]
    points = {p.id: p.points for p in outcome.judged}
    for one in truth.instances:
        np.testing.assert_array_equal(points[one.id], one.points)


class Found(NamedTuple):
    """What a model found, as `Keypoints` has it."""

    points: Any
    scores: Any
    failures: Any


EYES = {
    "schema": "headsight.keypoints/1",
    "name": "eyes-2",
    "categories": ["person"],
    "keypoints": [
        {"name": "left_eye", "description": "The eye left of the right_eye."},
        {"name": "right_eye", "description": "The eye right of the left_eye."},
    ],
}


def test_a_model_is_asked_and_goes_on_where_it_stopped(
    run: Callable, vlm: Any, tmp_path: Path
) -> None:
    gt, schema, out = labels(tmp_path), tmp_path / "eyes.json", tmp_path / "r.json"
    schema.write_text(json.dumps(EYES))
    asked: list[str] = []

    def script(picture: Any, prompt: str) -> str:
        asked.append(prompt)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return "[0.200,0.305]" if "left_eye of" in prompt else "I cannot tell"

    vlm.script = script
    words = ("eval", "keypoints", "--gt", gt, "--model", "nano", "--schema", schema,
             "--output", out)  # fmt: skip
    assert run(*words).code == 130
    assert not out.exists()
    ran = run(*words, "--metric", "oks,pck", "--sigma", "0.05", "--json")
    assert ran.code == 0
    assert len(asked) == 3 + 4  # what was answered is not asked again
    figures = json.loads(ran.out)["figures"]
    assert figures["all"]["pck@0.05"] == 0.5  # the square reaches from 20 and 9.5 on
    assert figures["all"]["missed"] == 3
    assert figures["answers"]["failures"] == {"refusal": 3}


def test_order_and_decoding_reach_the_model(run: Callable, tmp_path: Path) -> None:
    gt, schema = labels(tmp_path), tmp_path / "eyes.json"
    schema.write_text(json.dumps(EYES))
    words = ("eval", "keypoints", "--gt", gt, "--model", "nano-keypoints", "--schema", schema,
             "--json")  # fmt: skip
    plain = json.loads(run(*words).out)
    ran = run(*words, "--order", "confidence", "--decode", "mean")
    assert ran.code == 0
    told = json.loads(ran.out)
    assert told["settings"]["order"] == "confidence"
    assert told["figures"]["all"]["nme"] != plain["figures"]["all"]["nme"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "either --pred"),
        (("--model", "x", "--pred", "p.json"), "either --pred"),
        (("--pred", "p.json", "--mode", "cumulative"), "Leave them out"),
        (("--pred", "p.json", "--limit", "1"), "Leave them out"),
        (("--pred", "p.json", "--decode", "mean"), "Leave them out"),
        (("--model", "x", "--order", "nose,chin"), "--order is 'nose,chin'; expected schema or"),
        (("--model", "x"), "'person-17' has 17 keypoints, but 'person' is labelled with 2"),
    ],
)
def test_who_tells_the_points_has_to_be_clear(
    run: Callable, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    ran = run("eval", "keypoints", "--gt", labels(tmp_path), *words)
    assert ran.code in (2, 3)
    assert told in " ".join(ran.err.split())
