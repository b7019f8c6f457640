"""`reproductions/capellm`: what it ships, weak labels of faces, and answers about photographs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bars import tiny_vlm, write_bars
from PIL import Image
from safetensors.torch import load_file, save_file
from scripts import scripts_of

from headsight.data.keypoint_files import read_keypoints
from headsight.models.base import NANO, SHIPPED, load_vlm
from headsight.models.grounding.weights import ENCODER
from headsight.teach.storing import save_model

BOX = np.array([10.0, 20.0, 60.0, 80.0])
POINTS = np.array([[25.0, 40], [45, 40], [35, 52], [27, 65], [43, 65]])
OTHER_SIDE = [1, 0, 2, 4, 3]
WIDTH = 100


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    with scripts_of("capellm") as found:
        yield found


def test_the_shipped_weights_are_what_is_written_of_the_whole_model(
    scripts: Any, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    save_model(load_vlm("nano-keypoints", device="cpu"), whole)
    scripts.release.write_release(whole, tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    shipped = load_file(SHIPPED["nano-keypoints"] / "model.safetensors")
    assert written.keys() == shipped.keys()
    assert all(torch.equal(value, shipped[name]) for name, value in written.items())
    left_out = set(load_file(next(NANO.glob("*.safetensors")))) - set(written)
    assert any(name.startswith(ENCODER) for name in left_out)


def test_what_half_precision_cannot_hold_is_told(scripts: Any, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    save_model(load_vlm("nano-keypoints", device="cpu"), whole)
    tensors = load_file(whole / "model.safetensors")
    tensors["model.norm.weight"] = torch.full_like(tensors["model.norm.weight"].float(), 1e6)
    save_file(tensors, whole / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"norm\.weight does not fit into half precision"):
        scripts.release.write_release(whole, tmp_path / "out")


class Mtcnn:
    """Finds a face of these points, and in the mirror the mirrored ones, off by so much."""

    def __init__(self, off: float = 0.0, score: float = 0.99) -> None:
        self.off, self.score = off, score
        self.asked: list[Any] = []

    def five_points(self, image: Any, box: Any) -> Any:
        self.asked.append(np.asarray(box))
        if len(self.asked) == 1:
            return BOX, POINTS, 0.99
        mirrored = (WIDTH - POINTS[:, 0], POINTS[:, 1] + self.off)
        return BOX, np.column_stack(mirrored)[OTHER_SIDE], self.score


@pytest.mark.parametrize(
    ("mtcnn", "is_sure"),
    [(Mtcnn(), True), (Mtcnn(off=1), True), (Mtcnn(off=8), False), (Mtcnn(score=0.5), False)],
)
def test_a_face_is_sure_where_the_mirror_agrees(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, mtcnn: Mtcnn, is_sure: bool
) -> None:
    monkeypatch.setattr(scripts.faces, "mtcnn", mtcnn)
    head = [5.0, 10.0, 70.0, 90.0]
    found = scripts.faces.face_of(Image.new("RGB", (WIDTH, 100)), {"box": head})
    np.testing.assert_allclose(mtcnn.asked[1], [WIDTH - 70, 10, WIDTH - 5, 90])
    if not is_sure:
        assert found is None
        return
    boxes, points = [box.tolist() for box, _ in found], found[0][1]
    assert boxes == [BOX.tolist(), head]
    np.testing.assert_allclose(points, POINTS + np.array([0, mtcnn.off / 2]))


def test_small_heads_are_not_asked_for(scripts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mtcnn = Mtcnn()
    monkeypatch.setattr(scripts.faces, "mtcnn", mtcnn)
    assert scripts.faces.face_of(Image.new("RGB", (9, 9)), {"box": [0, 0, 20, 20]}) is None
    assert not mtcnn.asked


def test_photographs_are_asked_scored_and_drawn(
    scripts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = write_bars(tmp_path / "bars", 4, seed=0)
    sets = {"bars": (str(bars / "schema.json"), {str(bars): "bar"})}
    monkeypatch.setattr(scripts.photographs, "SETS", sets)
    monkeypatch.setattr(scripts.photographs, "load_vlm", lambda name: tiny_vlm())
    results = tmp_path / "results.json"
    words = ["photographs.py", "--out", str(tmp_path / "sheet"), "--results", str(results)]
    monkeypatch.setattr(sys, "argv", words)
    scripts.photographs.main()
    row = json.loads(results.read_text("utf-8"))["sets"]["bars"]
    assert row["objects"] == 4
    objects = read_keypoints(bars).instances
    assert row["model"].keys() == row["middle"].keys()
    assert row["middle"] == scripts.scoring.middles(objects)
    with Image.open(tmp_path / "sheet" / "photographs.jpg") as sheet:
        assert min(sheet.size) > 100
    assert "| bars |" in scripts.photographs.table_of({"bars": row})
