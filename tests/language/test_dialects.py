"""One contract for every dialect, and the known answers of each."""

# ruff: noqa: RUF001

from __future__ import annotations

import dataclasses
import re
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headsight.errors import InputError
from headsight.language.answer import Failure
from headsight.language.dialects import DIALECTS, NativeAnswer
from headsight.language.dialects.dialect import MODES, NativeDialect

WH = (640, 480)
SEEN = (644, 476)
KEYS = [
    "qwen_vl", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "deepseek_vl2", "cogvlm",
    "kosmos2", "paligemma", "florence2", "shikra", "ferret", "llava", "llava_unpadded", "glm4v",
    "kimi_vl", "molmo", "molmo2", "gemini", "minigpt_v2", "minicpm_v", "headsight",
]  # fmt: skip
LABELLED = [
    k
    for k in KEYS
    if k not in ("cogvlm", "shikra", "llava", "llava_unpadded", "glm4v", "headsight")
]

POINTERS = ("molmo", "molmo2")

# name: (answer, pixels); the arithmetic is in the comments: value / divisor * side
KNOWN: dict[str, tuple[str, list[float]]] = {
    "qwen_vl": ("<ref>cup</ref><box>(250,500),(750,900)</box>", [160, 240, 480, 432]),
    "qwen2_vl": (
        "<|object_ref_start|>cup<|object_ref_end|><|box_start|>(250,500),(750,900)<|box_end|>",
        [160, 240, 480, 432],
    ),
    # 161 / 644 * 640 = 160; 120 / 476 * 480 = 121.008; 483 / 644 * 640 = 480; 360 / 476 * 480
    "qwen2_5_vl": (
        '```json\n[{"bbox_2d": [161, 120, 483, 360], "label": "cup"}]\n```',
        [160, 121.00840336, 480, 363.02521008],
    ),
    "qwen3_vl": ('[{"bbox_2d": [250, 500, 750, 900], "label": "cup"}]', [160, 240, 480, 432]),
    "internvl": ("<ref>cup</ref><box>[[250, 500, 750, 900]]</box>", [160, 240, 480, 432]),
    # 580 / 999 * 640, 270 / 999 * 480, 640, 900 / 999 * 480
    "deepseek_vl2": (
        "<|ref|>cup<|/ref|><|det|>[[580, 270, 999, 900]]<|/det|>",
        [371.57157157, 129.72972973, 640, 432.43243243],
    ),
    "cogvlm": ("[[086,540,400,760]]", [55.04, 259.2, 256, 364.8]),
    # 44 = row 1, column 12; 863 = row 26, column 31; cells of 20 x 15 px, centres
    "kosmos2": (
        "<phrase> cup</phrase><object><patch_index_0044><patch_index_0863></object>",
        [250, 22.5, 630, 397.5],
    ),
    "paligemma": ("<loc0256><loc0128><loc0768><loc0640> cup", [80, 120, 400, 360]),
    # (100 + 0.5) * 0.64, (200 + 0.5) * 0.48, ...
    "florence2": ("cup<loc_100><loc_200><loc_500><loc_799>", [64.32, 96.24, 320.32, 383.76]),
    # a square of 640 with 80 px above the picture
    "shikra": ("Answer: [0.250,0.250,0.500,0.500] .", [160, 80, 320, 240]),
    "ferret": ("the cup [250, 500, 750, 900]", [160, 240, 480, 432]),
    "llava": ("[0.25, 0.25, 0.50, 0.50]", [160, 80, 320, 240]),
    "llava_unpadded": ("[0.25, 0.25, 0.50, 0.50]", [160, 120, 320, 240]),
    "glm4v": ("<|begin_of_box|>[[250, 500, 750, 900]]<|end_of_box|>", [160, 240, 480, 432]),
    "kimi_vl": ('{"bbox_2d":[0.28,0.50,0.52,0.70]}', [179.2, 240, 332.8, 336]),
    "molmo": ('<point x="52.9" y="43.9" alt="cup">cup</point>', [338.56, 210.72]),
    # 529 / 1000 * 640, 439 / 1000 * 480
    "molmo2": ('<points coords="1 1 529 439">cup</points>', [338.56, 210.72]),
    "gemini": (
        '```json\n[{"box_2d": [200, 100, 800, 500], "label": "cup"}]\n```',
        [64, 96, 320, 384],
    ),
    "minigpt_v2": ("<p>cup</p> {<25><50><75><90>}", [160, 240, 480, 432]),
    "minicpm_v": ("<ref>cup</ref><box>250 500 750 900</box>", [160, 240, 480, 432]),
    "headsight": ("[[086,540,400,760]]", [55.04, 259.2, 256, 364.8]),
}

# largest difference after writing and reading, in pixels of a side of 1: one step of the numbers
STEP = {
    "qwen2_5_vl": 1 / 476, "deepseek_vl2": 1 / 999, "kosmos2": 1 / 32, "paligemma": 1 / 1024,
    "llava": 1 / 75, "llava_unpadded": 1 / 100, "minigpt_v2": 1 / 100, "shikra": 1 / 750,
}  # fmt: skip

# Texts alone cannot tell these apart: the name of the family decides.
AMBIGUOUS = [
    {"qwen2_5_vl", "qwen3_vl"},
    {"shikra", "llava", "llava_unpadded"},
    {"cogvlm", "headsight"},
]


def read(name: str, text: str, **options: Any) -> NativeAnswer:
    return DIALECTS[name].parse(text, WH, SEEN, **options)


def random_boxes(count: int, seed: int) -> np.ndarray[Any, Any]:
    """Boxes of all sizes, a tenth of their edges on the border."""
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.uniform(0, 1, (count, 2, 2)) * np.array(WH)[:, None], -1)
    ends[..., 0] = np.where(rng.random((count, 2)) < 0.1, 0, ends[..., 0])
    ends[..., 1] = np.where(rng.random((count, 2)) < 0.1, np.array(WH), ends[..., 1])
    boxes = ends.transpose(0, 2, 1).reshape(count, 4)
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(-1)]


def test_keys() -> None:
    assert list(DIALECTS) == KEYS
    assert all(dialect.name == name for name, dialect in DIALECTS.items())


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("mode", MODES)
def test_known_answer(name: str, mode: Any) -> None:
    text, pixels = KNOWN[name]
    answer = read(name, text, mode=mode)
    assert (answer.status, answer.strict, answer.failure) == ("ok", True, None)
    assert answer.kind == ("points" if name in POINTERS else "boxes") == answer.asked
    np.testing.assert_allclose(answer.value, [pixels], atol=1e-6)
    assert answer.repairs == ()
    assert answer.text == text
    assert answer.dialect == name
    has_label = name in LABELLED and name != "kimi_vl"
    assert answer.labels == (("the cup" if name == "ferret" else "cup") if has_label else None,)


@pytest.mark.parametrize("name", KEYS)
def test_known_answer_with_marks_of_the_end(name: str) -> None:
    text, pixels = KNOWN[name]
    answer = read(name, text + "<|im_end|>\n")
    assert answer.strict
    np.testing.assert_allclose(answer.value, [pixels], atol=1e-6)


@pytest.mark.parametrize("name", [k for k in KEYS if k not in POINTERS])
def test_boxes_survive_being_written(name: str) -> None:
    boxes = random_boxes(1000, seed=3)
    step = np.tile(WH, 2) * STEP.get(name, 1 / 1000) + 1e-6
    dialect = DIALECTS[name]
    for some in np.array_split(boxes, 60):
        answer = dialect.parse(dialect.format(some, WH, SEEN), WH, SEEN)
        assert answer.strict, answer.text
        assert (np.abs(answer.value - some) <= step).all()


def test_points_survive_being_written() -> None:
    points = np.random.default_rng(0).uniform(0, 1, (1000, 2)) * WH
    for name, step in (
        ("molmo", 1e-3),
        ("molmo2", 1e-3),
        ("qwen3_vl", 1e-3),
        ("gemini", 1e-3),
        ("qwen2_5_vl", 1 / 476),
    ):
        answer = read(name, DIALECTS[name].format(points, WH, SEEN))
        assert answer.kind == "points"
        assert answer.strict
        assert (np.abs(answer.value - points) <= np.array(WH) * step / 2 + 1e-6).all()


@pytest.mark.parametrize("name", LABELLED)
def test_labels_survive_being_written(name: str) -> None:
    places = [[10, 20, 300, 200], [40, 60, 200, 400], [64, 48, 320, 240]]
    if name in POINTERS:
        places = [place[:2] for place in places]
    labels = ["red cup", "red cup", "dog 2"]
    answer = read(name, DIALECTS[name].format(places, WH, SEEN, labels=labels))
    assert answer.labels == tuple(labels)
    assert len(answer.value) == 3


@pytest.mark.parametrize("name", KEYS)
def test_spans_hold_the_numbers(name: str) -> None:
    boxes = [[64, 48, 320, 240], [128, 96, 448, 336]]
    places = [box[:2] for box in boxes] if name in POINTERS else boxes
    dialect = DIALECTS[name]
    text = dialect.format(places, WH, SEEN)
    spans = read(name, text).item_spans
    assert len(spans) == 2
    assert spans[0][1] <= spans[1][0]
    for place, (start, end) in zip(places, spans, strict=True):
        alone = dialect.format([place], WH, SEEN)
        ((a, b),) = read(name, alone).item_spans
        pattern = r'"([0-9.]+)"' if name == "molmo" else "[0-9]+"
        assert re.findall(pattern, text[start:end]) == re.findall(pattern, alone[a:b])


@pytest.mark.parametrize("name", [k for k in KEYS if getattr(DIALECTS[k], "exact", None)])
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_both_ways_of_reading_agree(name: str, count: int) -> None:
    dialect = DIALECTS[name]
    assert isinstance(dialect, NativeDialect)
    careful = dataclasses.replace(dialect, exact=None)
    boxes = random_boxes(count, seed=count)
    labels = [f"thing {i % 3}" for i in range(len(boxes))]
    text = dialect.format(boxes, WH, SEEN, labels=labels)
    quick, slow = (d.parse(text, WH, SEEN) for d in (dialect, careful))
    assert quick.spans is None  # the quick way was taken
    assert slow.spans is not None
    np.testing.assert_allclose(quick.value, slow.value, atol=1e-9)
    assert quick.labels == slow.labels == tuple(labels)
    assert quick.item_spans == slow.item_spans
    assert quick.to_dict() == slow.to_dict()


@pytest.mark.parametrize("name", [k for k in KEYS if getattr(DIALECTS[k], "exact", None)])
@settings(max_examples=15)
@given(data=st.data())
def test_both_ways_of_reading_agree_on_spoilt_texts(name: str, data: st.DataObject) -> None:
    dialect = DIALECTS[name]
    assert isinstance(dialect, NativeDialect)
    text = dialect.format(random_boxes(3, seed=1), WH, SEEN, labels=["a", "b", "b"])
    place = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(
        st.sampled_from(["", "9", "-", ",", " ", "]", ".", "<", ">", '"', "\n", ";", "+"])
    )
    spoilt = text[:place] + new + text[place + data.draw(st.integers(0, 2)) :]
    quick = dialect.parse(spoilt, WH, SEEN)
    if quick.strict and quick.spans is None:
        slow = dataclasses.replace(dialect, exact=None).parse(spoilt, WH, SEEN)
        assert slow.strict, spoilt
        np.testing.assert_allclose(quick.value, slow.value, atol=1e-9)


@pytest.mark.parametrize("writer", KEYS)
def test_no_other_family_takes_the_text_for_its_own(writer: str) -> None:
    text, _ = KNOWN[writer]
    same = next((group for group in AMBIGUOUS if writer in group), {writer})
    for reader in KEYS:
        answer = read(reader, text)
        if reader not in same:
            assert answer.value is None, (reader, answer.value)
            assert answer.status == "wrong_family", (reader, answer.status)
        if answer.value is None:
            assert writer in answer.families
            assert set(answer.families) <= same
        elif reader != writer:
            assert answer.status == "ok"


# Lenient readings of other families' texts: none but where brackets, and nothing else, tell them
# apart. Keys of JSON, tags and fractions are never read in another family's space.
TAKEN = {
    "qwen_vl": {"internvl", "minicpm_v"},  # <box> with other brackets: the same thousandths
    "internvl": {"qwen_vl", "minicpm_v"},
    "minicpm_v": {"qwen_vl", "internvl"},
    "cogvlm": {"qwen3_vl", "internvl", "deepseek_vl2", "glm4v"},  # the tags are missing
    "headsight": {"qwen3_vl", "internvl", "deepseek_vl2", "glm4v"},
    "ferret": {"internvl", "deepseek_vl2", "glm4v", "headsight"},
    "shikra": {"headsight"},
    "llava": {"kimi_vl", "headsight"},
    "llava_unpadded": {"kimi_vl", "headsight"},
}


@pytest.mark.parametrize("writer", KEYS)
def test_what_lenient_readers_take(writer: str) -> None:
    text, _ = KNOWN[writer]
    same = next((group for group in AMBIGUOUS if writer in group), {writer})
    for reader in KEYS:
        answer = read(reader, text, mode="lenient")
        if reader not in same and answer.value is not None:
            assert reader in TAKEN.get(writer, ()), answer.value
            assert answer.repairs


@pytest.mark.parametrize("name", KEYS)
def test_prompts(name: str) -> None:
    dialect = DIALECTS[name]
    assert dialect.tasks
    for task in dialect.tasks:
        asked = dialect.prompt("  the red   cup. ", task)
        assert "{" not in asked.replace("[[x0,y0,x1,y1]]", "")
        assert "the red cup" in asked or task == "objects"
    with pytest.raises(InputError, match="no words"):
        dialect.prompt(" ")
    with pytest.raises(InputError, match="no question for the task 'dance'"):
        dialect.prompt("cup", "dance")


def test_native_prompts() -> None:
    # of the table of native formats, word for word
    for name, asked in (
        ("qwen_vl", "<ref>cup</ref><box>"),
        ("qwen2_5_vl", "Locate cup in this image and output the bbox coordinates in JSON format."),
        (
            "internvl",
            "Please provide the bounding box coordinate of the region this sentence describes: <ref>cup</ref>",
        ),
        ("deepseek_vl2", "<|ref|>cup<|/ref|>."),
        ("cogvlm", "Where is cup? answer in [[x0,y0,x1,y1]] format."),
        ("kosmos2", "<grounding><phrase> cup</phrase>"),
        ("paligemma", "detect cup\n"),
        ("florence2", "<CAPTION_TO_PHRASE_GROUNDING>cup"),
        (
            "llava",
            "Please provide the bounding box coordinate of the region this sentence describes: cup",
        ),
        ("molmo", "Point to cup"),
        ("molmo2", "Point to cup"),
        ("minigpt_v2", "[refer] cup"),
    ):
        assert DIALECTS[name].prompt("cup") == asked


def test_what_is_not_confirmed_says_so() -> None:
    noted = {name for name, dialect in DIALECTS.items() if dialect.note}
    assert noted == {"llava", "llava_unpadded", "kimi_vl", "gemini", "minigpt_v2", "minicpm_v"}


def test_only_qwen2_5_needs_the_size_that_was_seen() -> None:
    assert [n for n, d in DIALECTS.items() if d.needs_seen_wh] == ["qwen2_5_vl"]
    text, _ = KNOWN["qwen2_5_vl"]
    for broken in (text, "nothing"):
        with pytest.raises(InputError, match=r"seen_wh is missing.*pass seen_wh="):
            DIALECTS["qwen2_5_vl"].parse(broken, WH)
    with pytest.raises(InputError, match=r"seen_wh is \(0, 5\)"):
        DIALECTS["qwen2_5_vl"].parse(text, WH, (0, 5))


@pytest.mark.parametrize("name", KEYS)
def test_wrong_use_is_told(name: str) -> None:
    dialect = DIALECTS[name]
    with pytest.raises(InputError, match="mode is 'loose'"):
        read(name, "text", mode="loose")
    if name == "headsight":
        return  # `encode` has its own tests
    with pytest.raises(InputError, match=r"image_wh is \(0, 480\)"):
        dialect.parse("text", (0, 480), SEEN)
    for bad in ([[10, 20, 5, 40]], [[float("nan")] * 4], [[700, 20, 800, 40]]):
        with pytest.raises(InputError, match="no area inside a picture of 640x480"):
            dialect.format(bad, WH, SEEN)
    with pytest.raises(InputError, match=r"shape \(1, 3\)"):
        dialect.format([[1, 2, 3]], WH, SEEN)
    with pytest.raises(InputError, match="not a table of numbers"):
        dialect.format([["a", "b"]], WH, SEEN)
    place = [[10.0, 20.0]] if name in POINTERS else [[10, 20, 30, 40]]
    with pytest.raises(InputError, match="2 labels were given for 1 places"):
        dialect.format(place, WH, SEEN, labels=["a", "b"])
    if name in LABELLED and name not in ("qwen2_5_vl", "qwen3_vl", "kimi_vl", "gemini"):
        with pytest.raises(InputError, match="holds '<'"):
            dialect.format(place, WH, SEEN, labels=["a<b"])


@pytest.mark.parametrize("name", POINTERS)
def test_families_that_point_write_no_boxes(name: str) -> None:
    with pytest.raises(InputError, match="Pass their centres"):
        DIALECTS[name].format([[10, 20, 30, 40]], WH)


def test_empty_lists() -> None:
    for name in ("qwen2_5_vl", "qwen3_vl", "gemini", "kimi_vl"):
        text = DIALECTS[name].format([], WH, SEEN)
        answer = read(name, text)
        assert (answer.kind, answer.status, answer.strict) == ("none", "ok", True)
        assert answer.value.shape == (0, 4)
        assert answer.item_spans == ()
    assert read("headsight", "none").kind == "none"
    for name in POINTERS:
        assert DIALECTS[name].format([], WH) == "There are none."
        assert (read(name, "There are none.").kind, read(name, "There are none.").strict) == (
            "none",
            True,
        )


def test_molmo2_writes_one_tag_a_label() -> None:
    points = [[640, 0], [0, 480], [320, 240]]
    assert DIALECTS["molmo2"].format(points, WH, labels=["a", "a", "b"]) == (
        '<points coords="1 1 1000 000 2 000 1000">a</points>\n<points coords="1 1 500 500">b</points>'
    )


LONG = {
    "brackets": "[" * 100_000,
    "braces": "{" * 30_000,
    "keys": '{"bbox_2d":[' * 3_000,
    "tags": "<" * 30_000,
    "loc tokens": "<loc0256>" * 10_000,
    "bins": "<loc_256>" * 10_000,
    "cells": "<object>" + "<patch_index_0044>" * 5_000,
    "points": '<point x="5.0" ' * 2_000,
    "lists of points": '<points coords="1 ' * 2_000,
    "a list of points": '<points coords="' + "1 100 200 " * 5_000,
    "pictures": '<points coords="' + "1;" * 10_000 + '">',
    "unclosed text": '{\\"' * 10_000,
    "boxes": "<box>" * 5_000,
    "phrases": "<ref>" * 5_000,
    "words": "word " * 5_000,
    "spaces": " " * 30_000,
    "a bracket and spaces": "[" + " " * 50_000,
    "a list, spaces and a word": '[{"bbox_2d": [1, 2, 3, 4], "label": "a"}]' + " " * 50_000 + "x",
    "a corner, spaces and a word": "(" + " " * 50_000 + "x",
    "a box, spaces and a word": "<box>[[1, 2, 3, 4]]</box>" + " " * 50_000 + "x",
    "a token, spaces and a word": "<loc0256><" + " " * 50_000 + "x",
    "numbers": "1," * 10_000,
    "digits": "1" * 30_000,
    "a huge number": '[{"bbox_2d": [' + "1" * 50_000 + ', 2, 3, 4], "label": "a"}]',
    "labels": '"label": "' * 3_000,
    "thoughts": "<think>" * 3_000,
}


@pytest.mark.parametrize("name", KEYS)
def test_long_texts_are_read_at_once(name: str) -> None:
    for what, text in LONG.items():
        for mode in MODES:
            start = time.process_time()
            read(name, text, mode=mode)
            # it takes less than 0.1 s; what grows with the square of the length takes minutes
            assert time.process_time() - start < 5, (what, mode)


@pytest.mark.parametrize("name", KEYS)
@settings(max_examples=15)
@given(
    text=st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(
                [k[0] for k in KNOWN.values()]
                + list('[]{}<>()",:;= ')
                + [
                    "<box>",
                    "</box>",
                    "<loc0100>",
                    "<loc_5>",
                    "<seg001>",
                    "<poly>",
                    "<sep>",
                    "<object>",
                    "bbox_2d",
                    '"bbox_2d": [',
                    "<point x=",
                    '<points coords="1 1 ',
                    "</points>",
                    "1",
                    "500",
                    "1e400",
                    "0.5",
                    "-3",
                    "９",
                    "none",
                    "</think>",
                    "\ud800",
                    "\x00",
                ]
            ),
            max_size=12,
        ).map("".join),
    )
)
def test_no_text_raises(name: str, text: str) -> None:
    for mode in MODES:
        answer = read(name, text, mode=mode)
        if answer.value is None:
            assert answer.failure is not None
            assert not answer.is_valid
            continue
        assert answer.is_valid
        assert np.isfinite(answer.value).all()
        limit = np.array(WH)
        if answer.kind == "boxes":
            assert (answer.value[:, :2] < answer.value[:, 2:]).all()
        corners = answer.value.reshape(-1, 2)
        assert (corners >= 0).all()
        assert (corners <= limit + 1e-9).all()
        assert len(answer.labels) in (0, len(answer.value))
        assert len(answer.item_spans) == len(answer.value)
        assert not (mode == "strict" and answer.repairs)


@pytest.mark.parametrize("name", KEYS)
def test_complete_boxes_of_a_cut_text_are_kept(name: str) -> None:
    boxes = random_boxes(3, seed=2)
    places = boxes[:, :2] if name in POINTERS else boxes
    dialect = DIALECTS[name]
    text = dialect.format(places, WH, SEEN)
    whole = read(name, text)
    ends = [end for _, end in whole.item_spans]
    has_one_list = (
        name in ("cogvlm", "shikra", "glm4v") or dialect.format(places[:1], WH, SEEN)[:3] == "```"
    )
    for end in range(len(text)):
        for mode in MODES[end % 2 :]:
            answer = read(name, text[:end], mode=mode)
            kept = 0 if answer.value is None else len(answer.value)
            if kept:  # never a box that is not there
                np.testing.assert_array_equal(answer.value, whole.value[:kept])
            # a box is complete once what closes it is there: at most 12 characters, `"}` or a tag
            spare = 22 if name == "kosmos2" else 12
            assert kept >= sum(e + spare <= end for e in ends), (text[:end], mode)
            if has_one_list and kept < len(boxes):
                assert answer.failure is not None


@pytest.mark.parametrize("name", ["florence2", "kosmos2"])
def test_against_transformers(name: str) -> None:
    from transformers.models.florence2.processing_florence2 import Florence2PostProcessor
    from transformers.models.kosmos2.processing_kosmos2 import (
        clean_text_and_extract_entities_with_bboxes as entities,
    )

    boxes = random_boxes(100, seed=5)
    labels = [f"thing {i}" for i in range(len(boxes))]
    text = DIALECTS[name].format(boxes, WH, labels=labels)
    mine = read(name, text)
    if name == "kosmos2":
        found = entities(text)[1]
        theirs = [np.array(box) * np.tile(WH, 2) for _, _, some in found for box in some]
        assert [phrase for phrase, _, _ in found] == labels
        np.testing.assert_allclose(mine.value, theirs, atol=1e-6)
    else:
        reader = Florence2PostProcessor.__new__(Florence2PostProcessor)  # without a tokenizer
        reader.quantize_bins = (1000, 1000)
        found = reader.parse_description_with_bboxes_from_text_and_spans(text, image_size=WH)
        assert [item["cat_name"] for item in found] == labels
        theirs = [item["bbox"] for item in found]
        np.testing.assert_array_equal(
            np.trunc(np.round(mine.value, 4)), theirs
        )  # it cuts to whole pixels


def test_failures_are_ones_of_the_enum() -> None:
    assert all(isinstance(read(n, "I am sorry, I cannot.").failure, Failure) for n in KEYS)
