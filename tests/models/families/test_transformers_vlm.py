"""Loading, refusals, and what a checkpoint's own settings must not change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_vlms import llava, qwen_vl
from tiny_vlms.tiny import Tiny, tokenizer
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from headsight.errors import CheckpointError, InputError
from headsight.language.codec import parse
from headsight.language.spec import CodecSpec
from headsight.models.base import Reply
from headsight.models.families.family import token_span
from headsight.models.transformers_vlm import TransformersVLM, load_transformers
from headsight.picture import Picture

PICTURE = Picture(Image.linear_gradient("L").resize((64, 48)).convert("RGB"))
PROMPT = "the red cup."


@pytest.fixture(scope="module")
def tiny() -> Tiny:
    return llava.llava()


@pytest.fixture(scope="module")
def saved(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    tiny.model.save_pretrained(folder)
    tiny.processor.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


def test_the_dtype_is_as_asked(saved: Path) -> None:
    loaded = load_transformers(str(saved), device="cpu", dtype="bfloat16")
    assert loaded.model.dtype == torch.bfloat16
    inputs = loaded.prepare(PICTURE, PROMPT)
    assert inputs["pixel_values"].dtype == torch.bfloat16
    assert inputs["input_ids"].dtype == torch.int64
    assert len(loaded.answer(PICTURE, [PROMPT], max_new_tokens=2)[0].tokens) <= 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no-such-folder", {}, "No folder is called 'no-such-folder', and it is no hub id"),
        ("a/b/c", {}, "no hub id of the form org/name"),
        ("../model", {}, "no hub id of the form org/name"),
        ("org/name", {"device": "tpu9"}, "device is 'tpu9'"),
        ("org/name", {"dtype": "int3"}, "dtype is 'int3'; expected one of auto"),
    ],
)
def test_bad_arguments(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_transformers(name, **options)


def test_loading_shows_bars_on_terminals_only(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    load_transformers(str(folder), device="cpu")
    assert capfd.readouterr().err == ""


def test_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        CheckpointError, match=r"^org/name cannot be loaded.*Check the id and the net"
    ):
        load_transformers("org/name", device="cpu")


def test_only_safetensors_are_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickle"):
        load_transformers(str(folder), device="cpu")


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    gone = [name for name in weights if "lm_head" in name or "projector" in name]
    save_file({k: v for k, v in weights.items() if k not in gone}, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match=f"lacks {len(gone)} weights of a 'llava' model"):
        load_transformers(str(folder), device="cpu")


def test_damaged_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_transformers(str(folder), device="cpu")


def test_weights_of_another_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    edit(folder / "config.json", text_config=config["text_config"] | {"intermediate_size": 40})
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_transformers(str(folder), device="cpu")


def test_code_in_a_folder_is_never_run(folder: Path) -> None:
    (folder / "code.py").write_text("raise SystemExit('run')", "utf-8")
    edit(
        folder / "config.json",
        model_type="foreign",
        auto_map={"AutoConfig": "code.C", "AutoModelForImageTextToText": "code.M"},
    )
    with pytest.raises(CheckpointError, match="its own code is never run"):
        load_transformers(str(folder), device="cpu")


def test_a_model_of_words_only(tmp_path: Path) -> None:
    words = tokenizer([])
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="llama"):
        load_transformers(str(tmp_path), device="cpu")


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "processor_config.json"])
def test_missing_and_torn_files(folder: Path, file: str) -> None:
    (folder / file).write_text('{"torn', "utf-8")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_transformers(str(folder), device="cpu")


def test_settings_of_the_checkpoint_do_not_change_a_greedy_answer() -> None:
    plain = llava.llava()
    spoiled = llava.llava()
    spoiled.model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=5.0,
        top_k=3,
        num_beams=3,
        repetition_penalty=3.0,
        eos_token_id=3,
        pad_token_id=0,
    )
    answers = [
        TransformersVLM(tiny.model, tiny.processor, name="x").answer(
            PICTURE, [PROMPT, "it"], max_new_tokens=8
        )
        for tiny in (plain, spoiled)
    ]
    assert answers[0] == answers[1]


def test_a_grammar_allows_strict_answers_only(tiny: Tiny) -> None:
    vlm = TransformersVLM(tiny.model, tiny.processor, name="x")
    spec = CodecSpec("pose")
    for reply in vlm.answer(PICTURE, [PROMPT, "it"], grammar=spec, max_new_tokens=20):
        assert reply.ended
        assert parse(reply.text, spec, image_wh=PICTURE.image_wh).strict


def test_an_image_token_in_the_prompt_is_refused(tiny: Tiny) -> None:
    vlm = TransformersVLM(tiny.model, tiny.processor, name="x")
    with pytest.raises(InputError, match="The prompt holds '<image>'"):
        vlm.prepare(PICTURE, "an <image> of a cup")


def test_a_chat_template_is_used_where_there_is_one() -> None:
    tiny = llava.llava()
    tiny.processor.chat_template = (
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{% for c in m.content %}"
        "{% if c.type == 'image' %}<image>{% else %}{{ c.text | trim }}{% endif %}{% endfor %}"
        "{% endfor %}{% if add_generation_prompt %}[model]{% endif %}"
    )
    vlm = TransformersVLM(tiny.model, tiny.processor, name="x")
    prompt = "  the red cup. "
    ids = vlm.prepare(PICTURE, prompt)["input_ids"][0]
    text = tiny.processor.tokenizer.decode(ids)
    assert text == f"<s>[user]{'<image>' * 16}the red cup.[model]"
    first, after = vlm.text_span(PICTURE, prompt)
    assert tiny.processor.tokenizer.decode(ids[first:after]) == "the red cup."


def test_token_types_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = qwen_vl.qwen2_5()
    monkeypatch.setattr(type(tiny.processor), "return_mm_token_type_ids", False)
    vlm = TransformersVLM(tiny.model, tiny.processor, name="x")
    with pytest.raises(InputError, match="made no mm_token_type_ids, without which"):
        vlm.prepare(PICTURE, PROMPT)


def test_words_before_the_picture_are_found_too() -> None:
    """Templates may put the picture last; the same words in the template are not meant."""
    words = tokenizer(["<image>"])
    text = "a cup: a cup<image>!"
    ids = words(text.replace("<image>", "<image>" * 5))["input_ids"]
    first, after = token_span(words, torch.tensor(ids), text, "a cup", "cup")
    assert (first, after) == (9, 12)
    with pytest.raises(InputError, match="made of another prompt"):
        token_span(words, torch.tensor(ids[::-1]), text, "a cup", "cup")


def test_the_last_question_is_prepared_once(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = TransformersVLM(tiny.model, tiny.processor, name="x")
    first = vlm.prepare(PICTURE, PROMPT)
    vlm.processor = None  # would fail if it were asked again
    assert vlm.prepare(PICTURE, PROMPT)["input_ids"] is first["input_ids"]


@pytest.mark.parametrize(
    ("settings", "box"),
    [
        # resized to 64 x 32, of which the middle 32 x 32 are kept: 16 px cut off left and right
        ({}, (24, 8, 32, 16)),
        # a square of 64 with 16 px above the picture, resized to 32 x 32
        ({"do_pad": True}, (16, 0, 32, 16)),
        # stretched to 32 x 32
        ({"do_center_crop": False, "size": {"height": 32, "width": 32}}, (16, 8, 32, 16)),
    ],
    ids=["crop", "padded", "stretched"],
)
def test_llava_boxes_are_read_in_the_frame_that_its_processor_makes(
    settings: dict[str, Any], box: tuple[int, ...]
) -> None:
    tiny = llava.llava(**settings)
    vlm = TransformersVLM(tiny.model, tiny.processor, name="tiny")
    wide = Picture(Image.new("RGB", (64, 32)))
    answer = vlm.read(wide, Reply("Where?", "[0.25, 0.25, 0.50, 0.50]", (), ()))
    assert answer.strict
    np.testing.assert_allclose(answer.value, [box])


def test_a_picture_that_is_cropped_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    for settings, size, told in (
        ({}, (64, 32), "seen=[16, 0, 48, 32]"),
        ({}, (32, 64), "seen=[0, 16, 32, 48]"),
        ({}, (32, 32), ""),
        ({"do_pad": True}, (64, 32), ""),
    ):
        caplog.clear()
        tiny = llava.llava(**settings)
        vlm = TransformersVLM(tiny.model, tiny.processor, name="tiny")
        for prompt in ("a cup", "a dog"):
            vlm.prepare(Picture(Image.new("RGB", size)), prompt)
        assert len(caplog.messages) == bool(told)
        assert told in caplog.text
        if told:
            assert "cannot be found" in caplog.text
            assert "do_pad=True" in caplog.text
