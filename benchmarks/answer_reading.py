"""Answer reading: `headsight.language.codec.parse` against `Detections.from_vlm` of supervision.

Both read the same boxes in one process, alternating, each its own formats; then the same Qwen text;
then texts that are cut at every place or spoilt, where what counts is that nothing is raised and
that every complete box is kept.

    python benchmarks/answer_reading.py            prints the table
    python benchmarks/answer_reading.py --json     also writes benchmarks/results/<version>/...json
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from paired import compare_rates
from reporting import write_report

from headsight.language.codec import CodecSpec, encode, parse

REPEATS = 9
SECONDS = 0.15
IMAGE_WH = (1000, 1000)
BOX_COUNTS = (1, 5, 20)
SPEC = CodecSpec("boxes")

Reader = Callable[[str], Any]


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # supervision's notes about optional packages
        import supervision
    readers = _peers(supervision)
    rows = [
        _rate(name, count, reader, options.seed)
        for count in BOX_COUNTS
        for name, reader in readers.items()
    ]
    rows += [_same_text(count, readers["qwen_2_5_vl"], options.seed) for count in BOX_COUNTS]
    spoilt = _spoilt(readers, options.seed)
    for row in rows:
        print(
            f"{row['peer']:>24} {row['boxes']:>3} boxes: ours {row['ours_per_s']:>9,.0f}/s, peer"
            f" {row['peer_per_s']:>9,.0f}/s, ratio {row['ratio']:.1f}"
            f" ({row['ratio_low']:.1f} to {row['ratio_high']:.1f})"
        )
    for name, counts in spoilt.items():
        print(
            f"{name:>24} spoilt: {counts['texts']} texts, raised {counts['raised']},"
            f" complete boxes kept {counts['kept']} of {counts['complete']}"
        )
    if options.json:
        values = {"rates": rows, "spoilt": spoilt, "seed": options.seed}
        path = write_report("answer_reading", values, packages=["numpy", "supervision"])
        print(f"written: {path}", file=sys.stderr)
    return 0


def make_boxes(count: int, seed: int) -> Any:
    """Boxes on whole steps, so that both formats hold them exactly."""
    generator = np.random.default_rng(seed)
    corner = generator.integers(0, 500, (count, 2))
    return np.concatenate((corner, corner + generator.integers(5, 400, (count, 2))), -1)


def as_qwen(boxes: Any) -> str:
    """The Qwen2.5-VL format."""
    items = [{"bbox_2d": box, "label": "head"} for box in boxes.tolist()]
    return f"```json\n{json.dumps(items)}\n```"


def as_paligemma(boxes: Any) -> str:
    """The PaliGemma format: y before x, 1024 steps."""
    parts = []
    for x0, y0, x1, y1 in np.rint(boxes * 1.024).astype(int).tolist():
        parts.append(f"<loc{y0:04d}><loc{x0:04d}><loc{y1:04d}><loc{x1:04d}> head")
    return " ; ".join(parts)


def as_deepseek(boxes: Any) -> str:
    """The DeepSeek-VL2 format."""
    return f"<|ref|>head<|/ref|><|det|>{json.dumps(boxes.tolist())}<|/det|>"


COMPLETE = {
    "headsight": re.compile(r"(?<=[\[;])[0-9]{3},[0-9]{3},[0-9]{3},[0-9]{3}(?=[;\]])"),
    "qwen_2_5_vl": re.compile(
        r'\{"bbox_2d": \[[0-9]+, [0-9]+, [0-9]+, [0-9]+\], "label": "head"\}'
    ),
    "paligemma": re.compile(r"(?:<loc[0-9]{4}>){4} head(?= ;|$)"),
    "deepseek_vl_2": re.compile(r"\[[0-9]+, [0-9]+, [0-9]+, [0-9]+\]"),
}
"""One complete box of each format."""

FORMATS = {"qwen_2_5_vl": as_qwen, "paligemma": as_paligemma, "deepseek_vl_2": as_deepseek}


def _peers(supervision: Any) -> dict[str, Reader]:
    def reader(name: str) -> Reader:
        options: dict[str, Any] = {"resolution_wh": IMAGE_WH}
        if name == "qwen_2_5_vl":
            options["input_wh"] = IMAGE_WH
        return lambda text: supervision.Detections.from_vlm(vlm=name, result=text, **options).xyxy

    return {name: reader(name) for name in FORMATS}


def _ours(text: str) -> Any:
    return parse(text, SPEC, image_wh=IMAGE_WH).value


def _rate(name: str, count: int, reader: Reader, seed: int) -> dict[str, Any]:
    boxes = make_boxes(count, seed)
    mine, theirs = encode(boxes, SPEC, image_wh=IMAGE_WH), FORMATS[name](boxes)
    return {"peer": name, "boxes": count, **_alternate(_ours, mine, reader, theirs, boxes)}


def _same_text(count: int, reader: Reader, seed: int) -> dict[str, Any]:
    boxes = make_boxes(count, seed)
    text = as_qwen(boxes)
    found = _alternate(_ours, text, reader, text, boxes)
    return {"peer": "qwen_2_5_vl, same text", "boxes": count, **found}


def _alternate(ours: Reader, mine: str, peer: Reader, theirs: str, boxes: Any) -> dict[str, Any]:
    """Rates of both, in turns; every answer is checked against the boxes (1 step of 1024)."""
    for found in (ours(mine), peer(theirs)):
        np.testing.assert_allclose(found, boxes, atol=1.0)
    seconds = SECONDS / REPEATS * 2
    return compare_rates(lambda: ours(mine), lambda: peer(theirs), REPEATS, seconds)


def _spoilt(readers: dict[str, Reader], seed: int) -> dict[str, dict[str, int]]:
    """What is read of every beginning of an answer, and of 500 with one character replaced."""
    boxes = make_boxes(6, seed)
    texts = {"headsight": encode(boxes, SPEC, image_wh=IMAGE_WH)}
    texts |= {name: form(boxes) for name, form in FORMATS.items()}
    return {
        name: _survive(readers.get(name, _ours), text, COMPLETE[name], boxes, seed)
        for name, text in texts.items()
    }


def _survive(
    reader: Reader, text: str, complete: re.Pattern[str], boxes: Any, seed: int
) -> dict[str, int]:
    generator = random.Random(seed)
    spoilt = [text[:end] for end in range(len(text))]
    for _ in range(500):
        place = generator.randrange(len(text))
        spoilt.append(text[:place] + generator.choice("}{][,;\"' x.\n") + text[place + 1 :])
    counts = {"texts": len(spoilt), "raised": 0, "kept": 0, "complete": 0}
    for candidate in spoilt:
        whole = len(complete.findall(candidate))
        counts["complete"] += whole
        try:
            found = reader(candidate)
        except Exception:  # what it raises is the measurement
            counts["raised"] += 1
            continue
        if found is not None and len(found):
            near = np.abs(np.asarray(found)[:, None] - boxes[None]).max(-1).min(-1) <= 1
            counts["kept"] += min(int(near.sum()), whole)
    return counts


if __name__ == "__main__":
    sys.exit(main())
