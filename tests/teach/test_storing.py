"""Folders that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from headsight.errors import CheckpointError
from headsight.models.grounding.adapter import load_folder
from headsight.teach.storing import replace_folder, save_model


def _written(text: str):  # type: ignore[no-untyped-def]
    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / "weights").write_text(text)

    return write


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for text in ("old", "new"):
        replace_folder(tmp_path / "model", _written(text))
    assert (tmp_path / "model" / "weights").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space left on device")],
)
def test_on_a_full_disk_the_old_folder_stays(tmp_path: Path, error: Exception) -> None:
    replace_folder(tmp_path / "model", _written("old"))

    def fails(folder: Path) -> None:
        _written("half")(folder)
        raise error

    with pytest.raises(CheckpointError, match=r"No space left.*Make room"):
        replace_folder(tmp_path / "model", fails)
    assert (tmp_path / "model" / "weights").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_what_a_kill_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    part = tmp_path / "model.part"
    part.mkdir()
    (part / "torn").write_text("")
    replace_folder(tmp_path / "model", _written("new"))
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["weights"]
    assert not part.exists()


def test_weights_beyond_their_dtype_are_not_written(school, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    vlm = load_folder(school.model, device="cpu")
    vlm.model.config.dtype = torch.float16
    with torch.no_grad():
        vlm.model.model.norm.weight[0] = 1e6  # finite, but not in fp16
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight does not fit into"):
        save_model(vlm, tmp_path / "model")
    assert not (tmp_path / "model").exists()
