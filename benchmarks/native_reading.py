"""Native answers: `headsight.language.dialects` against `Detections.from_vlm` of supervision.

Both read the same texts in one process, alternating: well-formed answers of 1, 5 and 20 boxes in
each format that supervision reads from text; then texts that are cut at every place or spoilt,
where what counts is that nothing is raised and that every complete box is kept. Florence-2 and
Kosmos-2, of which supervision takes decoded structures, are read by transformers first, as its
users do.

    python benchmarks/native_reading.py               prints the table
    python benchmarks/native_reading.py --repeats 7   quicker
    python benchmarks/native_reading.py --json        also writes results/<version>/...json
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from paired import compare_rates
from reporting import write_report

from headsight.language.dialects import DIALECTS

SECONDS = 0.03
IMAGE_WH = (1000, 1000)
BOX_COUNTS = (1, 5, 20)
SPOILT_BOXES = 6

Reader = Callable[[str], Any]


@dataclass(frozen=True)
class Format:
    """One format that both read."""

    dialect: str
    peer: str
    complete: str
    """A regular expression of one complete box."""


FORMATS = (
    Format(
        "qwen2_5_vl", "qwen_2_5_vl", r'\{"bbox_2d": \[[0-9]+(?:, [0-9]+){3}\], "label": "[^"]*"\}'
    ),
    Format("qwen3_vl", "qwen_3_vl", r'\{"bbox_2d": \[[0-9]+(?:, [0-9]+){3}\], "label": "[^"]*"\}'),
    Format("gemini", "gemini_2_0", r'\{"box_2d": \[[0-9]+(?:, [0-9]+){3}\], "label": "[^"]*"\}'),
    Format("paligemma", "paligemma", r"(?<!>)(?:<loc[0-9]{4}>){4}(?= thing [0-9](?: ;|$))"),
    Format("deepseek_vl2", "deepseek_vl_2", r"(?<=\[)\[[0-9]+(?:, [0-9]+){3}\](?=\])"),
    Format("florence2", "florence_2", r"thing [0-9](?:<loc_[0-9]+>){4}(?=t|$)"),
    Format("kosmos2", "kosmos_2", r"<object>(?:<patch_index_[0-9]{4}>){2}</object>"),
)


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    readers = peers()
    rows = [
        rate(form, count, readers[form.peer], options.seed, options.repeats)
        for form in FORMATS
        for count in BOX_COUNTS
    ]
    for row in rows:
        print(
            f"{row['peer']:>14} {row['boxes']:>3} boxes: ours {row['ours_per_s']:>9,.0f}/s, peer"
            f" {row['peer_per_s']:>9,.0f}/s, ratio {row['ratio']:.1f}"
            f" ({row['ratio_low']:.1f} to {row['ratio_high']:.1f})"
        )
    spoilt = {form.peer: survive(form, readers[form.peer], options.seed) for form in FORMATS}
    for name, readings in spoilt.items():
        for who, counts in readings.items():
            print(
                f"{name:>14} spoilt, {who:>7}: {counts['texts']} texts, raised {counts['raised']},"
                f" complete boxes kept {counts['kept']} of {counts['complete']}"
            )
    if options.json:
        values = {"rates": rows, "spoilt": spoilt, "seed": options.seed}
        packages = ("numpy", "supervision", "transformers")
        path = write_report("native_reading", values, packages=packages)
        print(f"written: {path}", file=sys.stderr)
    return 0


def make_boxes(count: int, seed: int) -> Any:
    """Boxes on whole pixels, which are steps of most formats."""
    generator = np.random.default_rng(seed)
    corner = generator.integers(0, 500, (count, 2))
    return np.concatenate((corner, corner + generator.integers(40, 400, (count, 2))), -1)


def make_text(form: Format, boxes: Any) -> str:
    """The answer that names `boxes`, with three labels in turn."""
    labels = [f"thing {i % 3}" for i in range(len(boxes))]
    if form.dialect == "florence2":
        labels = [f"thing {i % 10}" for i in range(len(boxes))]
    return DIALECTS[form.dialect].format(boxes, IMAGE_WH, IMAGE_WH, labels=labels)


def ours(form: Format, mode: str = "strict") -> Reader:
    """Our reader of a format."""
    dialect = DIALECTS[form.dialect]
    return lambda text: dialect.parse(text, IMAGE_WH, IMAGE_WH, mode=mode)


def peers() -> dict[str, Reader]:
    """Readers of supervision: text in, `Detections` out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # supervision's notes about optional packages
        import supervision
    from transformers.models.florence2.processing_florence2 import Florence2PostProcessor
    from transformers.models.kosmos2.processing_kosmos2 import (
        clean_text_and_extract_entities_with_bboxes,
    )

    def reader(name: str) -> Reader:
        more: dict[str, Any] = {"input_wh": IMAGE_WH} if name == "qwen_2_5_vl" else {}
        read = supervision.Detections.from_vlm
        return lambda text: read(vlm=name, result=text, resolution_wh=IMAGE_WH, **more)

    florence = Florence2PostProcessor.__new__(Florence2PostProcessor)  # without its tokenizer
    florence.quantize_bins = (1000, 1000)

    def florence_2(text: str) -> Any:
        found = florence.parse_description_with_bboxes_from_text_and_spans(
            text, image_size=IMAGE_WH
        )
        result = {
            "<OD>": {
                "bboxes": [item["bbox"] for item in found],
                "labels": [item["cat_name"] for item in found],
            }
        }
        return supervision.Detections.from_vlm(
            vlm="florence_2", result=result, resolution_wh=IMAGE_WH
        )

    def kosmos_2(text: str) -> Any:
        result = clean_text_and_extract_entities_with_bboxes(text)
        return supervision.Detections.from_vlm(
            vlm="kosmos_2", result=result, resolution_wh=IMAGE_WH
        )

    texts = {form.peer: reader(form.peer) for form in FORMATS}
    return texts | {"florence_2": florence_2, "kosmos_2": kosmos_2}


def boxes_of(found: Any) -> Any:
    """The boxes of either reader; None where there are none."""
    return found.value if hasattr(found, "repairs") else found.xyxy


def rate(form: Format, count: int, peer: Reader, seed: int, repeats: int) -> dict[str, Any]:
    """Rates of both, in turns; both must find the same boxes (to 1 px, where a peer rounds)."""
    boxes = make_boxes(count, seed)
    text, mine = make_text(form, boxes), ours(form)
    coarse = 1000 / 32 if form.dialect == "kosmos2" else 1.0
    np.testing.assert_allclose(boxes_of(mine(text)), boxes, atol=coarse)
    np.testing.assert_allclose(boxes_of(mine(text)), boxes_of(peer(text)), atol=1.0)
    assert len(mine(text).labels) == count
    rates = compare_rates(lambda: mine(text), lambda: peer(text), repeats, SECONDS)
    return {"peer": form.peer, "boxes": count, **rates}


def survive(form: Format, peer: Reader, seed: int) -> dict[str, dict[str, int]]:
    """What is read of every beginning of an answer, and of 500 with one character replaced."""
    generator, text = random.Random(seed), make_text(form, make_boxes(SPOILT_BOXES, seed))
    spoilt = [text[:end] for end in range(len(text))]
    for _ in range(500):
        place = generator.randrange(len(text))
        spoilt.append(text[:place] + generator.choice("}{][,;\"' x.\n") + text[place + 1 :])
    truth = boxes_of(ours(form)(text))
    readers = {"strict": ours(form), "lenient": ours(form, "lenient"), "peer": peer}
    complete = re.compile(form.complete)
    return {
        who: count_kept(reader, spoilt, complete, set(complete.findall(text)), truth)
        for who, reader in readers.items()
    }


def count_kept(
    reader: Reader, texts: list[str], complete: re.Pattern[str], unspoilt: set[str], truth: Any
) -> dict[str, int]:
    """Texts that made a reader raise, and the complete boxes that it gave back."""
    counts = {"texts": len(texts), "raised": 0, "kept": 0, "complete": 0}
    for text in texts:
        whole = sum(found in unspoilt for found in complete.findall(text))
        counts["complete"] += whole
        try:
            found = boxes_of(reader(text))
        except Exception:  # what it raises is the measurement
            counts["raised"] += 1
            continue
        if found is not None and len(found):
            near = np.abs(np.asarray(found)[:, None] - truth[None]).max(-1).min(0) <= 1
            counts["kept"] += min(int(near.sum()), whole)
    return counts


if __name__ == "__main__":
    sys.exit(main())
