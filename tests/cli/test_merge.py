"""`headsight merge`, `fold` and `diff` on real model folders: nano, and a tiny LLaVA."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

import headsight
from headsight.models.base import NANO


def other(folder: Path, target: Path, spread: float = 0.02) -> Path:
    """A copy of a model whose weights went a little elsewhere."""
    target.mkdir()
    torch.manual_seed(0)
    for path in folder.iterdir():
        if path.suffix != ".safetensors":
            (target / path.name).write_bytes(path.read_bytes())
            continue
        tensors = {
            n: v + (spread * v.float().std(correction=0) * torch.randn(v.shape)).to(v.dtype)
            for n, v in load_file(path).items()
        }
        save_file(tensors, target / path.name, {"format": "pt"})
    return target


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA of random weights, as save_pretrained writes it."""
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            image_size=16, patch_size=8,
        ),
        text_config=transformers.LlamaConfig(
            vocab_size=50, hidden_size=24, intermediate_size=40, num_hidden_layers=2,
            num_attention_heads=4,
        ),
        image_token_index=49,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llava") / "base"
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    return folder


METHODS = [
    ["layer-cosine", "--threshold", "quantile:0.5"],
    ["task-arithmetic", "--lambda", "0.5"],
    ["linear", "--weight", "1", "--weight", "3"],
    ["slerp", "--t", "0.3"],
    ["ties", "--density", "0.2"],
    ["dare", "--density", "0.5", "--seed", "3"],
    ["passthrough"],
]


def test_nano_merges_and_answers(run: Callable, tmp_path: Path) -> None:
    """The model that is shipped, with a copy that went elsewhere; the result finds heads."""
    expert = other(NANO, tmp_path / "expert")
    out = tmp_path / "out"
    ran = run(
        "merge", "--base", NANO, "--expert", expert, "--threshold", "quantile:0.5", "--out", out
    )
    assert (ran.code, ran.err) == (0, "")
    assert "layer-cosine" in ran.out
    report = json.loads((out / "merge-report.json").read_text())
    assert report["taken"]["base"] == pytest.approx(report["taken"]["expert"], abs=1)
    found = headsight.load(str(out)).heads(Image.new("RGB", (200, 200), "gray"))
    assert found.boxes.shape[1] == 4
    ran = run("diff", NANO, out, "--json")
    rows = json.loads(ran.out)["tensors"]
    assert {r["name"] for r in rows} == {n for u in report["units"] for n in u["tensors"]}


@pytest.mark.parametrize("method", METHODS, ids=lambda words: words[0])
def test_a_vlm_merges_and_loads(
    run: Callable, llava: Path, tmp_path: Path, method: list[str]
) -> None:
    expert = other(llava, tmp_path / "expert")
    out = tmp_path / "out"
    words = ["--base", llava, "--expert", expert, "--out", out, "--dtype", "bfloat16"]
    ran = run("merge", *words, "--method", *method, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["schema"] == "headsight.merge-report/1"
    model = transformers.LlavaForConditionalGeneration.from_pretrained(out)
    assert model.dtype == torch.bfloat16
    with torch.no_grad():
        assert model(torch.arange(3, 9)[None]).logits.isfinite().all()


def test_an_adapter_of_a_vlm_folds(run: Callable, llava: Path, tmp_path: Path) -> None:
    """peft names modules as they are in memory, files have names of their own."""
    from peft import LoraConfig, PeftModel, get_peft_model

    load = transformers.LlavaForConditionalGeneration.from_pretrained
    config = LoraConfig(target_modules=r".*language_model.*(q_proj|up_proj)", r=4)
    adapted = get_peft_model(load(llava), config)
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapted.save_pretrained(tmp_path / "adapter")
    ran = run("fold", "--base", llava, "--adapter", tmp_path / "adapter", "--out", tmp_path / "out")
    assert ran.code == 0
    theirs = PeftModel.from_pretrained(load(llava), tmp_path / "adapter").merge_and_unload()
    ours = load(tmp_path / "out").state_dict()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-6)
    ran = run("diff", llava, f"{llava}+{tmp_path / 'adapter'}", "--limit", "2")
    assert ran.out.startswith("4 of ")
    assert "... and 2 more" in ran.out


test_an_adapter_of_a_vlm_folds = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)(test_an_adapter_of_a_vlm_folds)


def test_a_yaml_file(run: Callable, llava: Path, tmp_path: Path) -> None:
    expert = other(llava, tmp_path / "expert")
    path = tmp_path / "merge.yml"
    path.write_text(
        f"merge_method: task_arithmetic\nbase_model: {llava}\n"
        f"models: [{{model: {expert}, parameters: {{weight: 0.5}}}}]\n"
    )
    ran = run("merge", path, "--out", tmp_path / "out", "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("task-arithmetic: ")
    assert not (tmp_path / "out").exists()
    assert run("merge", path, "--out", tmp_path / "out", "--quiet").out == ""
    words = ["merge", "--base", llava, "--expert", expert, "--method", "task-arithmetic"]
    run(*words, "--weight", "0.5", "--out", tmp_path / "same")
    files = [tmp_path / n / "model.safetensors" for n in ("out", "same")]
    assert files[0].read_bytes() == files[1].read_bytes()
    ran = run("merge", path, "--method", "ties", "--out", tmp_path / "x")
    assert (ran.code, ran.err.startswith("headsight: --method and")) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--base", "none", "--expert", "none"], 3, "none does not exist"),
        (["--base", "none"], 2, "Give --expert FOLDER"),
        (["--expert", "none", "--method", "ties"], 2, "none is given"),
        (["--base", "a", "--expert", "b", "--method", "tis"], 2, "Did you mean ties"),
        (["--base", "a", "--expert", "b", "--weight", "1", "--weight", "2"], 2, "2 --weight for 1"),
        (["--base", "a", "--expert", "b", "--density", "2"], 3, "a does not exist"),
        (["--base", "a", "--expert", "b", "--threshold", "x"], 2, "threshold is 'x'"),
        (["--base", "a", "--expert", "b", "--out-shard-size", "9"], 2, "1000000 or more"),
        (["none.yml"], 2, "cannot be read as YAML"),
    ],
)
def test_wrong_calls(
    run: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list,
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("merge", *words, "--out", "out")
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert ran.err.count("\n") <= 2


def test_merging_needs_no_torch(llava: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from headsight.merging import *\n"
        f"merge(MergeJob(method='ties', base={str(llava)!r}, models=(Model({str(llava)!r}),)),"
        f" {str(tmp_path / 'out')!r})\n"
        "assert not {'torch', 'transformers', 'safetensors', 'peft'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_chart_shows_both_parents(run: Callable, llava: Path, tmp_path: Path) -> None:
    expert = other(llava, tmp_path / "expert")
    words = ["--base", llava, "--expert", expert, "--out", tmp_path / "out"]
    run("merge", *words, "--threshold", "quantile:0.5", "--quiet")
    with Image.open(tmp_path / "out" / "merge-report.png") as chart:
        pixels = np.asarray(chart.convert("RGB")).reshape(-1, 3)
    for color in ((0x2B, 0x6C, 0xB0), (0xDD, 0x6B, 0x20)):  # base, expert
        assert (pixels == color).all(1).sum() > 100
