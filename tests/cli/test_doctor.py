"""The self-check tells what is broken and what to do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from headsight import doctor
from headsight.doctor import SAMPLE, examine
from headsight.language.codec import encode
from headsight.language.spec import CodecSpec


def astronaut(picture, prompt: str) -> str:
    if "yaw" in prompt:
        return "{350,005,000}"
    return encode([[160, 20, 290, 210]], CodecSpec("boxes"), image_wh=picture.image_wh)


def test_all_is_well(run: Callable, vlm) -> None:
    vlm.script = astronaut
    ran = run("doctor", "--device", "cpu")
    assert (ran.code, ran.err) == (0, "")
    assert "FAIL" not in ran.out
    assert "found the head in the shipped picture" in ran.out
    for name in ("python", "torch", "transformers", "device", "torchvision", "extra scenes"):
        assert name in ran.out


def test_json(run: Callable, vlm) -> None:
    vlm.script = astronaut
    whole = json.loads(run("doctor", "--json", "--device", "cpu").out)
    assert whole["schema"] == "headsight.doctor/1"
    assert whole["is_good"]
    assert {f["name"] for f in whole["findings"]} >= {"torch", "model nano", "device"}


def test_a_model_that_misses_the_head(run: Callable, vlm) -> None:
    vlm.script = lambda *_: "none"
    ran = run("doctor")
    assert ran.code == 1
    assert "FAIL model nano" in ran.out
    assert "not the one at (222, 112)" in ran.out


def test_the_shipped_model_of_points(run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run("doctor", "--model", "nano-keypoints")
    assert ran.code == 0
    assert "found the nose" in ran.out
    monkeypatch.setattr(doctor, "_NOSE", (20.0, 480.0))
    ran = run("doctor", "--model", "nano-keypoints")
    assert ran.code != 0
    assert "it sees the nose" in ran.out


def test_an_unknown_model_and_a_device_that_is_not_there(run: Callable) -> None:
    ran = run("doctor", "--model", "nanno", "--device", "cuda:99")
    assert ran.code == 1
    assert "Did you mean 'nano'?" in ran.out
    assert "has no such device" in ran.out


def test_a_torchvision_for_another_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vlm
) -> None:
    (tmp_path / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    [finding] = [f for f in examine("nanno") if f.name == "torchvision"]
    assert not finding.is_good
    assert "operator torchvision::nms does not exist" in finding.said
    assert "pip uninstall torchvision" in finding.said


def test_a_model_that_breaks_in_its_own_way(run: Callable, vlm) -> None:
    def fail(*_: object) -> str:
        raise ZeroDivisionError("by chance")

    vlm.script = fail
    ran = run("doctor")
    assert ran.code == 1
    assert "ZeroDivisionError: by chance" in ran.out


def test_the_shipped_picture_is_a_small_photograph() -> None:
    assert SAMPLE.stat().st_size < 100_000
    with Image.open(SAMPLE) as image:
        assert image.size == (512, 512)
    assert "public domain" in (SAMPLE.parent / "SOURCE.md").read_text("utf-8")
