"""`headsight schema`: new, check, show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageColor

from headsight.draw_keypoints import SIDE_COLORS
from headsight.language.schema_library import read_schema, schema


def test_new_writes_a_template_that_check_wants_filled_in(run: Callable, tmp_path: Path) -> None:
    path = tmp_path / "mug.json"
    words = ("schema", "new", "mug-3", "--points", "left rim, right rim, base")
    made = run(*words, "--category", "mug", "--output", path)
    assert (made.code, made.out, made.err) == (0, "", f"written: {path}\n")
    assert read_schema(path).left_right_pairs == ((0, 1),)
    assert read_schema(path).categories == ("mug",)
    checked = run("schema", "check", path)
    assert checked.code == 1
    assert f"{path}: 3 problems" in checked.out
    assert "  left rim: The description is still to be written." in checked.out
    again = run(*words, "--output", path)
    assert (again.code, again.out) == (2, "")
    assert "exists. Give another --output, or --overwrite" in again.err
    assert run(*words, "--output", path, "--overwrite", "--quiet").err == ""


def test_new_prints_without_output(run: Callable) -> None:
    assert len(json.loads(run("schema", "new", "box").out)["keypoints"]) == 4
    like = json.loads(run("schema", "new", "my-dog", "--like", "dog").out)
    assert like["keypoints"] == schema("animal-17").to_dict()["keypoints"]
    assert (like["name"], like["categories"]) == ("my-dog", ["my-dog"])
    assert "mp100" not in like


def test_new_takes_names_or_a_schema(run: Callable) -> None:
    ran = run("schema", "new", "x", "--like", "dog", "--points", "a, b")
    assert ran.code == 2
    assert "--points and --like were both given. Give one" in ran.err
    ran = run("schema", "new", "x", "--points", "a, b, a")
    assert ran.code == 3
    assert "names the keypoint 'a' twice (number 0 and 2, from 0)" in ran.err


def test_check(run: Callable, tmp_path: Path) -> None:
    good = run("schema", "check", "person-17", "dog")
    assert good.code == 0
    assert good.out == "person-17: 17 keypoints, all is well\ndog: 17 keypoints, all is well\n"
    path = tmp_path / "bad.json"
    text = json.dumps({"name": "dot-1", "keypoints": [{"name": "dot", "description": "TODO"}]})
    path.write_text(text, "utf-8")
    bad = run("schema", "check", "bed", path, "--json")
    assert bad.code == 1
    document = json.loads(bad.out)
    assert document["schema"] == "headsight.schema-check/1"
    assert [len(row["problems"]) for row in document["schemas"]] == [0, 1]
    assert document["schemas"][1]["problems"][0]["where"] == "dot"
    assert run("schema", "check", path, "--quiet").out == ""
    assert run("schema", "check", tmp_path / "none.json").code == 3
    assert run("schema", "check", "unicorn").code == 2


def test_show_lists_the_shipped_ones(run: Callable) -> None:
    lines = run("schema", "show").out.splitlines()
    assert len(lines) == 31
    assert [line.split()[:2] for line in lines[:2]] == [["schema", "points"], ["animal-17", "17"]]
    assert max(map(len, lines)) <= 100
    rows = json.loads(run("schema", "show", "--json").out)["schemas"]
    assert {row["name"]: row["points"] for row in rows}["face-68"] == 68


def test_show_one(run: Callable) -> None:
    page = run("schema", "show", "horse").out
    assert page.startswith("animal-17: 17 keypoints\nfor animal, horse, dog")
    assert "  4  root of tail\n     The place where the tail grows out of the rump" in page
    assert "     joined with: neck, left hip, right hip\n" in page
    assert "     The left eye.\n" in run("schema", "show", "horse", "--vague").out
    assert json.loads(run("schema", "show", "horse", "--json").out) == schema("horse").to_dict()


def test_show_a_file_with_little_in_it(run: Callable, tmp_path: Path) -> None:
    path = tmp_path / "dot.json"
    point = {"name": "dot", "description": "The only black dot on this die."}
    path.write_text(json.dumps({"name": "dot-1", "keypoints": [point]}), "utf-8")
    shown = run("schema", "show", path).out
    assert shown == "dot-1: 1 keypoints\n  0  dot\n     The only black dot on this die.\n"


def test_show_an_unknown_one(run: Callable) -> None:
    ran = run("schema", "show", "hors")
    assert (ran.code, ran.out) == (2, "")
    assert "Nearest: horse (animal-17)" in ran.err


def labels(folder: Path, number: int = 3) -> Path:
    """One owl of so many points in a picture."""
    Image.new("RGB", (200, 100), "gray").save(folder / "owl.png")
    points = [(60 + 30 * place, 40, 2) for place in range(number)]
    annotation = {
        "id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 10, 160, 80], "area": 12800,
        "iscrowd": 0, "num_keypoints": number, "keypoints": [v for p in points for v in p],
    }  # fmt: skip
    document = {
        "images": [{"id": 1, "file_name": "owl.png", "width": 200, "height": 100}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "owl", "keypoints": [f"p{n}" for n in range(number)]}],
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


def test_show_draws_on_labels(run: Callable, tmp_path: Path) -> None:
    mine, drawn = tmp_path / "mine.json", tmp_path / "drawn.png"
    run("schema", "new", "owl-3", "--points", "right eye, beak, left eye", "--output", mine)
    words = ("schema", "show", mine, "--on", labels(tmp_path), "--save", drawn)
    ran = run(*words)
    assert (ran.code, ran.out, ran.err) == (0, "", f"written: {drawn}\n")
    with Image.open(drawn) as picture:
        assert max(picture.size) == 1400
        used = {color for _, color in picture.getcolors(1 << 24) or ()}
    assert {ImageColor.getrgb(color) for color in SIDE_COLORS.values()} <= used
    again = run(*words)
    assert again.code == 2
    assert "exists. Give another --save, or --overwrite" in again.err
    assert run(*words, "--overwrite", "--quiet").err == ""


def test_show_on_labels_of_another_kind(run: Callable, tmp_path: Path) -> None:
    words = ("--on", labels(tmp_path), "--save", tmp_path / "drawn.png")
    other = run("schema", "show", "hand", *words)
    assert other.code == 3
    assert "(owl) has 3 points, but the schema hand-21 has 21. Give the schema" in other.err
    beyond = run("schema", "show", "hand", *words, "--item", 1)
    assert beyond.code == 2
    assert "has 1 labelled objects. Give --item below that" in beyond.err
    for some in (("hand", *words[:2]), ("hand", *words[2:]), words):
        ran = run("schema", "show", *some)
        assert ran.code == 2
        assert "A drawing needs a SCHEMA, --on LABELS and --save PICTURE. Give all three" in ran.err


def test_names_in_files_cannot_steer_the_terminal(run: Callable, tmp_path: Path) -> None:
    path = tmp_path / "sly.json"
    point = {"name": "dot\x1b[2J", "description": "The only\x1b[2J dot."}
    path.write_text(json.dumps({"name": "sly\x1b[2J", "keypoints": [point]}), "utf-8")
    for words in (("show", path), ("check", path)):
        out = run("schema", *words).out
        assert "dot\\x1b[2J" in out
        assert "\x1b" not in out
