"""One contract for every dialect, and the known answers of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from headsight.errors import InputError
from headsight.language.answer import Failure
from headsight.language.dialects import DIALECTS, NativeAnswer
from headsight.language.dialects.dialect import MODES

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
def test_boxes_survive_being_written(random_boxes: Callable[..., Any], name: str) -> None:
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


@pytest.mark.parametrize("name", ["florence2", "kosmos2"])
def test_against_transformers(random_boxes: Callable[..., Any], name: str) -> None:
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
