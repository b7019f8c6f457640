"""`headsight.load()` and what it gives, with a scripted model and with a small random one of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headsight
from headsight.errors import CheckpointError, ImageError, InputError
from headsight.geometry.masks import mask_to_box
from headsight.grounder import Grounder
from headsight.models.base import MODELS
from headsight.models.sam import SamSegmenter
from headsight.models.segmenters import load_segmenter


def test_every_source_gives_the_same(vlm, photo: Path) -> None:
    grounder = Grounder(vlm)
    image = Image.open(photo).convert("RGB")
    sources = [photo, str(photo), photo.read_bytes(), image, np.asarray(image)]
    with photo.open("rb") as file:
        sources += [file, headsight.open_picture(photo)]
        found = [grounder.heads(source) for source in sources]
    for other in found[1:]:
        np.testing.assert_array_equal(other.boxes, found[0].boxes)
        np.testing.assert_array_equal(other.poses, found[0].poses)


def test_the_three_questions(vlm, photo: Path) -> None:
    grounder = Grounder(vlm)
    assert len(grounder.heads(photo)) == 2
    assert len(grounder.heads(photo, tiles=2).exchanges) > 3
    np.testing.assert_allclose(grounder.pose(photo, (100, 100, 300, 300)).poses, [[-45, 10, 0]])
    assert len(grounder.pose(photo, [(100, 100, 300, 300), (500, 0, 600, 100)])) == 2
    assert grounder.ground(photo, "two people").label_names == ("two people",)
    assert grounder.ask(photo, "yaw?")[0].text == "{180,000,355}"
    assert repr(grounder) == "Grounder(scripted)"


def test_what_comes_out_converts_itself(vlm, photo: Path) -> None:
    found = Grounder(vlm).heads(photo)
    assert json.loads(found.to_json())["schema"] == "headsight.detections/1"
    assert [r["bbox"] for r in found.to_coco()] == [[100, 100, 200, 200], [500, 0, 100, 100]]
    assert found.draw().size == (1000, 500)


def test_masks(vlm, photo: Path, sam_folder: Path) -> None:
    grounder = Grounder(vlm)
    assert grounder.ground(photo, "two cups").masks is None
    coarse = grounder.ground(photo, "two cups", masks=True)
    assert coarse.masks.sum((1, 2)).tolist() == [40_000, 10_000]
    assert coarse.is_coarse.all()
    fine = grounder.ground(photo, "two cups", segmenter=sam_folder)  # implies masks
    assert not fine.is_coarse.any()
    assert fine.attributes["mask_by"] == ("sam-tiny", "sam-tiny")
    boxes = grounder.ground(photo, "two cups", segmenter=sam_folder, rec_box="sam").boxes
    np.testing.assert_array_equal(boxes, mask_to_box(fine.masks))
    assert headsight.Detections.from_json(fine.to_json()).attributes["mask_kind"] == (
        "segmenter",
        "segmenter",
    )


def test_a_segmenter_is_loaded_once_and_looks_once_at_a_picture(
    vlm, photo: Path, sam_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []
    embed = SamSegmenter.embed
    monkeypatch.setattr(SamSegmenter, "embed", lambda s, p: looks.append((s, p)) or embed(s, p))
    grounder, picture = Grounder(vlm), headsight.open_picture(photo)
    for words in ("two cups", "a jug", "two plates"):
        grounder.ground(picture, words, segmenter=str(sam_folder))
    assert len(looks) == 1
    grounder.ground(photo, "two cups", segmenter=str(sam_folder))
    assert len(looks) == 2
    assert looks[0][0] is looks[1][0]
    ready = load_segmenter(sam_folder, device="cpu")
    grounder.ground(picture, "two cups", segmenter=ready)
    assert looks[-1][0] is ready


def test_bad_questions(vlm, photo: Path, tmp_path: Path) -> None:
    grounder = Grounder(vlm)
    with pytest.raises(ImageError, match="cannot be read"):
        grounder.heads(tmp_path / "absent.jpg")
    with pytest.raises(InputError, match="outside the picture"):
        grounder.pose(photo, (2000, 0, 2100, 100))
    with pytest.raises(InputError, match="no words"):
        grounder.ground(photo, " ")
    with pytest.raises(InputError, match="rec_box 'sam' needs a segmenter"):
        grounder.ground(photo, "cup", rec_box="sam")
    with pytest.raises(InputError, match="needs the map of attention heads"):
        grounder.ground(photo, "cup", segmenter="anything", sam_prompt="box+mask")
    with pytest.raises(InputError, match="No folder is called"):
        grounder.ground(photo, "cup", segmenter=tmp_path / "absent")
    with pytest.raises(InputError, match="tiles is 0"):
        grounder.heads(photo, tiles=0)


def test_one_text_is_no_list_of_expressions(vlm, photo: Path) -> None:
    with pytest.raises(InputError, match=r"one text 'the woman', but a list of texts"):
        Grounder(vlm).ground_each(photo, "the woman")
    assert vlm.calls == []


def test_a_server_needs_the_name_of_its_model() -> None:
    with pytest.raises(InputError, match=r"not the name of the model it serves.*--model NAME"):
        headsight.load(server="http://here:8000")


def test_load(monkeypatch: pytest.MonkeyPatch, vlm) -> None:
    asked = []
    monkeypatch.setitem(MODELS, "nano", lambda device: asked.append(device) or vlm)
    assert headsight.load().vlm is vlm
    assert headsight.load("nano", device="cpu").vlm is vlm
    assert asked == ["auto", "cpu"]
    with pytest.raises(InputError, match="Did you mean 'nano'"):
        headsight.load("nanu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of our own; what it says means nothing."""
    import torch

    from headsight.models.grounding import GroundingProcessor, GroundingVLM, GroundingVLMConfig
    from headsight.models.grounding.tokenizer import build_tokenizer

    path = tmp_path_factory.mktemp("untrained")
    tokenizer = build_tokenizer()
    vision = {"encoder": "headgrid", "image_size": 64, "neck_channels": 16, "keep_tokens": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config = GroundingVLMConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=1,
            num_attention_heads=2,
            tie_word_embeddings=True,
            max_position_embeddings=256,
            vision_config={**vision, "hidden_size": 32},
        )
        GroundingVLM(config).save_pretrained(path)
    GroundingProcessor.for_model(config, tokenizer).save_pretrained(path)
    return path


def test_a_model_of_ours_end_to_end(folder: Path, photo: Path) -> None:
    grounder = headsight.load(str(folder), device="cpu")
    posed = grounder.pose(photo, (100, 100, 300, 300), constrain=True)
    assert posed.attributes["pose_reading"] == ("strict",)
    assert np.isfinite(posed.poses).all()
    assert 0 < posed.scores[0] < 1
    unread = grounder.pose(photo, (100, 100, 300, 300))
    assert unread.exchanges[0].text != posed.exchanges[0].text
    many = grounder.pose(photo, [(100, 100, 300, 300)] * 3, constrain=True)
    np.testing.assert_allclose(many.poses, np.repeat(posed.poses, 3, 0), atol=1e-6)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        headsight.load(str(tmp_path))


def test_a_third_party_model_needs_no_torch(photo: Path) -> None:
    code = f"""
import sys, headsight
from headsight.models.base import MODELS, Reply

class Theirs:
    name = "theirs"
    def answer(self, picture, prompts, *, grammar=None, max_new_tokens=99):
        text = lambda p: "{{010,000,000}}" if "yaw" in p else "[[100,100,200,200]]"
        return [Reply(p, text(p), (), ()) for p in prompts]

MODELS["theirs"] = lambda device: Theirs()
found = headsight.load("theirs").heads({str(photo)!r})
assert found.poses.round().tolist() == [[10, 0, 0]], found
loaded = {{"torch", "transformers", "peft", "typer", "rich"}} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
