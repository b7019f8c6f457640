"""`headsight eval heads`: the table for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image


def test_the_table_holds_what_was_measured_and_nothing_else(run: Callable, tmp_path: Path) -> None:
    Image.new("RGB", (1000, 500)).save(tmp_path / "a.png")
    boxes = [[100, 100, 200, 200], [500, 0, 100, 100]]  # xywh; those the scripted model answers
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 1000, "height": 500}],
        "annotations": [{"image_id": 1, "bbox": box} for box in boxes],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    out = tmp_path / "out.json"
    ran = run("eval", "heads", "--data", tmp_path / "annotations.json", "--output", out)
    assert (ran.code, ran.err) == (0, f"written: {out}\n")
    lines = [line.strip("│ ").split("│") for line in ran.out.splitlines() if "│" in line]
    rows = {row[0].strip(): row[1].strip() for row in lines}
    assert rows["heads"] == "2"  # a count, not 2.000
    assert rows["recall"] == "1.000"
    assert rows["boxes: answers not well-formed (1)"] == "0.0%"
    assert "-" not in rows.values()
    assert "mae" not in rows  # no pose is labelled
