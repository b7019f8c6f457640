"""A folder that leaves out encoder weights which another one holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny

from headsight.errors import CheckpointError
from headsight.models.grounding.adapter import load_folder


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """The lender, and a borrower of the same shape but other weights."""
    return save_tiny(tmp_path / "lender", seed=1), save_tiny(tmp_path / "borrower", seed=2)


def without(folder: Path, start: str) -> set[str]:
    """Take the tensors whose names begin so out of the folder."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    gone = {name for name in tensors if name.startswith(start)}
    save_file({n: t for n, t in tensors.items() if n not in gone}, path, {"format": "pt"})
    return gone


def test_what_is_missing_is_the_lenders_and_the_rest_its_own(pair: tuple[Path, Path]) -> None:
    lender, borrower = pair
    before = load_file(borrower / "model.safetensors")
    gone = without(borrower, "model.vision.encoder.blocks")
    assert gone
    lent = load_file(lender / "model.safetensors")
    found = load_folder(borrower, shared=lender).model.state_dict()
    for name, value in before.items():
        torch.testing.assert_close(found[name], lent[name] if name in gone else value)
    assert any(not torch.equal(lent[name], before[name]) for name in gone)


def test_nothing_is_lent_unasked(pair: tuple[Path, Path]) -> None:
    _, borrower = pair
    without(borrower, "model.vision.encoder.blocks")
    with pytest.raises(CheckpointError, match=r"missing.*borrows them.*load that by its name"):
        load_folder(borrower)


def test_a_decoder_is_never_lent(pair: tuple[Path, Path]) -> None:
    lender, borrower = pair
    without(borrower, "model.layers.0")
    with pytest.raises(CheckpointError, match=r"missing: model\.layers\.0"):
        load_folder(borrower, shared=lender)


def test_a_lender_of_other_shapes_is_told(pair: tuple[Path, Path]) -> None:
    lender, borrower = pair
    without(borrower, "model.vision.encoder.position")
    path = lender / "model.safetensors"
    tensors = load_file(path)
    tensors["model.vision.encoder.position"] = torch.zeros(3, 5)
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match="another shape"):
        load_folder(borrower, shared=lender)
