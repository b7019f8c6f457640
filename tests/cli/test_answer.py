"""The asking commands: tables, JSON, saved pictures, many pictures, bad pictures."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from headsight.cli.show import transcript
from headsight.detections import Detections, Exchange

TABLE = """\
{photo}: 2 places
     box (x0, y0, x1, y1)    yaw  pitch  roll  score
  1  100, 100, 300, 300     -45°   +10°   +0°   0.80
  2  500, 0, 600, 100      +180°    +0°   -5°   0.80
"""


def test_heads_for_people(run: Callable, photo: Path) -> None:
    ran = run("heads", photo)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == TABLE.format(photo=photo)


def test_pose_for_people(run: Callable, photo: Path) -> None:
    ran = run("pose", photo, "--box", "500,0,600,100", "--box", "100 100 300 300")
    assert ran.code == 0
    assert [line.split()[1:] for line in ran.out.splitlines()[2:]] == [
        ["500,", "0,", "600,", "100", "+180°", "+0°", "-5°", "0.80"],
        ["100,", "100,", "300,", "300", "-45°", "+10°", "+0°", "0.80"],
    ]


def test_ground_for_people(run: Callable, photo: Path) -> None:
    ran = run("ground", photo, "the man in the red shirt")
    assert ran.code == 0
    assert "yaw" not in ran.out
    assert "100, 100, 300, 300" in ran.out


def test_ground_with_a_picture_for_words(run: Callable, photo: Path) -> None:
    for arguments in (["the man", photo], [photo, photo]):  # the wrong way round; words forgotten
        ran = run("ground", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert "is a picture; expected the words there, after the pictures" in ran.err


def test_json(run: Callable, photo: Path) -> None:
    ran = run("heads", photo, "--json")
    assert (ran.code, ran.err) == (0, "")
    whole = json.loads(ran.out)
    assert (whole["schema"], whole["model"]) == ("headsight.results/1", "scripted")
    assert whole["failures"] == []
    [document] = whole["pictures"]
    assert document["schema"] == "headsight.detections/1"
    assert document["source"] == str(photo)
    assert document["image_wh"] == [1000, 500]
    assert document["places"][0] == {
        "box": [100.0, 100.0, 300.0, 300.0],
        "score": 0.8,
        "label": "head",
        "pose": {"yaw_deg": -45.0, "pitch_deg": 10.0, "roll_deg": 0.0},
        "pose_confidence": pytest.approx(0.8),
        "pose_reading": "strict",
    }
    assert [set(e) for e in document["exchanges"]] == [{"reading"}] * 3


def test_raw_shows_the_words(run: Callable, photo: Path) -> None:
    ran = run("heads", photo, "--raw")
    lines = ran.out.splitlines()
    assert lines[4].startswith("  Q: Where is every human head")
    assert lines[5] == "  A: [[100,200,300,600;500,000,600,200]]"
    assert "  A: {315,010,000}" in lines
    [document] = json.loads(run("heads", photo, "--raw", "--json").out)["pictures"]
    assert document["exchanges"][1]["text"] == "{315,010,000}"


def test_raw_of_heads_says_that_nothing_was_written() -> None:
    reading = {"method": "heads", "heads": [[1, 0], [2, 6]], "valid": True}
    found = replace(Detections.empty((9, 9)), exchanges=(Exchange("Where is it?", "", reading),))
    [question, answer] = transcript(found).splitlines()
    assert question == "  Q: Where is it?"
    assert answer == (
        "  A: (nothing is written: read from the attention heads 1-0, 2-6, as layer-head)"
    )


def test_the_model_cannot_steer_the_terminal(run: Callable, vlm, photo: Path) -> None:
    vlm.script = lambda *_: "\x1b[2Jnone\u202e"
    out = run("heads", photo, "--raw").out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert r"\x1b[2Jnone\u202e" in out


def test_nothing_found(run: Callable, vlm, photo: Path) -> None:
    vlm.script = lambda *_: "none"
    assert run("heads", photo).out == f"{photo}: no places\n"


def test_answers_that_cannot_be_read_are_counted(run: Callable, vlm, photo: Path) -> None:
    vlm.script = lambda _, q: "left" if "yaw" in q else "[[100,200,300,600;500,000,600,200]]"
    ran = run("heads", photo)
    assert ran.code == 0  # an answer is a result, whatever it says
    assert ran.out.splitlines()[2].split()[-4:] == ["-", "-", "-", "0.80"]
    assert "2 pose answers could not be read: unreadable (--raw shows the words)" in ran.out
    [document] = json.loads(run("heads", photo, "--json").out)["pictures"]
    assert [place["pose"] for place in document["places"]] == [None, None]


def test_quiet_and_verbose(run: Callable, photo: Path) -> None:
    ran = run("heads", photo, "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert run("heads", photo, "--quiet", "--raw").out.count("A: ") == 3


def test_places_of_a_lower_score_are_left_out(run: Callable, photo: Path, tmp_path: Path) -> None:
    """The scripted model is 0.8 sure of both heads."""
    for words in (("heads", photo), ("ground", photo, "a head")):
        for score, number in ((0, 2), (0.79, 2), (0.81, 0), (1, 0)):
            ran = run(*words, "--min-score", score, "--json")
            [document] = json.loads(ran.out)["pictures"]
            assert (ran.code, len(document["places"])) == (0, number)
            assert document["exchanges"]  # what was said stays
        for score in ("-0.1", "1.1", "nan", "much"):
            ran = run(*words, "--min-score", score)
            assert (ran.code, ran.out) == (2, "")
            assert "'--min-score'" in ran.err
    assert "expected 0 to 1" in run("heads", photo, "--min-score", 2).err


def test_save(run: Callable, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "drawn.png"
    ran = run("heads", photo, "--save", target)
    assert (ran.code, ran.err) == (0, f"written: {target}\n")
    with Image.open(target) as drawn, Image.open(photo) as original:
        assert drawn.size == original.size
        assert drawn.convert("RGB").tobytes() != original.tobytes()
    before = target.read_bytes()
    ran = run("heads", photo, "--save", target)
    assert ran.code == 2
    assert "exists. Choose another --save, or give --overwrite" in ran.err
    assert target.read_bytes() == before
    ran = run("ground", photo, "a head", "--save", target, "--overwrite", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert target.read_bytes() != before
    assert sorted(p.name for p in target.parent.iterdir()) == ["drawn.png"]  # no part left behind


@pytest.mark.parametrize("name", ["drawn.jpg", "drawn.webp", "drawn.TIFF"])
def test_save_as(run: Callable, photo: Path, tmp_path: Path, name: str) -> None:
    assert run("heads", photo, "--save", tmp_path / name).code == 0
    with Image.open(tmp_path / name) as drawn:
        assert drawn.size == (1000, 500)


def test_save_never_replaces_the_photograph(run: Callable, photo: Path) -> None:
    before = photo.read_bytes()
    for target in (photo, photo.parent):
        ran = run("heads", photo, "--save", target, "--overwrite")
        assert ran.code == 2
        assert "would replace the picture" in ran.err
    assert photo.read_bytes() == before


def test_places_that_cannot_be_written(run: Callable, photo: Path, tmp_path: Path) -> None:
    ran = run("heads", photo, "--save", tmp_path / "drawn.txt")
    assert ran.code == 2
    assert "does not end like a picture" in ran.err
    ran = run("heads", photo, "--save", photo / "inside.png")
    assert ran.code == 3
    assert "cannot be written" in ran.err
    ran = run("heads", photo, photo.parent / "other.png", "--save", tmp_path / "one.png")
    assert ran.code == 2
    assert "Give a folder" in ran.err


@pytest.fixture
def album(tmp_path: Path, photo: Path) -> Path:
    """Three good pictures, one that is cut off, and a text."""
    folder = tmp_path / "album"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(photo, folder / name)
    Image.open(photo).convert("RGB").save(folder / "a.jpg")
    (folder / "broken.png").write_bytes(photo.read_bytes()[:200])
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_one_bad_picture_harms_no_other(run: Callable, album: Path, tmp_path: Path) -> None:
    ran = run("heads", album, "--json", "--save", tmp_path / "drawn")
    assert ran.code == 1
    whole = json.loads(ran.out)
    names = [Path(p["source"]).name for p in whole["pictures"]]
    assert names == ["a.jpg", "a.png", "b.png"]
    [failure] = whole["failures"]
    assert Path(failure["source"]).name == "broken.png"
    assert failure["kind"] == "ImageError"
    assert failure["error"] in ran.err
    drawn = sorted(p.name for p in (tmp_path / "drawn").iterdir())
    assert drawn == ["a-2.png", "a.png", "b.png"]


def test_patterns_and_tables(run: Callable, album: Path) -> None:
    ran = run("heads", album / "a.*", album / "b.png")
    assert ran.code == 0
    assert ran.out.count("2 places") == 3
    assert ran.err == ""  # no bar where stderr is no terminal


def test_all_pictures_bad(run: Callable, album: Path, tmp_path: Path) -> None:
    ran = run("heads", album / "broken.png", tmp_path / "absent.png")
    assert (ran.code, ran.out) == (3, "")
    told = [line.removeprefix("headsight: ") for line in ran.err.splitlines()]
    assert len(told) == 2
    for line, name in zip(told, ("broken.png", "absent.png"), strict=True):
        assert line.count(name) == 1


def test_a_single_bad_picture(run: Callable, album: Path, vlm) -> None:
    ran = run("heads", album / "broken.png")
    assert (ran.code, ran.out) == (3, "")
    assert "broken.png is" in ran.err
    assert vlm.calls == []
    whole = json.loads(run("heads", album / "broken.png", "--json").out)
    assert (whole["model"], whole["pictures"], len(whole["failures"])) == (None, [], 1)


def test_a_box_outside_the_picture(run: Callable, photo: Path) -> None:
    ran = run("pose", photo, "--box", "2000,0,2100,99")
    assert (ran.code, ran.out) == (2, "")
    assert "outside the picture, which is 1000 pixels wide and 500 high" in ran.err


def test_a_box_outside_one_of_many(run: Callable, photo: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.new("RGB", (50, 50)).save(small)
    ran = run("pose", small, photo, "--box", "500,0,600,100", "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["failures"][0]["source"] == str(small)


def test_no_pictures(run: Callable, tmp_path: Path) -> None:
    ran = run("heads", tmp_path)
    assert ran.code == 2
    assert "holds no pictures" in ran.err


def test_addresses_are_not_fetched(run: Callable) -> None:
    ran = run("heads", "https://example.org/photo.jpg")
    assert ran.code == 3
    assert "not fetched" in ran.err


PROGRAM = """
import sys
from headsight.cli.main import main
from headsight.models.base import MODELS, Reply

class Theirs:
    name = "theirs"
    def answer(self, picture, prompts, *, grammar=None, max_new_tokens=99):
        return [Reply(p, "none", (), ()) for p in prompts]

MODELS["nano"] = lambda device: Theirs()
main(sys.argv[1:])
"""


def test_the_bar_is_on_stderr_and_results_on_stdout(album: Path) -> None:
    leader, follower = pty.openpty()  # stderr is a terminal, stdout is not
    pictures = [str(album / name) for name in ("a.png", "b.png")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "heads", *pictures],
        check=False, stdout=subprocess.PIPE, stderr=follower, text=True,
    )  # fmt: skip
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert done.returncode == 0
    assert done.stdout == "".join(f"{name}: no places\n" for name in pictures)
    assert "2/2" in shown


LOUD = """
import logging
theirs = logging.getLogger("theirs")
theirs.setLevel(logging.WARNING)
theirs.addHandler(logging.StreamHandler())
answer = Theirs.answer

def loud(*asked, **options):
    theirs.warning("retrying")
    return answer(*asked, **options)

Theirs.answer = loud
"""


def test_what_a_library_logs_itself_is_not_logged_again(photo: Path) -> None:
    program = PROGRAM.replace("main(sys", f"{LOUD}\nmain(sys")
    done = subprocess.run(
        [sys.executable, "-c", program, "ground", str(photo), "cup"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "retrying\n")


@pytest.mark.parametrize("words", [("heads",), ("pose", "--box", "1,2,30,40"), ("ground", "cup")])
def test_quantize_reaches_the_loader(
    run: Callable, photo: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    command, *rest = words
    places = (photo, *rest)
    ran = run(command, *places, "--quantize", "4")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("headsight: quantize=4 is for large models in a folder")
    ran = run(command, *places, "--quantize", "5", "--model", tmp_path, "--device", "cpu")
    assert ran.code == 2
    assert "quantize is 5; expected 4 or 8" in ran.err


def test_a_closed_pipe_is_no_error(album: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "heads", str(album / "a.png"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
