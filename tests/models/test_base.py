"""Loading by name and folder, the adapter, and one clear error for each kind of bad weights."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from headsight.errors import CheckpointError, InputError
from headsight.language.codec import parse
from headsight.language.spec import CodecSpec
from headsight.models import base
from headsight.models.base import MODELS, VLM, load_vlm
from headsight.models.grounding import GroundingProcessor, GroundingVLM, GroundingVLMConfig
from headsight.models.grounding.tokenizer import build_tokenizer
from headsight.picture import Picture

PICTURE = Picture(
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
)
PROMPTS = ["Where is every head?", "Which one?", "What are the yaw, pitch and roll of the head?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model with the encoder of nano, stored in fp16."""
    path = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = GroundingVLMConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            initializer_range=0.3,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            vision_config={
                "encoder": "headgrid",
                "image_size": 64,
                "neck_channels": 16,
                "hidden_size": 32,
                "keep_tokens": 8,
            },
        )
        model = GroundingVLM(config)
    model.half().save_pretrained(path)
    GroundingProcessor.for_model(config, tokenizer).save_pretrained(path)
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A folder that a test may spoil."""
    return Path(shutil.copytree(folder, tmp_path / "model"))


def test_a_folder_answers(folder: Path) -> None:
    vlm = load_vlm(str(folder), device="cpu")
    assert isinstance(vlm, VLM)
    assert vlm.name == "model0" or vlm.name == folder.name
    replies = vlm.answer(PICTURE, PROMPTS, max_new_tokens=12)
    assert [r.prompt for r in replies] == PROMPTS
    for reply in replies:
        assert "".join(reply.tokens) == reply.text
        assert len(reply.tokens) == len(reply.logprobs) <= 12
        assert reply.ended == (len(reply.tokens) < 12)
    # random weights leave near ties, so only what the first tokens say is compared
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        [single] = vlm.answer(PICTURE, [prompt], max_new_tokens=4)
        assert single.tokens[:2] == reply.tokens[:2]
        assert single.logprobs[:2] == pytest.approx(reply.logprobs[:2], abs=1e-4)
    assert vlm.answer(PICTURE, []) == []


def test_same_text_as_generate(folder: Path) -> None:
    vlm = load_vlm(str(folder), device="cpu")
    model = GroundingVLM.from_pretrained(folder, dtype=torch.float32).eval()
    processor = GroundingProcessor.from_pretrained(folder)
    inputs = processor([PICTURE] * 3, PROMPTS)
    out = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    wanted = [processor.decode_answer(row[inputs["input_ids"].shape[1] :].tolist()) for row in out]
    assert [r.text for r in vlm.answer(PICTURE, PROMPTS, max_new_tokens=12)] == wanted


@pytest.mark.parametrize("kind", ["boxes", "pose"])
def test_a_grammar_allows_strict_answers_only(folder: Path, kind: str) -> None:
    spec = CodecSpec(kind)  # type: ignore[arg-type]
    replies = load_vlm(str(folder), device="cpu").answer(PICTURE, PROMPTS, grammar=spec)
    assert all(parse(r.text, spec).strict for r in replies)


def test_another_picture_is_encoded_anew(folder: Path) -> None:
    vlm = load_vlm(str(folder), device="cpu")
    first = vlm.answer(PICTURE, PROMPTS[:1], max_new_tokens=6)
    turned = Picture(PICTURE.image.rotate(180))
    other = vlm.answer(turned, PROMPTS[:1], max_new_tokens=6)
    assert first[0].logprobs != other[0].logprobs
    assert vlm.answer(PICTURE, PROMPTS[:1], max_new_tokens=6) == first


def test_prompts_without_end(folder: Path) -> None:
    vlm = load_vlm(str(folder), device="cpu")
    with pytest.raises(InputError, match=r"2001 tokens long .* at most 256"):
        vlm.answer(PICTURE, [" red" * 2000])
    with pytest.raises(InputError, match="prompt is empty"):
        vlm.answer(PICTURE, [" "])


def test_unknown_models_and_devices(folder: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'nano'"):
        load_vlm("nanno")
    with pytest.raises(InputError, match="Known models: nano"):
        load_vlm("/no/such/place")
    with pytest.raises(InputError, match="expected auto, cpu"):
        load_vlm(str(folder), device="warp")
    with pytest.raises(InputError, match="no such device"):
        load_vlm(str(folder), device="cuda:99")


def test_nano_without_its_weights(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "nano" in MODELS
    shutil.copy(folder / "config.json", tmp_path)
    monkeypatch.setattr(base, "NANO", tmp_path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load_vlm("nano", device="cpu")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"no config\.json \(found: photo\.jpg\)"):
        load_vlm(str(tmp_path))
    with pytest.raises(CheckpointError, match="is a file, but a model is a folder"):
        load_vlm(str(tmp_path / "photo.jpg"))


class _Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt", "weights.pkl"])
def test_pickles_are_refused_and_never_run(copy: Path, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    (copy / "model.safetensors").unlink()
    (copy / name).write_bytes(pickle.dumps(_Trap(str(mark))))
    for given in (copy, copy / name):
        with pytest.raises(CheckpointError, match=r"pickle.*safetensors"):
            load_vlm(str(given))
    assert not mark.exists()


@pytest.mark.parametrize("spoil", ["cut", "noise", "empty"])
def test_damaged_weights(copy: Path, spoil: str) -> None:
    file = copy / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes({"cut": data[: len(data) // 2], "noise": b"\xff" * 4096, "empty": b""}[spoil])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load_vlm(str(copy), device="cpu")


def test_foreign_weights_list_the_names(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights["transformer.wte.weight"] = weights.pop("model.norm.weight")
    save_file(weights, copy / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"1 missing: model\.norm\.weight; 1 unexpected: transformer\.wte"
    ):
        load_vlm(str(copy), device="cpu")


def test_foreign_and_broken_configs(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    for text, message in (
        (json.dumps({"model_type": "qwen2_vl"}), "The processor is a 'GroundingProcessor'"),
        ("{", "cannot be read as JSON"),
        ("[1]", "holds a list"),
        (json.dumps({**config, "image_mask": "no"}), "image_mask is 'no'"),
        (json.dumps({**config, "vision_config": {"encoder": "x.y"}}), "encoder 'x.y'"),
    ):
        (copy / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            load_vlm(str(copy), device="cpu")


def test_a_lost_processor_is_named(copy: Path) -> None:
    (copy / "processor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no processor_config\.json"):
        load_vlm(str(copy), device="cpu")


def test_the_protocol_loads_without_torch() -> None:
    code = "import sys, headsight.models.base; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
