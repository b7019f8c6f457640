"""Whole checkpoints from files to files: bytes, bad input, and a job that is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from headsight.errors import CheckpointError, ConfigError, ResumeError
from headsight.merging import METHODS, MergeJob, MergeReport, Model, check, diff, merge
from headsight.merging.selection import parse_threshold


def job(method: str, base: Path, *experts: Path | str, **settings: Any) -> MergeJob:
    if "threshold" in settings:
        settings["threshold"] = parse_threshold(settings["threshold"])
    models = tuple(Model(str(e)) for e in experts)
    return MergeJob(method=method, base=str(base), models=models, **settings)


def same(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(
        torch.equal(one[n].view(torch.uint8), two[n].view(torch.uint8)) for n in one
    )


@pytest.mark.parametrize(("threshold", "winner"), [(1.01, 0), (-1, 1)])
@pytest.mark.parametrize("granularity", ["module", "block", "part"])
def test_thresholds_beyond_all_give_one_parent(
    models, disk, tmp_path: Path, threshold: float, winner: int, granularity: str
) -> None:
    pair = models(0.5)
    report = merge(
        job("layer-cosine", *pair, threshold=threshold, granularity=granularity), tmp_path / "out"
    )
    assert same(disk.read_model(tmp_path / "out"), disk.read_model(pair[winner]))
    assert "no-op" in report.warnings[0]
    assert ("m1" if winner else "base") in report.warnings[0]


def test_one_unit_that_changed_much_reverts(disk, tmp_path: Path) -> None:
    """Every other tensor is the expert's, to the byte; the report tells which."""
    tensors = disk.tiny(1, spread=0.01)
    name = "model.layers.1.attn.qkv"
    tensors[f"{name}.weight"] = -tensors[f"{name}.weight"]
    base = disk.write_model(tmp_path / "base", disk.tiny(0))
    expert = disk.write_model(tmp_path / "expert", tensors)
    report = merge(job("layer-cosine", base, expert), tmp_path / "out")
    found, kept = disk.read_model(tmp_path / "out"), disk.read_model(base)
    for tensor, value in tensors.items():
        expected = kept[tensor] if tensor.startswith(name) else value
        assert torch.equal(found[tensor], expected), tensor
    [unit] = [u for u in report.units if u.decision == "base"]
    assert (unit.name, set(unit.tensors)) == (name, {f"{name}.weight", f"{name}.bias"})
    assert unit.bytes == 2 * (72 * 24 + 72)
    assert report.taken == {"base": 1, "expert": 5}
    assert sum(count for *_, count in report.histogram) == 6
    assert report.warnings == ()
    document = json.loads((tmp_path / "out" / "merge-report.json").read_text())
    assert document["schema"] == "headsight.merge-report/1"
    assert document["taken"] == report.taken
    assert document["settings"]["threshold"] == "0.95"
    with Image.open(tmp_path / "out" / "merge-report.png") as chart:
        assert chart.size == (1100, 520)
    assert "layer-cosine" in (tmp_path / "out" / "README.md").read_text()


def test_a_part_of_a_packed_map_reverts_alone(disk, tmp_path: Path) -> None:
    tensors = disk.tiny(1, spread=0.01)
    name = "model.layers.0.attn.qkv.weight"
    tensors[name][24:48] *= -1  # the keys
    base = disk.write_model(tmp_path / "base", disk.tiny(0))
    expert = disk.write_model(tmp_path / "expert", tensors)
    report = merge(job("layer-cosine", base, expert, granularity="part"), tmp_path / "out")
    found, kept = disk.read_model(tmp_path / "out")[name], disk.read_model(base)[name]
    assert torch.equal(found[:24], tensors[name][:24])
    assert torch.equal(found[24:48], kept[24:48])
    assert torch.equal(found[48:], tensors[name][48:])
    reverted = [u.name for u in report.units if u.decision == "base"]
    assert reverted == ["model.layers.0.attn.qkv[k]"]


def test_a_block_is_judged_as_a_whole(disk, tmp_path: Path) -> None:
    """A small module that turned round is outvoted by the rest of its layer."""
    tensors = disk.tiny(1, spread=0.01)
    tensors["model.layers.0.attn.qkv.bias"] *= -1
    base = disk.write_model(tmp_path / "base", disk.tiny(0))
    expert = disk.write_model(tmp_path / "expert", tensors)
    report = merge(job("layer-cosine", base, expert, granularity="block"), tmp_path / "out")
    assert {u.name for u in report.units if len(u.tensors) > 1} == {
        "model.layers.0",
        "model.layers.1",
    }
    assert report.taken == {"expert": 4}


@pytest.mark.parametrize("space", ["delta", "factors"])
def test_two_models_compared_by_their_changes(disk, tmp_path: Path, space: str) -> None:
    """The second wins where its change points where that of the first does."""
    base = disk.write_model(tmp_path / "base", disk.tiny(0))
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(4, 24, generator=random), torch.randn(50, 4, generator=random)
    for folder, sign in (("one", 1), ("two", -1)):
        factors = {
            f"model.layers.{i}.mlp.up.lora_{x}.weight": value * (sign if i and x == "B" else 1)
            for i in (0, 1)
            for x, value in (("A", a), ("B", b + (0.01 if folder == "two" else 0)))
        }
        disk.write_adapter(tmp_path / folder, factors)
    report = merge(
        job("layer-cosine", base, tmp_path / "one", tmp_path / "two", space=space),
        tmp_path / "out",
    )
    decisions = {u.name: u.decision for u in report.units if u.decision != "equal"}
    if space == "delta":
        assert decisions == {"model.layers.0.mlp.up": "expert", "model.layers.1.mlp.up": "base"}
    else:  # A alone is the same, so that the sign of B is not all
        assert decisions["model.layers.0.mlp.up"] == "expert"
        assert decisions["model.layers.1.mlp.up"] == "base"


@pytest.mark.parametrize("method", METHODS)
def test_a_model_merged_with_itself_keeps_its_bytes(
    models, disk, tmp_path: Path, method: str
) -> None:
    [base] = models()
    copy = shutil.copytree(base, tmp_path / "copy")
    parameters = {"density": 0.5, "weight": 0.7}
    report = merge(job(method, base, copy, parameters=parameters), tmp_path / "out")
    assert same(disk.read_model(tmp_path / "out"), disk.read_model(base))
    assert set(report.taken) <= {"equal", "expert"}
    again = merge(job(method, base, tmp_path / "out", parameters=parameters), tmp_path / "again")
    assert same(disk.read_model(tmp_path / "again"), disk.read_model(base))
    assert again.total_bytes == report.total_bytes


@pytest.mark.parametrize("method", ["layer-cosine", "ties", "dare-ties", "slerp", "linear"])
def test_files_and_their_order_do_not_matter(disk, tmp_path: Path, method: str) -> None:
    base, expert = disk.tiny(0), disk.tiny(1, spread=0.33)
    outs = []
    for index, files in enumerate((1, 2, 3)):
        folder = tmp_path / str(index)
        one = disk.write_model(folder / "base", base, files=files, backwards=bool(index))
        two = disk.write_model(folder / "expert", expert, files=4 - files)
        parameters = {} if method == "layer-cosine" else {"density": 0.4}
        merge(job(method, one, two, parameters=parameters), folder / "out")
        outs.append((folder / "out" / "model.safetensors").read_bytes())
    assert outs[0] == outs[1] == outs[2]


@pytest.mark.parametrize("method", ["ties", "dare-ties", "slerp", "layer-cosine"])
def test_one_more_tensor_changes_no_other(disk, tmp_path: Path, method: str) -> None:
    outs = []
    for extra in (False, True):
        folder = tmp_path / str(extra)
        pair = []
        for seed in (0, 1):
            tensors = disk.tiny(seed, spread=0.3 * seed)
            if extra:
                tensors["a.more.weight"] = torch.full((7, 3), 1.0 + seed)
            pair.append(disk.write_model(folder / str(seed), tensors))
        merge(job(method, *pair, parameters={"density": 0.4}), folder / "out")
        outs.append(disk.read_model(folder / "out"))
    outs[1].pop("a.more.weight")
    assert same(*outs)


def test_files_of_the_result(models, disk, tmp_path: Path) -> None:
    """A small limit makes several; the index and the other files are those of a model folder."""
    rows = {f"model.layers.{i}.w.weight": torch.randn(400, 500) for i in range(11)}
    base = disk.write_model(tmp_path / "base", rows)
    (base / "tokenizer.json").write_text("{}")
    (base / "notes.bin").write_text("old")
    expert = disk.write_model(tmp_path / "expert", {n: v + 0.1 for n, v in rows.items()})
    merge(job("linear", base, base, expert, shard_bytes=2_000_000), tmp_path / "out")
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [
        "README.md", "config.json", "merge-report.json", "merge-report.png",
        *(f"model-{i:05}-of-00006.safetensors" for i in range(1, 7)),
        "model.safetensors.index.json", "tokenizer.json",
    ]  # fmt: skip
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 11 * 400 * 500 * 4
    first = load_file(tmp_path / "out" / "model-00001-of-00006.safetensors")
    assert sorted(first) == ["model.layers.0.w.weight", "model.layers.1.w.weight"]
    assert index["weight_map"]["model.layers.10.w.weight"].startswith("model-00006")


def test_bf16_is_rounded_once(models, disk, tmp_path: Path) -> None:
    """The exact result in float64, rounded, in at least 99.8 % of the numbers."""
    base, one, two = models(0.1, 0.1)
    weights = {"weight": 0.7}
    merge(job("task-arithmetic", base, one, two, parameters=weights), tmp_path / "out")
    ours = disk.read_model(tmp_path / "out")
    b, x, y = (disk.read_model(f) for f in (base, one, two))
    right = total = 0
    for name, value in ours.items():
        w, p, q = (t[name].double() for t in (b, x, y))
        exact = (w + 0.7 * (p - w) + 0.7 * (q - w)).bfloat16()
        right += int((exact == value).sum())
        total += value.numel()
    assert right / total >= 0.998


def test_dtypes_mix(disk, tmp_path: Path) -> None:
    base = disk.write_model(tmp_path / "base", disk.tiny(0))
    expert = disk.write_model(tmp_path / "expert", disk.tiny(1, spread=0.01, dtype=torch.float32))
    merge(job("layer-cosine", base, expert), tmp_path / "out")
    found, wide = disk.read_model(tmp_path / "out"), disk.read_model(expert)
    assert all(torch.equal(v, wide[n].bfloat16()) for n, v in found.items())
    merge(job("slerp", base, expert, dtype="float16"), tmp_path / "half")
    assert {v.dtype for v in disk.read_model(tmp_path / "half").values()} == {torch.float16}


def test_whole_numbers_are_copied(disk, tmp_path: Path) -> None:
    extra = {"model.position_ids": torch.arange(9), "model.mask": torch.ones(3, dtype=torch.bool)}
    base = disk.write_model(tmp_path / "base", {**disk.tiny(0), **extra})
    expert = disk.write_model(tmp_path / "expert", {**disk.tiny(1, spread=0.1), **extra})
    merge(job("ties", base, expert), tmp_path / "out")
    assert torch.equal(disk.read_model(tmp_path / "out")["model.position_ids"], torch.arange(9))
    extra["model.position_ids"] = torch.arange(9) + 1
    expert = disk.write_model(tmp_path / "expert", {**disk.tiny(1, spread=0.1), **extra})
    with pytest.raises(CheckpointError, match=r"other whole numbers: model\.position_ids \(I64\)"):
        merge(job("ties", base, expert), tmp_path / "out2")


def test_tied_heads(disk, tmp_path: Path) -> None:
    """An expert that writes its tied head out fits a base that does not; and the other way."""
    plain, written = disk.tiny(0), disk.tiny(1, spread=0.1)
    written["lm_head.weight"] = written["model.embed_tokens.weight"].clone()
    base = disk.write_model(tmp_path / "base", plain)
    expert = disk.write_model(tmp_path / "expert", written)
    merge(job("task-arithmetic", base, expert), tmp_path / "out")
    assert disk.read_model(tmp_path / "out").keys() == plain.keys()
    merge(job("task-arithmetic", expert, base), tmp_path / "back")
    back = disk.read_model(tmp_path / "back")
    assert torch.equal(back["lm_head.weight"], back["model.embed_tokens.weight"])
    written["lm_head.weight"] += 1
    expert = disk.write_model(tmp_path / "expert", written)
    with pytest.raises(CheckpointError, match=r"expert has more than .*base: lm_head\.weight"):
        merge(job("task-arithmetic", base, expert), tmp_path / "out2")


def test_missing_tensors(disk, tmp_path: Path) -> None:
    whole, less = disk.tiny(0), disk.tiny(1, spread=0.1)
    gone = less.pop("model.layers.0.mlp.up.weight")
    base = disk.write_model(tmp_path / "base", whole)
    one = disk.write_model(tmp_path / "one", less)
    two = disk.write_model(tmp_path / "two", {n: v + 1 for n, v in whole.items()})
    with pytest.raises(CheckpointError, match=r"one lacks model\.layers\.0\.mlp\.up\.weight\."):
        merge(job("linear", base, one, two), tmp_path / "out")
    name = "model.layers.0.mlp.up.weight"
    merge(job("linear", base, one, two, missing="skip"), tmp_path / "skip")
    assert torch.equal(disk.read_model(tmp_path / "skip")[name], whole[name] + 1)
    merge(job("linear", base, one, two, missing="base"), tmp_path / "half")
    found = disk.read_model(tmp_path / "half")[name]
    torch.testing.assert_close(found, whole[name] + 0.5, rtol=0.01, atol=0.01)
    more = disk.write_model(tmp_path / "more", {**whole, "extra.weight": gone})
    with pytest.raises(CheckpointError, match=r"more has more than .*base: extra\.weight"):
        merge(job("ties", base, more), tmp_path / "out")
    merge(job("ties", base, more, missing="base"), tmp_path / "out")
    assert disk.read_model(tmp_path / "out").keys() == whole.keys()


def nan_in(tensors: dict) -> dict:
    tensors["model.norm.weight"][5] = float("nan")
    return tensors


def test_bad_input_is_found_before_anything_is_written(disk, tmp_path: Path) -> None:
    """Each by --dry-run and by the merge itself, which leaves no folder behind."""
    base = disk.write_model(tmp_path / "base", disk.tiny(0))
    vocabulary = {"model": {"vocab": {"a": 0, "b": 1}}}
    (base / "tokenizer.json").write_text(json.dumps(vocabulary))
    other = disk.tiny(1, spread=0.1)
    quantised = {**other, "model.norm.weight": torch.ones(24, dtype=torch.uint8)}
    eights = {**other, "model.norm.weight": torch.ones(24).to(torch.float8_e4m3fn)}
    cases = [
        (nan_in(disk.tiny(1, spread=0.1)), {}, r"model\.norm\.weight of .* holds NaN \(number 5\)"),
        (other, {"model_type": "llama"}, "base is tiny, but .* is llama"),
        (other, {"quantization_config": {"quant_method": "awq"}}, r"is quantised \(awq"),
        (quantised, {}, r"packed weights; model\.norm\.weight is U8"),
        (eights, {}, r"model\.norm\.weight is F8_E4M3"),
        ({**other, "model.norm.weight": torch.ones(25)}, {}, r"\[25\] instead of \[24\]"),
    ]
    for index, (tensors, config, said) in enumerate(cases):
        expert = disk.write_model(tmp_path / f"e{index}", tensors, **config)
        for method in ("layer-cosine", "ties"):
            for call in (check, merge):
                with pytest.raises(CheckpointError, match=said):
                    call(job(method, base, expert), tmp_path / "out")
                assert not (tmp_path / "out").exists()
                shutil.rmtree(tmp_path / "out.partial", ignore_errors=True)
    expert = disk.write_model(tmp_path / "words", other)
    vocabulary["model"]["vocab"] = {"b": 0, "a": 1}
    (expert / "tokenizer.json").write_text(json.dumps(vocabulary))
    with pytest.raises(CheckpointError, match=r"other tokenizers: 2 tokens differ, such as 'a'"):
        check(job("ties", base, expert), tmp_path / "out")
    assert "ties: 8 tensors" in check(job("ties", base, base), tmp_path / "out")
    assert not (tmp_path / "out.partial").exists()


def test_damaged_folders(disk, tmp_path: Path) -> None:
    base = disk.write_model(tmp_path / "base", disk.tiny(0))
    file = base / "model.safetensors"
    whole = file.read_bytes()
    for data, said in (
        (whole[:-10], "it is cut"),
        (b"PK" + whole[2:], "cannot be read as safetensors"),
        (b"", "cannot be read as safetensors"),
        (whole[:200], "cannot be read as safetensors"),
    ):
        file.write_bytes(data)
        with pytest.raises(CheckpointError, match=said):
            check(job("ties", base, base), tmp_path / "out")
    file.unlink()
    with pytest.raises(CheckpointError, match=r"holds no weights"):
        check(job("ties", base, base), tmp_path / "out")
    (base / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="pickles"):
        check(job("ties", base, base), tmp_path / "out")
    with pytest.raises(CheckpointError, match="does not exist"):
        check(job("ties", tmp_path / "none", base), tmp_path / "out")


def test_a_number_too_large_for_float16(disk, tmp_path: Path) -> None:
    tensors = {n: v * 1e5 for n, v in disk.tiny(0).items()}
    base = disk.write_model(tmp_path / "base", tensors)
    expert = disk.write_model(tmp_path / "e", {n: v * 1.1 for n, v in tensors.items()})
    with pytest.raises(CheckpointError, match="does not fit into float16"):
        merge(job("linear", base, base, expert, dtype="float16"), tmp_path / "out")


def test_what_is_there_stays_without_overwrite(models, tmp_path: Path) -> None:
    base, expert = models(0.1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"out exists\. Choose another --out"):
        merge(job("ties", base, expert), tmp_path / "out")
    with pytest.raises(ConfigError, match="is one of the models"):
        merge(job("ties", base, expert), base, overwrite=True)
    merge(job("ties", base, expert), tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "mine.txt").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"base", "m1", "out"}


def test_settings_of_single_tensors(models, disk, tmp_path: Path) -> None:
    """A filter by name, and numbers spread over the layers."""
    base, expert = models(0.5)
    parameters = {"weight": [{"filter": "mlp", "value": [0.0, 1.0]}, {"value": 0.0}]}
    merge(job("task-arithmetic", base, expert, parameters=parameters), tmp_path / "out")
    found, b, e = (disk.read_model(f) for f in (tmp_path / "out", base, expert))
    for name, value in found.items():
        expected = e if name == "model.layers.1.mlp.up.weight" else b
        torch.testing.assert_close(value, expected[name])


def test_differences(models, disk, tmp_path: Path) -> None:
    base, expert = models(0.5)
    rows = {row.name: row for row in diff(base, expert).tensors}
    one, two = disk.read_model(base), disk.read_model(expert)
    for name, row in rows.items():
        x, y = one[name].double().flatten(), two[name].double().flatten()
        assert row.cosine == pytest.approx(float(torch.cosine_similarity(x, y, 0)), abs=1e-6)
        assert row.relative_norm == pytest.approx(float((y - x).norm() / x.norm()), rel=1e-5)
        assert row.max_abs == pytest.approx(float((y - x).abs().max()), rel=1e-6)
    assert all(row.relative_norm == 0 and row.cosine == 1 for row in diff(base, base).tensors)
    less = disk.write_model(tmp_path / "less", {"model.norm.weight": torch.ones(24)})
    assert "model.embed_tokens.weight" in diff(base, less).only_in_one
    with pytest.raises(CheckpointError, match="They share no tensor"):
        diff(base, disk.write_model(tmp_path / "none", {"x.weight": torch.ones(2)}))


LARGE = {f"model.layers.{i}.w.weight": (900, 500) for i in range(8)}
SCRIPT = """
import resource, sys
from headsight.cli.main import main
limit = int(sys.argv[1])
if limit:
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
main(sys.argv[2:])
"""


@pytest.fixture
def large(disk, tmp_path: Path) -> list[Path]:
    """Two models of 14 MB, to be written in eight files."""
    random = torch.Generator().manual_seed(0)
    one = {n: torch.randn(s, generator=random) for n, s in LARGE.items()}
    two = {n: v + 0.1 * torch.randn(v.shape, generator=random) for n, v in one.items()}
    return [disk.write_model(tmp_path / n, t) for n, t in (("base", one), ("expert", two))]


def command(large: list[Path], out: Path, method: str, limit: int = 0) -> list[str]:
    words = ["merge", "--base", large[0], "--expert", large[1], "--method", method]
    words += ["--out", out, "--out-shard-size", "2MB", "--overwrite"]
    words += ["--density", "0.3"] if method == "ties" else []
    return [sys.executable, "-c", SCRIPT, str(limit), *map(str, words)]


def test_a_full_disk_leaves_the_old_folder(large: list[Path], tmp_path: Path) -> None:
    """A limit on the size of files stands for it; afterwards the same command goes on."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.safetensors").write_text("old")
    ran = subprocess.run(
        command(large, out, "ties", 1_000_000), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 3
    assert "could not be written" in ran.stderr
    assert "What was there before is unchanged" in ran.stderr
    assert {p.name: p.read_text() for p in out.iterdir()} == {"model.safetensors": "old"}
    assert not list((tmp_path / "out.partial").glob("*.safetensors*"))
    ran = subprocess.run(command(large, out, "ties"), capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(list(out.glob("model-*.safetensors"))) == 8


@pytest.mark.parametrize("method", ["ties", "layer-cosine"])
def test_killed_and_resumed_gives_the_same_bytes(
    large: list[Path], tmp_path: Path, method: str
) -> None:
    subprocess.run(command(large, tmp_path / "whole", method), capture_output=True, check=True)
    whole = {p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir()}
    random, kills = np.random.default_rng(0), 0
    out, work = tmp_path / "out", tmp_path / "out.partial"
    while not out.exists():
        process = subprocess.Popen(command(large, out, method), stdout=subprocess.DEVNULL)
        wanted = len(list(work.glob("*.safetensors"))) + int(random.integers(1, 4))
        while process.poll() is None and kills < 2:
            if len(list(work.glob("*.safetensors"))) >= wanted:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.001)
        process.wait()
    assert kills >= 1
    found = {p.name: p.read_bytes() for p in out.iterdir()}
    assert found.keys() == whole.keys()
    for name in whole:
        if name not in ("README.md", "merge-report.json"):  # which tell the folder's own name
            assert found[name] == whole[name], name


def half_done(large: list[Path], out: Path, **settings: Any) -> MergeJob:
    """A job whose first file is written and whose second was being written."""
    work = out.with_name(out.name + ".partial")
    whole = job("ties", *large, shard_bytes=2_000_000, **settings)

    class Killed(BaseException):
        pass

    from headsight.merging.engine import run_plan
    from headsight.merging.plan import make_plan

    def advance(done: int, count: list[int] = []) -> None:  # noqa: B006
        count.append(done)
        if len(count) == 2:
            raise Killed

    with pytest.raises(Killed):
        run_plan(make_plan(whole), out, advance=advance)
    assert [p.name for p in work.glob("*.safetensors")] == ["model-00001-of-00008.safetensors"]
    return whole


def test_a_finished_file_is_not_written_again_unless_damaged(
    large: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    work = tmp_path / "out.partial"
    first = work / "model-00001-of-00008.safetensors"
    whole = half_done(large, out)
    right, stamp = first.read_bytes(), first.stat().st_ino
    shutil.copytree(work, tmp_path / "kept")
    report = merge(whole, out)
    assert (out / first.name).stat().st_ino == stamp
    assert [u.name for u in report.units] == sorted(LARGE)
    shutil.rmtree(out)
    shutil.copytree(tmp_path / "kept", work)
    first.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    merge(whole, out)
    assert (out / first.name).read_bytes() == right


def test_another_job_does_not_go_on(large: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    half_done(large, out)
    other = job("ties", *large, shard_bytes=2_000_000, parameters={"lambda": 0.5})
    with pytest.raises(ResumeError, match="was begun by another merge"):
        merge(other, out)
    assert isinstance(merge(other, out, overwrite=True), MergeReport)
