"""Places read from where attention heads look: on nano, whose tokens lie at heads of people."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headsight
from headsight.attention.head_set import HeadSet, model_fingerprint
from headsight.attention.selection import SelectionRule
from headsight.attention.selection_counts import SelectionCounts
from headsight.cli.main import main
from headsight.cli.show import table
from headsight.data.refs import RefSample
from headsight.detections import Detections, Exchange
from headsight.errors import CheckpointError, InputError
from headsight.geometry.boxes import box_iou
from headsight.geometry.masks import boxes_to_masks, mask_to_rle
from headsight.grounder import Grounder
from headsight.models.base import MODELS, NANO
from headsight.models.image_views import ImageView, RegionView
from headsight.picture import Picture, open_picture
from headsight.tasks.finding import Search, search_heads
from headsight.tasks.looking import Looks, Question, look, read_looks

SAMPLE = Path(headsight.__file__).parent / "samples" / "astronaut.jpg"
PROMPT = "Where is {words}? answer in [[x0,y0,x1,y1]] format."


@pytest.fixture(scope="module")
def grounder() -> Grounder:
    return headsight.load()


@pytest.fixture(scope="module")
def photo() -> Picture:
    return open_picture(SAMPLE)


@pytest.fixture(scope="module")
def heads(grounder: Grounder, photo: Picture) -> HeadSet:
    counts = None
    for words in ("the woman", "the largest head"):
        looks = look(grounder.vlm, photo, words, Question(prompt=PROMPT, query="last_prompt"))
        counts = counts or SelectionCounts(*looks.maps.shape[:2])
        counts.add(looks.maps, valid=looks.valid)
    assert counts is not None
    return HeadSet.of(
        counts.selection(),
        model=model_fingerprint(grounder.vlm.model),
        prompt=PROMPT,
        query="last_prompt",
    )


def test_maps_are_true_shares_of_attention_on_what_the_tokens_hold(
    grounder: Grounder, photo: Picture
) -> None:
    looks = look(grounder.vlm, photo, "the woman", Question(prompt=PROMPT, query="last_prompt"))
    config = grounder.vlm.model.config
    assert isinstance(looks.view, RegionView)
    assert len(looks.view.positions) == 48
    assert looks.maps.shape == (config.num_hidden_layers, config.num_attention_heads, 96, 96)
    assert looks.valid.all()
    sums = looks.maps.sum((-2, -1))
    assert sums.min() > 0
    assert sums.max() < 1  # some of it falls on the text
    # the picture is of one head, whose box one of the tokens holds
    true = np.array([[160, 24, 297, 179]], float)
    assert np.asarray(box_iou(looks.view.regions, true)).max() > 0.6


def test_the_row_before_the_first_number(grounder: Grounder, photo: Picture) -> None:
    """The answer begins with [[, one token, and the row is that token's."""
    asked = PROMPT.replace("{words}", "the woman")
    inputs = grounder.vlm.prepare(photo, asked, written="[[")
    assert grounder.vlm.processor.tokenizer.decode(inputs["input_ids"][0, -1]) == "[["
    assert len(grounder.vlm.prepare(photo, asked)["input_ids"][0]) + 1 == len(
        inputs["input_ids"][0]
    )
    before = look(grounder.vlm, photo, "the woman", Question(prompt=PROMPT, query="last_prompt"))
    answer = look(
        grounder.vlm, photo, "the woman", Question(prompt=PROMPT, query="answer", opening="[[")
    )
    nothing_said = look(grounder.vlm, photo, "the woman", Question(prompt=PROMPT, query="answer"))
    assert np.abs(answer.maps - before.maps).max() > 1e-3
    np.testing.assert_array_equal(nothing_said.maps, before.maps)


def test_the_token_that_looks_can_be_chosen(grounder: Grounder, photo: Picture) -> None:
    last_word = look(grounder.vlm, photo, "the woman", Question(prompt=PROMPT))
    last_token = look(
        grounder.vlm, photo, "the woman", Question(prompt=PROMPT, query="last_prompt")
    )
    alone = look(grounder.vlm, photo, "the woman")
    assert np.abs(last_word.maps - last_token.maps).max() > 1e-3
    # the words stand before what differs, and a full stop looks from another place
    assert np.abs(last_word.maps - alone.maps).max() > 1e-3


def test_the_row_of_the_words_is_the_mean_of_their_tokens(
    grounder: Grounder, photo: Picture
) -> None:
    """One word of one token: the mean is that token's row, and the words end there."""
    asked = PROMPT.replace("{words}", "woman")
    first, after = grounder.vlm.text_span(photo, asked, "woman")
    assert after - first == 1
    mean = look(grounder.vlm, photo, "woman", Question(prompt=PROMPT, query="mean_text"))
    last = look(grounder.vlm, photo, "woman", Question(prompt=PROMPT, query="last_text"))
    np.testing.assert_allclose(mean.maps, last.maps, atol=1e-7)
    longer = look(grounder.vlm, photo, "the woman", Question(prompt=PROMPT, query="mean_text"))
    assert np.abs(longer.maps - mean.maps).max() > 1e-3


def test_expressions_about_a_picture_are_those_alone(
    grounder: Grounder, photo: Picture, heads: HeadSet
) -> None:
    words = ("the woman", "the largest head", "the person on the left")
    for used in (None, heads):
        together = grounder.ground_each(photo, words, heads=used)
        for one, expression in zip(together, words, strict=True):
            alone = grounder.ground(photo, expression, heads=used)
            assert one.boxes.tolist() == alone.boxes.tolist()
            assert one.label_names == alone.label_names
            assert [e.text for e in one.exchanges] == [e.text for e in alone.exchanges]
            np.testing.assert_allclose(one.scores, alone.scores, rtol=1e-4)  # rounding of a batch
    assert grounder.ground_each(photo, ()) == grounder.ground_each(photo, (), heads=heads) == []


def blob(x: int, weight: float = 0.5) -> np.ndarray:
    heat = np.full((4, 8), 0.001)
    heat[1:3, x : x + 2] = weight / 4
    return heat


def looks_of(*maps: np.ndarray) -> Looks:
    """One layer whose heads have these maps, over a picture of 80 x 40 px."""
    view = ImageView((4, 8), np.arange(32), (0.0, 0.0, 80.0, 40.0))
    return Looks(np.stack(maps)[None], view, np.ones((4, 8), bool))


def test_fixed_and_greedy_heads() -> None:
    """Head 0 looks left in two places, head 1 right in one: a greedy picture chooses head 1."""
    looks = looks_of(blob(0) + blob(4, 0.1), blob(6))
    rule = SelectionRule(skip_layers=0, tau=0.2)
    fixed = HeadSet(heads=((0, 0),), model="", rule=rule, sigma=0.0)
    chosen, heat = read_looks(looks, fixed)
    assert chosen == ((0, 0),)
    np.testing.assert_allclose(heat, looks.maps[0, 0])
    chosen, heat = read_looks(looks, fixed.changed(choice="greedy"))
    assert chosen == ((0, 1),)
    np.testing.assert_allclose(heat, looks.maps[0, 1])


def test_the_cells_of_a_box() -> None:
    """Cells are 10 px; their centres are asked: 5, 15, 25 ... from 20 to 45 are two."""
    truth = looks_of(blob(0)).truth(np.array([[20.0, 0, 45, 10], [70, 30, 80, 40]]))
    assert np.argwhere(truth).tolist() == [[0, 2], [0, 3], [3, 7]]
    assert not looks_of(blob(0)).truth(np.zeros((0, 4))).any()


def asked(*texts: str) -> list[RefSample]:
    box = np.array([[160.0, 24, 297, 179]])
    return [RefSample(str(n), SAMPLE, (512, 512), text, box) for n, text in enumerate(texts)]


def test_a_search_notes_what_cannot_be_asked_and_goes_on(grounder: Grounder) -> None:
    samples = asked("the woman", "?!", "the man")
    search = Search([np.arange(3)])
    done = [each.done for each in search_heads(grounder.vlm, samples, search)]
    assert (done, search.failed, search.selections[0].samples) == ([1, 2, 3], 1, 2)
    assert search.failures[0][0] == "1"
    assert "has no words" in search.failures[0][1]


def test_a_search_in_vain_is_given_up(grounder: Grounder) -> None:
    search = Search([np.arange(12)])
    with pytest.raises(InputError, match=r"first 10 expressions all fail: .* has no words"):
        list(search_heads(grounder.vlm, asked(*["?!"] * 12), search))
    assert search.done == 10


def test_a_place_is_found_without_a_word_written(
    grounder: Grounder, photo: Picture, heads: HeadSet
) -> None:
    found = grounder.ground(photo, "the woman", heads=heads)
    [exchange] = found.exchanges
    assert exchange.text == ""
    assert exchange.reading["heads"] == [list(pair) for pair in heads.heads]
    assert len(found) == 1
    x0, y0, x1, y1 = found.boxes[0]
    assert 0 <= x0 < x1 <= photo.image_wh[0]
    assert 0 <= y0 < y1 <= photo.image_wh[1]
    assert 0 < found.scores[0] <= 1


def test_the_map_comes_with_the_place(grounder: Grounder, photo: Picture, heads: HeadSet) -> None:
    found = grounder.ground(photo, "the woman", heads=heads)
    looks = look(grounder.vlm, photo, "the woman", Question(prompt=PROMPT, query="last_prompt"))
    heat = found.heat
    assert heat is not None
    assert heat.region == looks.view.region
    assert heat.values.shape == looks.valid.shape
    seen = heat.values[looks.valid]
    np.testing.assert_allclose(heat.values[~looks.valid], seen.mean())  # no token: tells nothing
    np.testing.assert_allclose(heat.values.mean(), seen.mean())
    assert seen.max() > seen.mean()


def test_a_mask_without_a_segmenter_is_where_the_heads_look(
    grounder: Grounder, photo: Picture, heads: HeadSet
) -> None:
    found = grounder.ground(photo, "the woman", heads=heads, masks=True)
    assert found.attributes["mask_kind"] == ("coarse-attention",)
    assert found.attributes["box_from"] == ("attention",)
    [mask], [box] = found.masks, found.boxes
    inside = boxes_to_masks(box[None], photo.image_wh)[0]
    assert not (mask & ~inside).any()
    assert 0 < mask.sum() < inside.sum()
    width, height = photo.image_wh
    contrast = found.heat.contrast(np.arange(width) + 0.5, np.arange(height) + 0.5)
    np.testing.assert_array_equal(mask, inside & (contrast > 0))


def test_box_and_map_prompt_a_segmenter(
    grounder: Grounder, photo: Picture, heads: HeadSet, sam_folder: Path
) -> None:
    both, alone = (
        grounder.ground(photo, "the woman", heads=heads, segmenter=sam_folder, sam_prompt=prompt)
        for prompt in ("box+mask", "box")
    )
    assert both.attributes["mask_prompt"] == ("box+mask",)
    assert (both.masks != alone.masks).any()
    np.testing.assert_array_equal(both.boxes, alone.boxes)


def test_a_map_that_shows_nothing_is_told_as_such(photo: Picture) -> None:
    reading = {"method": "heads", "heads": [[0, 0]], "valid": False, "failure": "the map is flat"}
    none = Detections.empty(photo.image_wh)
    found = replace(none, exchanges=(Exchange("cup.", "", reading),))
    assert table("a.png", found) == (
        "a.png: no places\n  the heads show no place: the map is flat\n"
    )


def test_heads_of_another_model_are_refused(
    grounder: Grounder, photo: Picture, heads: HeadSet, scripted
) -> None:
    with pytest.raises(CheckpointError, match="found in"):
        grounder.ground(photo, "the woman", heads=replace(heads, model="0123"))
    with pytest.raises(InputError, match="cannot be looked at"):
        Grounder(scripted(lambda *_: "none")).ground(photo, "the woman", heads=heads)


def test_nothing_is_constrained_where_nothing_is_written(
    grounder: Grounder, photo: Picture, heads: HeadSet
) -> None:
    with pytest.raises(InputError, match="constrain is for written answers"):
        grounder.ground(photo, "the woman", heads=heads, constrain=True)


def test_the_commands(tmp_path: Path, sam_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    record = {"image": str(SAMPLE), "bbox": [160, 24, 297, 179], "height": 512, "width": 512}
    rows = [{**record, "sent": words} for words in ("the woman", "the largest head", "the face")]
    data, out = tmp_path / "refs.jsonl", tmp_path / "heads.json"
    data.write_text("\n".join(map(json.dumps, rows)))
    words = ("find-heads", "--data", data, "--n", 3, "--skip-layers", 1, "--out", out, "--quiet")
    code, told, error = run(*words)
    assert code == 0, error
    assert "heads of layer, head" in told
    found = HeadSet.load(out)
    assert (found.query, found.opening, found.view_kind) == ("answer", "[[", "regions")
    assert (found.kernel, found.sigma, found.rule.skip_layers) == (1, 0, 1)
    assert out.with_suffix(".png").stat().st_size > 3000
    assert not out.with_name("heads.json.state").exists()
    assert "Choose another --out" in run(*words)[2]
    code, told, error = run("ground", SAMPLE, "the woman", "--heads", out, "--json")
    assert code == 0, error
    assert len(json.loads(told)["pictures"][0]["places"]) == 1
    code, told, error = run("ground", SAMPLE, "the woman", "--heads", out, "--mask")
    assert code == 0, error
    assert "px, coarse: from attention" in told


def test_eval_segment_measures_the_masks_of_ground(
    grounder: Grounder,
    photo: Picture,
    heads: HeadSet,
    sam_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With heads, coarse and by a segmenter: the figure is the IoU of the mask that ground gives."""
    monkeypatch.setitem(MODELS, "nano", lambda device: grounder.vlm)
    box = np.array([[160.0, 24, 297, 179]])
    truth = boxes_to_masks(box, photo.image_wh)[0]
    row = {"image": str(SAMPLE), "height": 512, "width": 512, "sent": "the woman"}
    row |= {"bbox": box[0].tolist(), "segmentation": mask_to_rle(truth)}
    (tmp_path / "refs.jsonl").write_text(json.dumps(row))
    heads.save(tmp_path / "heads.json")
    for more, options, kind in (
        ((), {"masks": True}, "coarse-attention"),
        (
            ("--segmenter", sam_folder, "--sam-prompt", "box+mask"),
            {"segmenter": sam_folder, "sam_prompt": "box+mask"},
            "segmenter",
        ),
    ):
        words = ("--data", tmp_path / "refs.jsonl", "--heads", tmp_path / "heads.json", *more)
        with pytest.raises(SystemExit) as left:
            main(["eval", "segment", *map(str, words), "--device", "cpu", "--json"])
        said = capsys.readouterr()
        assert not left.value.code, said.err
        figures = json.loads(said.out)["figures"]
        [mask] = grounder.ground(photo, "the woman", heads=heads, **options).masks
        assert figures["ciou"] == (mask & truth).sum() / (mask | truth).sum()
        assert figures["mask_kinds"] == {kind: 1}


def test_nano_brings_its_own_heads(
    grounder: Grounder, photo: Picture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["ground", str(SAMPLE), "the woman", "--method", "heads", "--json"])
    assert left.value.code == 0
    [place] = json.loads(capsys.readouterr().out)["pictures"][0]["places"]
    [box] = grounder.ground(photo, "the woman", heads=NANO / "heads.json").boxes
    assert place["box"] == pytest.approx(box.tolist(), abs=1e-3)
    # heads of other weights are refused, wherever they lie
    other = tmp_path / "other"
    shutil.copytree(NANO, other)
    record = json.loads((other / "heads.json").read_text())
    (other / "heads.json").write_text(json.dumps(record | {"model": "0123"}))
    with pytest.raises(SystemExit) as left:
        main(["ground", str(SAMPLE), "the woman", "--model", str(other), "--method", "heads"])
    assert left.value.code == 3
    assert "fingerprint 0123" in capsys.readouterr().err
    (other / "heads.json").unlink()
    with pytest.raises(SystemExit) as left:
        main(["ground", str(SAMPLE), "the woman", "--model", str(other), "--method", "heads"])
    assert "needs --heads FILE" in capsys.readouterr().err
