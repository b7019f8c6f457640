"""Drift of weights by hand, over shards, and models that cannot be compared."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from headsight.errors import CheckpointError
from headsight.merging.drift import weight_drift


def folder(path: Path, **tensors: torch.Tensor) -> Path:
    path.mkdir()
    save_file({n.replace("__", "."): t for n, t in tensors.items()}, path / "model.safetensors")
    return path


def test_ratio_and_cosine_by_hand(tmp_path: Path) -> None:
    """(3, 4) turned into (4, 3): change sqrt 2 over 5, cosine 24 / 25. The bias belongs to it."""
    old = folder(
        tmp_path / "a",
        q__weight=torch.tensor([3.0, 4.0]),
        q__bias=torch.zeros(2),
        k__weight=torch.ones(3),
    )
    new = folder(
        tmp_path / "b",
        q__weight=torch.tensor([4.0, 3.0]),
        q__bias=torch.zeros(2),
        k__weight=torch.ones(3),
    )
    moved, still = weight_drift(old, new)
    assert (moved.module, moved.numbers) == ("q", 4)
    assert moved.norm_ratio == pytest.approx(math.sqrt(2) / 5)
    assert moved.cosine == pytest.approx(24 / 25)
    assert (still.module, still.norm_ratio, still.cosine) == ("k", 0, pytest.approx(1))


def test_from_nothing_and_in_sixteen_bits(tmp_path: Path) -> None:
    old = folder(
        tmp_path / "a", x__weight=torch.zeros(2), y__weight=torch.ones(4, dtype=torch.bfloat16)
    )
    new = folder(
        tmp_path / "b", x__weight=torch.ones(2), y__weight=2 * torch.ones(4, dtype=torch.bfloat16)
    )
    first, second = weight_drift(old, new)
    assert first.norm_ratio == math.inf
    assert math.isnan(first.cosine)
    assert (second.norm_ratio, second.cosine) == (pytest.approx(1), pytest.approx(1))


def test_shards_do_not_matter(tmp_path: Path) -> None:
    tensors = {"q__weight": torch.randn(8), "k__weight": torch.randn(8)}
    old = folder(tmp_path / "a", **tensors)
    new = tmp_path / "b"
    new.mkdir()
    where = {}
    for number, (name, tensor) in enumerate(tensors.items()):
        plain = name.replace("__", ".")
        save_file({plain: tensor * 1.1}, new / f"part{number}.safetensors")
        where[plain] = f"part{number}.safetensors"
    (new / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    for drift in weight_drift(old, new):
        assert drift.norm_ratio == pytest.approx(0.1, rel=1e-5)


def test_a_copy_left_behind_is_not_read(tmp_path: Path) -> None:
    """The index names the file of a tensor; another shard holds an older one."""
    old, new = folder(tmp_path / "a", q__weight=torch.ones(2)), tmp_path / "b"
    new.mkdir()
    save_file({"q.weight": torch.ones(2)}, new / "part0.safetensors")
    save_file({"q.weight": torch.full((2,), 9.0), "k.x": torch.ones(1)}, new / "part1.safetensors")
    where = {"q.weight": "part0.safetensors", "k.x": "part1.safetensors"}
    (new / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    save_file({"q.weight": torch.ones(2), "k.x": torch.ones(1)}, old / "model.safetensors")
    assert all(drift.norm_ratio == 0 for drift in weight_drift(old, new))


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    old = folder(tmp_path / "a", q__weight=torch.ones(2))
    with pytest.raises(CheckpointError, match=r"such as k\.weight"):
        weight_drift(old, folder(tmp_path / "b", q__weight=torch.ones(2), k__weight=torch.ones(2)))
    with pytest.raises(CheckpointError, match=r"2 numbers .* and 3"):
        weight_drift(old, folder(tmp_path / "c", q__weight=torch.ones(3)))
    (tmp_path / "d").mkdir()
    with pytest.raises(CheckpointError, match=r"holds no weights \(no \.safetensors file\)"):
        weight_drift(old, tmp_path / "d")
    (tmp_path / "d" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="cannot be read"):
        weight_drift(old, tmp_path / "d")
