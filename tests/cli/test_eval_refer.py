"""`headsight eval refer` and `eval segment`: figures, exit codes, going on after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headsight.cli.asking import AT_ONCE
from headsight.cli.eval_refer import refer
from headsight.cli.main import COMMANDS
from headsight.errors import HeadsightError, InputError
from headsight.geometry.masks import boxes_to_masks, mask_to_rle, rle_to_mask
from headsight.models.base import MODELS
from headsight.picture import Picture

CUP = [100, 100, 300, 300]  # what the scripted model says of pictures of 1000 x 500, as px
RIGHT, WRONG, NONE = "[[100,200,300,600]]", "[[700,700,800,800]]", "none"


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("refer", "segment"):
        monkeypatch.setitem(COMMANDS, f"eval {name}", (f"headsight.cli.eval_refer:{name}", name))


def answer(picture: Picture, prompt: str) -> str:
    """What the expression itself asks to be said."""
    for word, said in (("right", RIGHT), ("wrong", WRONG), ("nothing", NONE), ("odd", "[[1,2")):
        if word in prompt:
            return said
    raise AssertionError(prompt)


@pytest.fixture
def model(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    vlm = scripted(answer)
    monkeypatch.setitem(MODELS, "scripted", lambda device: vlm)
    return vlm


def data(folder: Path, *rows: tuple[str, Any], masks: bool = False) -> Path:
    """Expressions about two pictures by turns; the picture of an expression with `gone` is absent."""
    lines = []
    for n, (text, box) in enumerate(rows):
        name = "gone.png" if "gone" in text else f"{n % 2}.png"
        row = {"image": name, "sent": text, "bbox": box, "width": 1000, "height": 500}
        if masks and box is not None:
            row["segmentation"] = mask_to_rle(
                boxes_to_masks(np.array([box], float), (1000, 500))[0]
            )
        lines.append(json.dumps(row))
    for n in range(2):
        Image.new("RGB", (1000, 500)).save(folder / f"{n}.png")
    path = folder / "refs.jsonl"
    path.write_text("\n".join(lines))
    return path


ROWS = (
    ("right cup", CUP),
    ("wrong cup", CUP),
    ("nothing", None),
    ("odd cup", CUP),
    ("wrong", None),
)


def test_figures_of_a_whole_run(run: Callable, model: Any, tmp_path: Path) -> None:
    out = tmp_path / "out" / "result.json"
    path = data(tmp_path, *ROWS)
    ran = run("eval", "refer", "--data", path, "--model", "scripted", "--json", "--output", out)
    assert (ran.code, ran.err) == (0, f"written: {out}\n")
    result = json.loads(ran.out)
    assert result == json.loads(out.read_text())
    assert result["schema"] == "headsight.eval-refer/1"
    figures = result["figures"]
    assert figures["acc@0.9"] == pytest.approx(1 / 3)
    assert (figures["n_acc"], figures["right"], figures["set_acc"]) == (0.5, 0.4, None)
    assert figures["answers"]["failures"] == {"truncated": 1}
    assert (figures["expressions"], figures["pictures"]) == (5, 2)
    settings = result["settings"]
    assert (settings["data"], settings["expressions"], settings["method"]) == (
        "refs.jsonl",
        5,
        "auto",
    )
    assert ">= threshold" in settings["rule"]
    assert "right cup" in result["prompt"]
    assert result["versions"].keys() == {"headsight", "torch", "transformers"}
    asked = [(Path(picture.source).name, len(prompts)) for picture, prompts, _ in model.calls]
    assert asked == [("0.png", 3), ("1.png", 2)]  # all about a picture at once


def test_a_table_for_people(run: Callable, model: Any, tmp_path: Path) -> None:
    ran = run("eval", "refer", "--data", data(tmp_path, *ROWS), "--model", "scripted")
    assert ran.code == 0
    for word in ("acc@0.5", "0.333", "n_acc", "truncated", "large", "refs.jsonl: 5"):
        assert word in ran.out
    assert "set_acc" not in ran.out  # nothing of that kind was asked


def test_limit(run: Callable, model: Any, tmp_path: Path) -> None:
    ran = run(
        "eval",
        "refer",
        "--data",
        data(tmp_path, *ROWS),
        "--model",
        "scripted",
        "--limit",
        2,
        "--json",
    )
    assert json.loads(ran.out)["figures"]["expressions"] == len(model.calls) == 2


def test_missing_pictures_are_told_and_the_code_is_1(
    run: Callable, model: Any, tmp_path: Path
) -> None:
    path = data(tmp_path, *ROWS, ("gone one", CUP))
    ran = run("eval", "refer", "--data", path, "--model", "scripted", "--json")
    assert ran.code == 1
    result = json.loads(ran.out)
    assert result["figures"]["expressions"] == 5
    assert result["left_out"]["expressions"] == 1
    assert "gone.png is missing" in result["left_out"]["first"][0]["error"]
    assert "left out" in run("eval", "refer", "--data", path, "--model", "scripted").out


def test_one_bad_picture_is_told_and_the_rest_go_on(
    run: Callable, model: Any, tmp_path: Path
) -> None:
    path = data(tmp_path, *ROWS)
    Image.new("RGB", (10, 10)).save(tmp_path / "1.png")
    ran = run("eval", "refer", "--data", path, "--model", "scripted", "--json")
    assert ran.code == 1
    result = json.loads(ran.out)
    assert [f["id"] for f in result["failures"]] == ["2", "4"]
    assert [line.split(": ")[:2] for line in ran.err.splitlines()] == [
        ["headsight", "2"],
        ["headsight", "4"],
    ]
    assert "is 10 x 10 px, but the labels are for 1000 x 500" in result["failures"][0]["error"]
    (tmp_path / "0.png").write_text("<html>")
    assert run("eval", "refer", "--data", path, "--model", "scripted", "--json").code == 3


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--method", "guess"], 2, "--method is 'guess'; expected one of native, heads, auto"),
        (["--data", "nothing"], 2, "is no set of referring expressions"),
        (["--split", "val"], 2, "has no split 'val'"),
        (["--method", "heads"], 2, "--method heads needs --heads FILE"),
        (["--k", "5"], 2, "give --heads"),
        (["--limit", "0"], 2, "greater than or equal to 1"),
        (["--server", "http://here", "--heads", "h.json"], 2, "behind --server http://here"),
        (["--server", "http://here", "--method", "heads"], 2, "behind --server http://here"),
        (["--model", "scriptd"], 2, "Did you mean 'scripted'?"),
    ],
)
def test_wrong_usage(
    run: Callable, model: Any, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    path = data(tmp_path, *ROWS)
    ran = run("eval", "refer", "--data", path, "--model", "scripted", *words)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err


def test_an_unusable_file_is_3(run: Callable, model: Any, tmp_path: Path) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(b"cos\nsystem\n.")
    ran = run("eval", "refer", "--data", path, "--model", "scripted")
    assert ran.code == 3
    assert "could run code" in ran.err


def test_a_killed_run_goes_on_where_it_stopped(
    run: Callable, scripted: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Stopped at every point in turn, the last line of its journal torn.

    What the journal holds is not asked again; it grows by pictures, of 3 and of 2 expressions.
    """
    path = data(tmp_path, *ROWS)
    words = ("eval", "refer", "--data", path, "--model", "scripted", "--json")
    monkeypatch.setitem(MODELS, "scripted", lambda device: scripted(answer))
    expected = json.loads(run(*words).out)["figures"]
    for stop in range(1, 5):
        out = tmp_path / f"{stop}.json"

        asked = count(1)

        def dying(picture: Picture, prompt: str, stop: int = stop, asked: Any = asked) -> str:
            if next(asked) > stop:
                raise KeyboardInterrupt
            return answer(picture, prompt)

        monkeypatch.setitem(MODELS, "scripted", lambda device, f=dying: scripted(f))
        ran = run(*words, "--output", out)
        assert (ran.code, out.exists()) == (130, False)
        journal = tmp_path / f"{stop}.json.journal"
        held = len(journal.read_text().splitlines()) - 1
        assert held == (0 if stop < 3 else 3)
        with journal.open("a") as file:
            file.write('{"id": "torn')
        vlm = scripted(answer)
        monkeypatch.setitem(MODELS, "scripted", lambda device, vlm=vlm: vlm)
        ran = run(*words, "--output", out)
        assert ran.code == 0
        assert sum(len(prompts) for _, prompts, _ in vlm.calls) == 5 - held
        assert json.loads(out.read_text())["figures"] == expected


def test_a_result_is_not_overwritten_unasked(run: Callable, model: Any, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    words = (
        "eval",
        "refer",
        "--data",
        data(tmp_path, *ROWS),
        "--model",
        "scripted",
        "--output",
        out,
    )
    assert run(*words).code == 0
    ran = run(*words)
    assert ran.code == 2
    assert "exists. Choose another --output, or give --overwrite" in ran.err
    model.calls.clear()
    assert run(*words, "--overwrite").code == 0
    assert len(model.calls) == 2


def test_other_settings_or_labels_do_not_go_on(run: Callable, model: Any, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    path = data(tmp_path, *ROWS)
    words = ("eval", "refer", "--data", path, "--model", "scripted", "--output", out)
    assert run(*words).code == 0
    out.unlink()
    assert run(*words).code == 0
    out.unlink()
    data(tmp_path, *ROWS[:-1], ("wrong", CUP))
    ran = run(*words)
    assert ran.code == 3
    assert "made with other settings or data" in ran.err


def test_a_model_that_is_gone_ends_the_run(
    run: Callable, scripted: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    asked = count(1)

    def gone(picture: Picture, prompt: str) -> str:
        if next(asked) > 20:
            raise HeadsightError("The server is gone.")
        return answer(picture, prompt)

    vlm = scripted(gone)
    monkeypatch.setitem(MODELS, "scripted", lambda device: vlm)
    path = data(tmp_path, *(ROWS[:1] * 30))
    out = tmp_path / "result.json"
    ran = run("eval", "refer", "--data", path, "--model", "scripted", "--output", out)
    assert ran.code == 3
    assert "The server is gone" in ran.err
    # 15 expressions about each picture: one call for the first, one that fails, then five alone
    assert [len(prompts) for _, prompts, _ in vlm.calls] == [15, 15, 1, 1, 1, 1, 1]
    assert len((tmp_path / "result.json.journal").read_text().splitlines()) == 1 + 15
    vlm = scripted(answer)
    assert run("eval", "refer", "--data", path, "--model", "scripted", "--output", out).code == 0
    assert [len(prompts) for _, prompts, _ in vlm.calls] == [15]


def test_a_bad_expression_harms_no_other_about_its_picture(
    run: Callable, scripted: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One without words is not asked; one that the model refuses is found by asking one by one."""

    def picky(picture: Picture, prompt: str) -> str:
        if "refused" in prompt:
            raise InputError("That is refused.")
        return answer(picture, prompt)

    vlm = scripted(picky)
    monkeypatch.setitem(MODELS, "scripted", lambda device: vlm)
    rows = [("right cup", CUP)] * 8
    rows[2], rows[5] = ("?!", CUP), ("refused", CUP)
    words = ("--data", data(tmp_path, *rows), "--model", "scripted", "--json")
    result = json.loads(run("eval", "refer", *words).out)
    assert [f["id"] for f in result["failures"]] == ["3", "6"]
    assert "has no words" in result["failures"][0]["error"]
    assert (result["figures"]["expressions"], result["figures"]["acc@0.9"]) == (6, 1)
    assert [len(prompts) for _, prompts, _ in vlm.calls] == [3, 4, 1, 1, 1, 1]


def test_many_expressions_are_asked_in_parts(run: Callable, model: Any, tmp_path: Path) -> None:
    path = data(tmp_path, *(ROWS[:1] * (4 * AT_ONCE)))
    assert run("eval", "refer", "--data", path, "--model", "scripted", "--json").code == 0
    assert [len(prompts) for _, prompts, _ in model.calls] == [AT_ONCE] * 4


def test_segment_by_filled_boxes(run: Callable, model: Any, tmp_path: Path) -> None:
    """Right 200 x 200 px; wrong and odd nothing of it: 40000 of 3 x 40000 + wrong masks of 100 x 50."""
    path = data(tmp_path, *ROWS, masks=True)
    ran = run("eval", "segment", "--data", path, "--model", "scripted", "--json")
    assert (ran.code, ran.err) == (0, "")
    result = json.loads(ran.out)
    figures = result["figures"]
    assert result["schema"] == "headsight.eval-segment/1"
    assert figures["ciou"] == 40_000 / (3 * 40_000 + 2 * 5_000)
    assert figures["giou_mask"] == pytest.approx(2 / 5)  # right, and nothing where nothing is
    assert figures["mask_kinds"] == {"coarse-box": 3, "none": 2}
    shown = run("eval", "segment", "--data", path, "--model", "scripted").out
    assert "giou_mask" in shown


def test_segment_by_a_segmenter_and_on_from_its_journal(
    run: Callable, model: Any, sam_folder: Path, tmp_path: Path
) -> None:
    """The figures are those of what `ground --segmenter` gives, also when read from the journal."""
    path, out = data(tmp_path, *ROWS[:3], masks=True), tmp_path / "result.json"
    words = ("--model", "scripted", "--segmenter", sam_folder, "--device", "cpu")
    assert run("eval", "segment", "--data", path, *words, "--output", out).code == 0
    first = json.loads(out.read_text())
    assert first["figures"]["mask_kinds"] == {"segmenter": 2, "none": 1}
    assert first["settings"]["segmenter"] == str(sam_folder)
    intersection = union = 0
    truth = boxes_to_masks(np.array([CUP], float), (1000, 500))[0]
    for n, (text, _) in enumerate(ROWS[:2]):
        ran = run("ground", tmp_path / f"{n % 2}.png", text, *words, "--json")
        [place] = json.loads(ran.out)["pictures"][0]["places"]
        drawn = rle_to_mask(place["mask"])
        intersection += int((drawn & truth).sum())
        union += int((drawn | truth).sum())
    assert 0 < intersection < union
    assert first["figures"]["ciou"] == intersection / union
    assert first["figures"]["ciou_of_boxes"] == 40_000 / (2 * 40_000 + 5_000)

    out.unlink()
    model.calls.clear()
    assert run("eval", "segment", "--data", path, *words, "--output", out).code == 0
    assert model.calls == []
    assert json.loads(out.read_text())["figures"] == first["figures"]
    shown = run("eval", "segment", "--data", path, *words).out
    assert "masks: segmenter" in shown
    ran = run("eval", "segment", "--data", path, "--model", "scripted", "--output", out)
    assert "exists" in ran.err
    out.unlink()
    ran = run("eval", "segment", "--data", path, "--model", "scripted", "--output", out)
    assert (ran.code, "made with other settings" in ran.err) == (3, True)


def test_boxes_read_from_masks(run: Callable, model: Any, sam_folder: Path, tmp_path: Path) -> None:
    words = ("eval", "refer", "--data", data(tmp_path, ROWS[0]), "--model", "scripted")
    assert json.loads(run(*words, "--json").out)["figures"]["acc@0.9"] == 1
    ran = run(*words, "--segmenter", sam_folder, "--rec-box", "sam", "--json")
    result = json.loads(ran.out)
    assert result["settings"]["rec_box"] == "sam"
    assert result["figures"]["acc@0.9"] == 0  # a random segmenter's box is another
    ran = run(*words, "--segmenter", sam_folder)
    assert (ran.code, ran.out) == (2, "")
    assert "changes no box by itself. Add --rec-box sam" in ran.err
    assert "rec_box 'sam' needs a segmenter" in run(*words, "--rec-box", "sam").err


def test_segment_needs_masks(run: Callable, model: Any, tmp_path: Path) -> None:
    ran = run("eval", "segment", "--data", data(tmp_path, *ROWS), "--model", "scripted")
    assert ran.code == 3
    assert "has no masks. Use headsight eval refer" in ran.err
    assert model.calls == []


def test_expressions_without_a_mask_are_left_out(run: Callable, model: Any, tmp_path: Path) -> None:
    path = data(tmp_path, *ROWS, masks=True)
    bare = {"image": "0.png", "sent": "right bare", "bbox": CUP, "width": 1000, "height": 500}
    path.write_text(path.read_text() + "\n" + json.dumps(bare))
    ran = run("eval", "segment", "--data", path, "--model", "scripted", "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["left_out"]["first"] == [
        {"id": "6", "error": "It has no true mask."}
    ]


def test_scenes_are_asked_about_by_our_own_grammar(
    run: Callable, model: Any, scripted: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    vlm = scripted(lambda picture, prompt: RIGHT)
    monkeypatch.setitem(MODELS, "scripted", lambda device: vlm)
    Image.new("RGB", (1000, 500)).save(tmp_path / "0.png")
    head = {"id": 1, "image_id": 0, "bbox": [100, 100, 200, 200], "attributes": {"gender": "man"}}
    images = [
        {"id": n, "file_name": "0.png", "width": 1000, "height": 500} for n in (0, 1)
    ]  # the second has no heads: nothing to ask
    (tmp_path / "annotations.json").write_text(
        json.dumps({"images": images, "annotations": [head]})
    )
    ran = run("eval", "refer", "--data", tmp_path, "--model", "scripted", "--json")
    assert ran.code == 0
    figures = json.loads(ran.out)["figures"]
    assert (figures["expressions"], figures["pictures"]) == (4, 1)
    assert figures["acc@0.9"] == 1
    assert list(figures["by_category"]) == ["head"]


def test_a_server_is_asked_in_the_place_of_a_model(
    run: Callable, monkeypatch: pytest.MonkeyPatch, scripted: Any, tmp_path: Path
) -> None:
    import headsight.models.server as server
    from headsight.language.dialects import DIALECTS

    made = []

    def serve(url: str, name: str, *, dialect: str | None) -> Any:
        made.append((url, name, dialect))
        vlm = scripted(answer)
        vlm.dialect = "headsight"
        vlm.read = lambda picture, reply, *, mode: DIALECTS["headsight"].parse(
            reply.text, picture.image_wh, mode=mode
        )
        return vlm

    monkeypatch.setattr(server, "ServerVLM", serve)
    words = ("--data", data(tmp_path, *ROWS), "--server", "http://here:8000/v1", "--model", "qwen")
    ran = run("eval", "refer", *words, "--json")
    assert ran.code == 0
    assert made == [("http://here:8000/v1", "qwen", None)]
    assert json.loads(ran.out)["settings"]["server"] == "http://here:8000/v1"
    ran = run("eval", "refer", *words, "--json", "--dialect", "qwen3_vl")
    assert (ran.code, made[1][2]) == (0, "qwen3_vl")
    assert json.loads(ran.out)["settings"]["dialect"] == "qwen3_vl"
    ran = run("eval", "refer", "--data", words[1], "--model", "scripted", "--dialect", "qwen3_vl")
    assert (ran.code, ran.out) == (2, "")
    assert "only a served model needs one" in ran.err


def test_the_command_is_a_plain_function(model: Any, tmp_path: Path, capsys: Any) -> None:
    refer(str(data(tmp_path, *ROWS)), model="scripted", as_json=True, quiet=True)
    assert json.loads(capsys.readouterr().out)["figures"]["expressions"] == 5
