"""`headsight data`: check, build, convert, weak-labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from head_sets import save_picture

from headsight.train.labels import read_labels


def test_check_prints_a_table(run: Callable, made_set: Callable[[str], Path]) -> None:
    ran = run("data", "check", made_set("agora_hpe"))
    assert (ran.code, ran.err) == (0, "")
    rows = [line.strip("│ ").split("│") for line in ran.out.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert ["train", "1 of 14408", "1", "2 of 105046", "2"] in cells
    assert "Every picture can be used." in ran.out
    assert run("data", "check", made_set("crowdhuman"), "--quiet").out == ""


def test_check_tells_what_is_wrong_and_leaves_with_1_or_3(
    run: Callable, made_set: Callable[[str], Path]
) -> None:
    folder = made_set("crowdhuman")
    first, second = sorted((folder / "Images").iterdir())
    first.unlink()
    ran = run("data", "check", folder)
    assert ran.code == 1
    assert "1 pictures cannot be used." in ran.out
    assert ran.err.startswith("headsight: annotation_train.odgt:1: The picture 273271")
    second.write_text("no picture")
    ran = run("data", "check", folder, "--json", "--no-decode")
    assert ran.code == 3
    document = json.loads(ran.out)
    assert document["schema"] == "headsight.data-check/1"
    assert len(document["problems"]) == 2
    assert ran.err.count("\n") == 2


def test_many_problems_are_not_all_listed(run: Callable, tmp_path: Path) -> None:
    rows = [f'{{"ID": "{n}", "gtboxes": []}}' for n in range(25)]
    (tmp_path / "annotation_val.odgt").write_text("\n".join(rows))
    ran = run("data", "check", tmp_path)
    assert ran.code == 3
    assert ran.err.splitlines()[-1] == "headsight: and 5 more; --json lists them all"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "nowhere"], "nowhere is no folder"),
        (["check", "."], "no known kind"),
        (["check", ".", "--kind", "coco"], "There is no kind 'coco'"),
        (["build", "biwi", ".", "--out", "o"], "Nothing called 'biwi' can be built"),
        (["build", "agora-hpe", "nowhere", "--out", "o"], "nowhere is no folder"),
        (["convert", "auto", ".", "--out", "o.jsonl"], "no known kind"),
        (["weak-labels", ".", "--out", "o.txt"], "does not end in .jsonl"),
        (["weak-labels", ".", "--out", "o.jsonl"], "holds no pictures"),
        (["weak-labels", ".", "--out", "o.jsonl", "--min-box-px", "20"], "must hold"),
    ],
)
def test_wrong_usage_is_2(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("data", *words)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_missing_files_are_3(run: Callable, tmp_path: Path) -> None:
    ran = run("data", "check", tmp_path, "--kind", "biwi")
    assert ran.code == 3
    assert "holds no frame_*_pose.txt" in ran.err


def test_build_writes_a_set_that_check_knows(
    run: Callable, made_set: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "built"
    ran = run("data", "build", "agora-hpe", made_set("agora"), "--out", out)
    assert (ran.code, ran.err) == (0, "")
    assert "1 pictures, 2 heads; left out: " in ran.out
    assert run("data", "check", out).code == 0
    ran = run("data", "build", "agora-hpe", tmp_path / "agora", "--out", out)
    assert ran.code == 2
    ran = run(
        "data", "build", "agora-hpe", tmp_path / "agora", "--out", out, "--overwrite", "--json"
    )
    assert json.loads(ran.out)["heads"] == {"validation": 2}


def test_convert(run: Callable, made_set: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "heads.jsonl"
    folder = made_set("crowdhuman")
    ran = run("data", "convert", "crowdhuman", folder, "--split", "train", "--out", out)
    assert ran.code == 0
    assert ran.out.startswith(f"{out}: 2 pictures, 3 heads, 0 with a pose; left out: 1 ignored")
    ran = run(
        "data", "convert", "auto", folder, "--out", out, "--most-heads", 1, "--overwrite", "--json"
    )  # fmt: skip
    document = json.loads(ran.out)
    assert (document["heads"], document["left_out"]["too many"]) == (2, 1)
    sorted((folder / "Images").iterdir())[0].unlink()
    assert run("data", "convert", "auto", folder, "--out", tmp_path / "b.jsonl").code == 1


def test_weak_labels_of_a_set_go_on_where_they_stopped(
    run: Callable, made_set: Callable[[str], Path], tmp_path: Path, vlm
) -> None:
    """The scripted teacher says {180,000,355} of both looks: turned away, 10 degrees apart."""
    folder, out = made_set("crowdhuman"), tmp_path / "weak.jsonl"
    ran = run("data", "weak-labels", folder, "--out", out)
    assert (ran.code, ran.err) == (0, "")
    crowd, one = read_labels(out)
    assert crowd.pose_weights.tolist() == [0.0, 0.5]  # of the first the two looks differ
    assert one.pose_weights.tolist() == [0.0]
    record = json.loads(out.read_text().splitlines()[0])
    assert record["heads"][1]["ypr_deg"] == [180.0, 0.0, -5.0]
    assert record["heads"][1]["pose_source"] == "nano"
    assert "poses: 1 kept, 2 disagreed" in ran.out
    asked = len(vlm.calls)
    before = out.read_bytes()
    out.unlink()
    ran = run("data", "weak-labels", folder, "--out", out, "--json")
    assert out.read_bytes() == before
    assert len(vlm.calls) == asked  # from the journal
    assert json.loads(ran.out)["counts"]["kept"] == 1
    assert run("data", "weak-labels", folder, "--out", out).code == 2  # exists
    other = run("data", "weak-labels", folder, "--out", tmp_path / "weak.jsonl", "--weight", 0.2)
    assert other.code == 2
    ran = run("data", "weak-labels", folder, "--out", out, "--weight", 0.2, "--overwrite")
    assert read_labels(out)[0].pose_weights.tolist() == pytest.approx([0.0, 0.2])


def test_weak_labels_of_plain_pictures_find_the_heads_first(run: Callable, tmp_path: Path) -> None:
    for name in ("a.png", "inner/b.png"):
        save_picture(tmp_path / "photos" / name, (1000, 500))
    (tmp_path / "photos" / "torn.png").write_text("torn")
    out = tmp_path / "weak.jsonl"
    ran = run("data", "weak-labels", tmp_path / "photos", "--out", out)
    assert ran.code == 1
    assert "torn.png" in ran.err
    pictures = read_labels(out)
    assert [len(p.boxes) for p in pictures] == [2, 2]
    assert pictures[0].pose_weights.tolist() == [0.0, 0.5]
    ran = run("data", "weak-labels", tmp_path / "photos" / "a.png", "--out", tmp_path / "c.jsonl")
    assert ran.code == 0


def mp100(folder: Path, *, gone: int = 0) -> Path:
    """Two persons of MP-100, of whom the pictures of so many are missing."""
    images = [
        {"id": n, "file_name": f"human_body/{n}.png", "width": 60, "height": 40} for n in range(2)
    ]
    annotations = [
        {"id": n, "image_id": n, "category_id": 72, "bbox": [5, 5, 30, 20], "keypoints": [6, 6, 2]}
        for n in range(2)
    ]
    categories = [{"id": 72, "name": "person"}]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "mp100_split1_test.json").write_text(json.dumps(whole))
    for image in images[gone:]:
        save_picture(folder / image["file_name"], (60, 40))
    return folder


def test_check_of_mp100_tells_sources(run: Callable, tmp_path: Path) -> None:
    ran = run("data", "check", mp100(tmp_path, gone=1))
    assert (ran.code, ran.err) == (1, "")
    assert "MP-100, by source" in ran.out
    rows = [line.strip("│ ").split("│") for line in ran.out.splitlines() if "│" in line]
    assert ["COCO", "1 of 2", "1", "1 of 2"] in [[cell.strip() for cell in row] for row in rows]
    assert "annotation files not there: mp100_split1_train.json" in ran.out
    assert "1 of 2 instances can be used" in ran.out
    document = json.loads(run("data", "check", tmp_path, "--kind", "mp100", "--json").out)
    assert (document["kind"], document["sources"]["COCO"]["found"]) == ("mp100", 1)
    assert run("data", "check", tmp_path, "--quiet").out == ""
    path = tmp_path / "mp100_split1_test.json"
    path.write_text(path.read_text().replace("72", "32"))  # a car
    assert "note: CarFusion: its converter names pictures" in run("data", "check", tmp_path).out


def test_check_of_mp100_leaves_with_0_or_3(run: Callable, tmp_path: Path) -> None:
    assert run("data", "check", mp100(tmp_path, gone=2)).code == 3
    ran = run("data", "check", mp100(tmp_path), "--no-decode", "--split", "test")
    assert ran.code == 0
    assert "Every instance can be used." in ran.out


def test_check_of_a_keypoint_file(run: Callable, tmp_path: Path) -> None:
    """A person of one point; then a record of two, a crowd, and one whose picture is gone."""
    folder = mp100(tmp_path)
    path = (folder / "mp100_split1_test.json").rename(folder / "labels.json")
    ran = run("data", "check", path)
    assert (ran.code, ran.err) == (0, "")
    assert "labels.json: keypoints" in ran.out
    assert "Every instance can be used." in ran.out
    whole = json.loads(path.read_text())
    bad = {**whole["annotations"][0], "id": 7, "keypoints": [6, 6, 2, 7, 7, 2], "bbox": None}
    crowd = {**whole["annotations"][0], "id": 8, "iscrowd": 1}
    stray = {**whole["annotations"][0], "id": 9, "bbox": [30, 30, 20, 8]}
    whole["annotations"] += [bad, crowd, stray]
    path.write_text(json.dumps(whole))
    (folder / "human_body" / "1.png").unlink()
    ran = run("data", "check", path)
    assert ran.code == 1
    for text in ("left out: 1 (crowd)", "note: 1 instances have most points", "2 records or"):
        assert text in ran.out, text
    first, second = ran.err.splitlines()
    assert first.startswith("headsight: annotation 7: It holds 6 numbers of keypoints")
    assert second.endswith("The picture is missing. Fetch it, or tell where it is: --images.")
    document = json.loads(run("data", "check", path, "--json", "--images", folder).out)
    assert (document["kind"], document["categories"]["person"]["usable"]) == ("keypoints", 2)
