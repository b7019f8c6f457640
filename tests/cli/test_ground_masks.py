"""`headsight ground --mask`: coarse masks, those of a segmenter, and requests that cannot be met."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headsight.export import rle_to_mask


def places(ran: Any) -> list[dict[str, Any]]:
    assert (ran.code, ran.err) == (0, "")
    [document] = json.loads(ran.out)["pictures"]
    return document["places"]


def test_without_a_segmenter_the_mask_is_the_box_and_is_called_coarse(
    run: Callable, photo: Path
) -> None:
    ran = run("ground", photo, "two cups", "--mask")
    assert ran.out.splitlines() == [
        f"{photo}: 2 places",
        "     box (x0, y0, x1, y1)  score  mask",
        "  1  100, 100, 300, 300     0.80  40000 px, coarse: the box",
        "  2  500, 0, 600, 100       0.80  10000 px, coarse: the box",
    ]
    first, second = places(run("ground", photo, "two cups", "--mask", "--json"))
    assert (first["mask_kind"], first["box_from"]) == ("coarse-box", "answer")
    assert "mask_score" not in first
    mask = rle_to_mask(first["mask"])
    assert mask.shape == (500, 1000)
    assert mask[100:300, 100:300].all()
    assert mask.sum() == 40_000
    assert rle_to_mask(second["mask"]).sum() == 10_000


def test_no_mask_where_none_is_wanted(run: Callable, photo: Path) -> None:
    assert "mask" not in run("ground", photo, "two cups").out.removeprefix(str(photo))
    assert "mask" not in places(run("ground", photo, "two cups", "--json"))[0]


def test_a_segmenter_draws(run: Callable, photo: Path, sam_folder: Path) -> None:
    words = ("ground", photo, "two cups", "--segmenter", sam_folder, "--device", "cpu")
    first, second = places(run(*words, "--json"))
    for place in (first, second):
        assert (place["mask_kind"], place["mask_by"]) == ("segmenter", "sam-tiny")
        assert (place["mask_prompt"], place["box_from"]) == ("box", "answer")
        assert 0 <= place["mask_score"] <= 1
    masks = [rle_to_mask(place["mask"]) for place in (first, second)]
    assert (masks[0] != masks[1]).any()
    assert first["box"] == [100, 100, 300, 300]
    ran = run(*words)
    assert f"{masks[0].sum()} px, sam-tiny {first['mask_score']:.2f}" in ran.out
    assert "coarse" not in ran.out


def test_the_box_read_again_from_the_mask(run: Callable, photo: Path, sam_folder: Path) -> None:
    words = ("ground", photo, "two cups", "--segmenter", sam_folder, "--rec-box", "sam", "--json")
    first, _ = places(run(*words))
    assert first["box_from"] == "sam"
    rows, columns = np.nonzero(rle_to_mask(first["mask"]))
    assert first["box"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_nothing_found_needs_no_mask(
    run: Callable, vlm: Any, photo: Path, sam_folder: Path, tmp_path: Path
) -> None:
    vlm.script = lambda *_: "none"
    for more in ((), ("--segmenter", sam_folder, "--rec-box", "sam")):
        target = tmp_path / f"{len(more)}.png"
        ran = run("ground", photo, "a unicorn", "--mask", *more, "--save", target)
        assert (ran.code, ran.err) == (0, f"written: {target}\n")
        assert ran.out == f"{photo}: no places\n"
        assert target.exists()
    assert places(run("ground", photo, "a unicorn", "--mask", "--json")) == []


def test_saved_pictures_show_the_masks(
    run: Callable, photo: Path, sam_folder: Path, tmp_path: Path
) -> None:
    drawn = {}
    for name, more in {
        "plain": (),
        "coarse": ("--mask",),
        "sam": ("--segmenter", sam_folder),
    }.items():
        assert run("ground", photo, "cups", *more, "--save", tmp_path / f"{name}.png").code == 0
        with Image.open(tmp_path / f"{name}.png") as image:
            drawn[name] = np.asarray(image.convert("RGB")).astype(int)
    assert (drawn["coarse"] != drawn["plain"])[150:290, 150:290].any(2).mean() > 0.9
    assert (drawn["sam"] != drawn["coarse"]).any()


def test_many_pictures_one_bad(
    run: Callable, photo: Path, sam_folder: Path, tmp_path: Path
) -> None:
    shutil.copy(photo, tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    words = (photo, tmp_path / "b.png", tmp_path / "c.png", "cups", "--segmenter", sam_folder)
    ran = run("ground", *words, "--json")
    assert ran.code == 1
    whole = json.loads(ran.out)
    assert [len(document["places"]) for document in whole["pictures"]] == [2, 2]
    assert whole["pictures"][0]["places"] == whole["pictures"][1]["places"]
    assert len(whole["failures"]) == 1


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--sam-prompt", "points"], 2, "sam_prompt is 'points'; expected one of box, box+mask"),
        (["--rec-box", "mine"], 2, "rec_box is 'mine'; expected one of attention, sam"),
        (["--rec-box", "sam"], 2, "rec_box 'sam' needs a segmenter"),
        (["--sam-prompt", "box+mask"], 2, "sam_prompt 'box+mask' needs a segmenter"),
        (
            ["--sam-prompt", "box+mask", "--segmenter", "SAM"],
            2,
            "needs the map of attention heads, and a written answer has none. Pass heads with it",
        ),
        (["--segmenter", "no-such-folder"], 2, "No folder is called 'no-such-folder'"),
        (["--segmenter", "EMPTY"], 3, "has no config.json"),
        (["--segmenter", "OTHER"], 3, "holds a 'llava' model, but a segmenter is one of sam, "),
        (["--segmenter", "sam.pth"], 3, "may hold a pickle"),
    ],
)
def test_masks_that_cannot_be_had(
    run: Callable,
    vlm: Any,
    photo: Path,
    sam_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    code: int,
    message: str,
) -> None:
    """One line, before the larger model is asked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "OTHER").mkdir()
    (tmp_path / "OTHER" / "config.json").write_text('{"model_type": "llava"}')
    (tmp_path / "sam.pth").write_bytes(b"PK")
    (tmp_path / "SAM").symlink_to(sam_folder)
    ran = run("ground", photo, "two cups", *more, "--device", "cpu")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("headsight: ")
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert vlm.calls == []


def test_help_tells_how(run: Callable) -> None:
    told = run("ground", "--help").out
    for word in ("--mask", "--segmenter", "--sam-prompt", "--rec-box", "./sam-vit-base", "coarse"):
        assert word in told
    assert "--segmenter" in run("eval", "segment", "--help").out
