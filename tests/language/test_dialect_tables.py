"""What each dialect makes of valid and of malformed answers: the tables, family by family."""

# ruff: noqa: RUF001

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headsight.language.answer import Failure
from headsight.language.dialects import DIALECTS, NativeAnswer

WH = (1000, 1000)  # so that thousandths are pixels
A, B = [100, 200, 300, 400], [500, 600, 700, 800]

Row = tuple[str, str, list[list[float]] | None]


def rows(name: str, table: list[Row]) -> list[Any]:
    return [pytest.param(name, *row, id=f"{name}-{i}") for i, row in enumerate(table)]


# text, status of the strict reading, its boxes
STRICT = [
    *rows("qwen_vl", [
        ("<ref>cup</ref><box>(100,200),(300,400)</box>", "ok", [A]),
        ("<box>(100,200),(300,400)</box><box>(500,600),(700,800)</box>", "ok", [A, B]),
        ("a <ref>cup</ref><box>(100,200),(300,400)</box> on a table", "ok", [A]),
        ("(100,200),(300,400)</box>", "ok", [A]),
        ("(100,200),(300,400)</box><|endoftext|>", "ok", [A]),
        ("<box>(100,200),(300,4", "truncated", None),
        ("<box>(100,200),(300,400)</box><box>(500,600),(7", "truncated", [A]),
        ("<box>(100,200),(300)</box>", "wrong_arity", None),
        ("<box>(100,200),(300,x)</box>", "not_a_number", None),
        ("<box></box>", "not_a_number", None),
        ("<box>(100,200),(300,1040)</box>", "out_of_range", [[100, 200, 300, 1000]]),
        ("<box>(100,200),(300,1060)</box>", "out_of_range", None),
        ("<box>(300,200),(100,400)</box>", "inverted", None),
        ("<box>(100,200),(100,400)</box>", "degenerate", None),
        ("<box>(100.5,200),(300,400)</box>", "bad_digits", None),
        ("", "empty", None),
        ("</s>\n", "empty", None),
        ("I am sorry, I cannot see a cup.", "refusal", None),
        ("There is a cup.", "no_box", None),
        ("It is at 100 200 300 400.", "no_structure", None),
        ("[[100,200,300,400]]", "wrong_family", None),
    ]),
    *rows("qwen2_vl", [
        ("<|object_ref_start|>cup<|object_ref_end|><|box_start|>(100,200),(300,400)<|box_end|><|im_end|>", "ok", [A]),
        ("<|box_start|>(100,200),(300,400)<|box_end|><|box_start|>(500,600),(700,800)<|box_end|>", "ok", [A, B]),
        ("(100,200),(300,400)", "ok", [A]),
        (" (100,200),(300,400)\n", "ok", [A]),
        ("<|box_start|>(100,200),(300,400)", "truncated", None),
        ("<|box_start|>(100,200),(300,400)<|box_end|> and <|box_start|>(500", "truncated", [A]),
        ("(100,200),(300", "truncated", None),
        ("(100,200),(300)", "wrong_arity", None),
        ("the cup is at (100,200),(300,400)", "no_structure", None),
        ("<|box_start|>(300,400),(100,200)<|box_end|>", "inverted", None),
    ]),
    *rows("qwen2_5_vl", [
        ('```json\n[\n\t{"bbox_2d": [100, 200, 300, 400], "label": "cup"}\n]\n```', "ok", [A]),
        ('[{"bbox_2d": [100, 200, 300, 400]}]', "ok", [A]),
        ('{"bbox_2d": [100, 200, 300, 400], "label": "a \\"cup\\""}', "ok", [A]),
        ('[{"label": "cup", "bbox_2d": [100, 200, 300, 400], "score": 0.5}]', "ok", [A]),
        ('[{"point_2d": [100, 200], "label": "cup"}]', "ok", [[100, 200]]),
        ("[]", "ok", []),
        ("```json\n[]\n```", "ok", []),
        ('[{"bbox_2d": [100, 200, 300, 400], "label": "a"}, {"bbox_2d": [500, 600', "truncated", [A]),
        ('[{"bbox_2d": [100, 200, 300, 400], "label": "a"}', "truncated", [A]),
        ('[{"bbox_2d": [100, 200, 300, 400], "label": "a"},', "truncated", [A]),
        ('[{"bbox_2d": [100, 200, 300, 4', "truncated", None),
        ("```json\n[", "truncated", None),
        ('[{"bbox_2d": [100, 200, 300]}]', "wrong_arity", None),
        ('[{"bbox_2d": [100, 200, 300]}, {"bbox_2d": [500, 600, 700, 800]}]', "wrong_arity", [B]),
        ('[{"bbox_2d": [100, 200, 300, 400, 500]}]', "wrong_arity", None),
        ('[{"bbox_2d": ["100", 200, 300, 400]}]', "not_a_number", None),
        ('[{"bbox_2d": [100, null, 300, 400]}]', "not_a_number", None),
        ('[{"bbox_2d": [100, NaN, 300, 400]}]', "out_of_range", None),
        ('[{"bbox_2d": [100, true, 300, 400]}]', "not_a_number", None),
        ('[{"bbox_2d": "100, 200, 300, 400"}]', "not_a_number", None),
        ('[{"bbox_2d": [100.5, 200, 300, 400]}]', "bad_digits", None),
        ('[{"bbox_2d": [100, 200, 300, 1040]}]', "out_of_range", [[100, 200, 300, 1000]]),
        ('[{"bbox_2d": [-10, 200, 300, 400]}]', "out_of_range", [[0, 200, 300, 400]]),
        ('[{"bbox_2d": [100, 200, 300, 1200]}]', "out_of_range", None),
        ('[{"bbox_2d": [300, 400, 100, 200]}]', "inverted", None),
        ("[{'bbox_2d': [100, 200, 300, 400]}]", "no_structure", None),
        ('[{"bbox_2d": [100, 200, 300, 400]},]', "no_structure", None),
        ('[{"bbox_2d": [100, 200, 300, 400]} {"bbox_2d": [500, 600, 700, 800]}]', "no_structure", None),
        ('Here: [{"bbox_2d": [100, 200, 300, 400]}]', "no_structure", None),
        ('[{"bbox_2d": [100, 200, 300, 400]}] That is the cup.', "no_structure", None),
        ('[{"bbox": [100, 200, 300, 400]}]', "no_structure", None),
        ('{"boxes": [{"bbox_2d": [100, 200, 300, 400]}]}', "no_structure", None),
        ("[[100, 200, 300, 400]]", "no_structure", None),
        ('[{"box_2d": [100, 200, 300, 400]}]', "wrong_family", None),
        ('{"bbox_2d": [0.1, 0.2, 0.3, 0.4]}', "wrong_family", None),
        ("<box>(100,200),(300,400)</box>", "wrong_family", None),
        ("I cannot find it.", "refusal", None),
    ]),
    *rows("qwen3_vl", [
        ('<think>maybe [{"bbox_2d": [1, 2, 3, 4]}]</think>\n[{"bbox_2d": [100, 200, 300, 400]}]<|im_end|>', "ok", [A]),
        ('so [1]...</think>[{"bbox_2d": [100, 200, 300, 400]}]', "ok", [A]),
        ("<think>where is it, at 100", "truncated", None),
        ('[{"bbox_2d": [100, 200, 300, 400]}, {"point_2d": [1, 2]}]', "wrong_kind", [A]),
        ("[" + '{"bbox_2d": [100, 200, 300, 400]},' * 9, "repeat", [A] * 9),
    ]),
    *rows("kimi_vl", [
        ('{"bbox_2d":[0.1,0.2,0.3,0.4]}', "ok", [A]),
        ('◁think▷[0.5]◁/think▷[{"bbox_2d": [0.1, 0.2, 0.3, 0.4], "label": "cup"}]', "ok", [A]),
        ('{"bbox_2d":[0, 0.2, 1, 0.4]}', "ok", [[0, 200, 1000, 400]]),
        ('{"bbox_2d":[0.1,0.2,1.3,0.4]}', "out_of_range", None),
        ('{"bbox_2d":[100,200,300,400]}', "wrong_family", None),
    ]),
    *rows("gemini", [
        ('```json\n[{"box_2d": [200, 100, 400, 300], "label": "cup"}]\n```', "ok", [A]),
        ('[{"point": [200, 100], "label": "cup"}]', "ok", [[100, 200]]),
        ('[{"box_2d": [400, 100, 200, 300]}]', "inverted", None),
        ('[{"bbox_2d": [200, 100, 400, 300]}]', "wrong_family", None),
    ]),
    *rows("internvl", [
        ("<ref>cup</ref><box>[[100, 200, 300, 400]]</box>", "ok", [A]),
        ("<ref>cup</ref><box>[[100,200,300,400], [500,600,700,800]]</box>", "ok", [A, B]),
        ("Sure, <ref>cup</ref><box>[[100, 200, 300, 400]]</box>", "ok", [A]),
        # four small numbers: no script guesses that they are fractions
        ("<box>[[0, 1, 2, 3]]</box>", "ok", [[0, 1, 2, 3]]),
        ("<box>[[100, 200, 300, 400], [500, 600, 70", "truncated", [A]),
        ("<box>[[100, 200, 300, 400]", "truncated", [A]),
        ("<box>[[580, 270, 999]]</box>", "wrong_arity", None),
        ("<box>[[100, 200, 300, 400], [1, 2, 3]]</box>", "wrong_arity", [A]),
        ("<box>[100, 200, 300, 400]</box>", "ok", [A]),
        ("<box>[[100, a, 300, 400]]</box>", "not_a_number", None),
        ("<box>[[100, 200, 300, 1200]]</box>", "out_of_range", None),
        ("[[100, 200, 300, 400]]", "no_structure", None),
    ]),
    *rows("deepseek_vl2", [
        ("<|ref|>cup<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|><｜end▁of▁sentence｜>", "ok", [[0, 0, 1000, 1000]]),
        ("<|det|>[[0, 0, 999, 333], [0, 0, 333, 999]]<|/det|>", "ok", [[0, 0, 1000, 333.333333], [0, 0, 333.333333, 1000]]),
        ("<|grounding|>A <|ref|>cup<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|> here", "ok", [[0, 0, 1000, 1000]]),
        ("<|ref|>cup<|/ref|><|det|>[[0, 0, 999, 999]]", "truncated", [[0, 0, 1000, 1000]]),
        ("<|ref|>cup<|/ref|><|det|>[[0, 0, 999]]<|/det|>", "wrong_arity", None),
        ("<|ref|>cup<|/ref|>", "no_box", None),
    ]),
    *rows("cogvlm", [
        ("[[100,200,300,400]]", "ok", [A]),
        ("[[100,200,300,400;500,600,700,800]]", "ok", [A, B]),
        ("A cup [[100,200,300,400]] on a table [[500,600,700,800]].</s>", "ok", [A, B]),
        ("[[100,200,300,400;500,600", "truncated", [A]),
        ("[[100,200,300,40]]", "bad_digits", None),
        ("[[100, 200, 300, 400]]", "bad_digits", None),
        ("[[100,200,300]]", "wrong_arity", None),
        ("[[300,200,100,400]]", "inverted", None),
        ("<box>[[100,200,300,400]]</box>", "wrong_family", None),
    ]),
    *rows("kosmos2", [
        # cells of 31.25 px: 33 = row 1, column 1; 99 = row 3, column 3
        ("<phrase> a cup</phrase><object><patch_index_0033><patch_index_0099></object>", "ok", [[46.875, 46.875, 109.375, 109.375]]),
        # the same cell, row or column: outer edges
        ("<object><patch_index_0033><patch_index_0033></object>", "ok", [[31.25, 31.25, 62.5, 62.5]]),
        ("<object><patch_index_0033><patch_index_0035></object>", "ok", [[31.25, 31.25, 125, 62.5]]),
        ("<object><patch_index_0033><patch_index_0099></delimiter_of_multi_objects/><patch_index_0033><patch_index_0033></object>", "ok",
         [[46.875, 46.875, 109.375, 109.375], [31.25, 31.25, 62.5, 62.5]]),
        ("<object><patch_index_0033><patch_index_0099>", "truncated", [[46.875, 46.875, 109.375, 109.375]]),
        ("<object><patch_index_0033><patch_ind", "truncated", None),
        ("<object><patch_index_0033></object>", "wrong_arity", None),
        ("<object><patch_index_0099><patch_index_0033></object>", "inverted", None),
        ("<object><patch_index_0033><patch_index_2000></object>", "out_of_range", None),
    ]),
    *rows("paligemma", [
        ("<loc0256><loc0128><loc0768><loc0640> cup", "ok", [[125, 250, 625, 750]]),
        ("<loc0256><loc0128><loc0768><loc0640> cup ; <loc0000><loc0000><loc0512><loc0512> dog<eos>", "ok", [[125, 250, 625, 750], [0, 0, 500, 500]]),
        ("<loc0256><loc0128><loc0768><loc0640>", "ok", [[125, 250, 625, 750]]),
        ("<loc0256><loc0128><loc0768><loc0640>" + "".join(f"<seg{i:03d}>" for i in range(16)) + " cup", "ok", [[125, 250, 625, 750]]),
        ("<loc0256><loc0128><loc0768><loc0640> cup ; <loc0000><loc0000>", "truncated", [[125, 250, 625, 750]]),
        ("<loc0256><loc0128><loc07", "truncated", None),
        ("<loc0256><loc0128><loc0768> cup", "wrong_arity", None),
        ("<loc0256>" * 8, "wrong_arity", None),
        ("<loc0768><loc0128><loc0256><loc0640> cup", "inverted", None),
        ("the cup <loc0256><loc0128><loc0768><loc0640>", "no_structure", None),
        ("cup<loc_1><loc_2><loc_3><loc_4>", "wrong_family", None),
    ]),
    *rows("florence2", [
        ("cup<loc_100><loc_200><loc_300><loc_400>", "ok", [[100.5, 200.5, 300.5, 400.5]]),
        ("</s><s>cup<loc_100><loc_200><loc_300><loc_400></s>", "ok", [[100.5, 200.5, 300.5, 400.5]]),
        ("cup<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8>dog<loc_0><loc_0><loc_9><loc_9>", "ok",
         [[1.5, 2.5, 3.5, 4.5], [5.5, 6.5, 7.5, 8.5], [0.5, 0.5, 9.5, 9.5]]),
        ("<poly><loc_0><loc_0><loc_10><loc_0><loc_10><loc_20></poly>", "ok", [[0.5, 0.5, 10.5, 20.5]]),
        ("cup<loc_100><loc_200><loc_300>", "truncated", None),
        ("cup<loc_1><loc_2><loc_3><loc_4>dog<loc_5><lo", "truncated", [[1.5, 2.5, 3.5, 4.5]]),
        ("cup<loc_1><loc_2><loc_3>dog<loc_1><loc_2><loc_3><loc_4>", "wrong_arity", [[1.5, 2.5, 3.5, 4.5]]),
        ("cup<loc_3><loc_2><loc_1><loc_4>", "inverted", None),
        ("cup<loc_3><loc_2><loc_3000><loc_4>", "out_of_range", None),
        ("cup<poly><loc_1><loc_2><loc_3><loc_4></poly>", "wrong_arity", None),
        ("cup", "no_box", None),
    ]),
    *rows("shikra", [
        ("Answer: [0.100,0.200,0.300,0.400] .", "ok", [A]),
        ("The cup [0.100,0.200,0.300,0.400;0.500,0.600,0.700,0.800] is red.", "ok", [A, B]),
        ("[0.100,0.200,0.300,0.4", "truncated", None),
        ("[0.100,0.200,0.300,0.400;0.5", "truncated", [A]),
        ("[0.100,0.200,0.300]", "wrong_arity", None),
        ("[0.100,0.200,0.300,1.400]", "out_of_range", None),
        ("[1,2,3,4]", "wrong_family", None),
    ]),
    *rows("llava", [
        ("[0.10, 0.20, 0.30, 0.40]", "ok", [A]),
        ("[0.10, 0.20, 0.30, 0.40]</s>", "ok", [A]),
        ("[0.10, 0.20, 0.30, 0.4", "truncated", None),
        ("[0.30, 0.20, 0.10, 0.40]", "inverted", None),
        ("[0.10, 0.20, 0.30, 0.20]", "degenerate", None),
        ("The box is [0.10, 0.20, 0.30, 0.40].", "wrong_family", None),
    ]),
    *rows("ferret", [
        ("cup [100, 200, 300, 400]", "ok", [A]),
        ("There is a cup [100, 200, 300, 400] and a dog [500, 600, 700, 800].", "ok", [A, B]),
        ("cup [100, 200, 300", "truncated", None),
        ("cup [100, 200, 300]", "wrong_arity", None),
        ("see [note]", "not_a_number", None),
        ("cup [100, 200, 300, 4000]", "out_of_range", None),
    ]),
    *rows("glm4v", [
        ("<|begin_of_box|>[[100,200,300,400]]<|end_of_box|>", "ok", [A]),
        ("<think>a draft <|begin_of_box|>[[1,2,3,4]]<|end_of_box|></think><answer>It is <|begin_of_box|>[[100, 200, 300, 400]]<|end_of_box|></answer>", "ok", [A]),
        ("<|begin_of_box|>[100,200,300,400]<|end_of_box|>", "ok", [A]),
        ("<|begin_of_box|>[[100,200,300,400]]", "truncated", [A]),
        ("<|begin_of_box|>red<|end_of_box|>", "not_a_number", None),
    ]),
    *rows("molmo", [
        ('<point x="10.0" y="20.5" alt="cup">cup</point>', "ok", [[100, 205]]),
        ('Here: <points x1="10" y1="20" x2="30" y2="40" alt="cups">cups</points>', "ok", [[100, 200], [300, 400]]),
        ('<point x="100.1" y="20" alt="cup">cup</point>', "out_of_range", None),
        ('<points x1="10" y1="20" x2="30" alt="cups">cups</points>', "wrong_arity", [[100, 200]]),
        ('<point x="ten" y="20" alt="cup">cup</point>', "not_a_number", None),
        ('<point x="10.0" y="20.5" alt="cup">cup', "truncated", [[100, 205]]),
        ('<points x1="10" y1="20" x2="3', "truncated", [[100, 200]]),
        ('<points x1="10" y1="2', "truncated", None),
        ("<point x='10' y='20' alt='cup'>cup</point>", "no_structure", None),
        ("There are none.", "ok", []),
        ("There are none here.", "no_box", None),
        ('<points coords="1 1 100 200">cup</points>', "wrong_family", None),
    ]),
    *rows("molmo2", [
        ('<points coords="1 1 100 200">cup</points>', "ok", [[100, 200]]),
        ('<points coords="1 1 100 200 2 1000 000">cups</points>', "ok", [[100, 200], [1000, 0]]),
        ('Counting the <points coords="1 1 100 200 2 300 400" alt="cups">the cups</points> shows a total of 2.', "ok", [[100, 200], [300, 400]]),
        ('<points alt="cups" coords="1 1 100 200">the cups</points><|im_end|>', "ok", [[100, 200]]),
        ('<points coords="1 1 100 200">cup</points> and <points coords="1 1 300 400">dog</points>', "ok", [[100, 200], [300, 400]]),
        ('<points coords="1 1 100 200"/>', "ok", [[100, 200]]),
        ("There are none.", "ok", []),
        ('<points coords="1 1 1001 200">cup</points>', "out_of_range", None),
        # another picture than the one that was asked about
        ('<points coords="2 1 100 200">cup</points>', "out_of_range", None),
        ('<points coords="1 1 100 200;2 2 300 400">cups</points>', "out_of_range", [[100, 200]]),
        ('<points coords="1 1 100 200\t2 2 300 400">cups</points>', "out_of_range", [[100, 200]]),
        ('<points coords="0.5 1 100 200">cups</points>', "out_of_range", None),
        # a number too few: what stands before it holds, what stands behind is not guessed
        ('<points coords="1 1 100 200 2 300">cups</points>', "wrong_arity", [[100, 200]]),
        ('<points coords="1 1 100 2 300 400">cups</points>', "wrong_arity", None),
        ('<points coords="1 100 200">cup</points>', "wrong_arity", None),
        ('<points coords="1">cup</points>', "wrong_arity", None),
        ('<points coords="">cup</points>', "no_box", None),
        ('<points coords="1 1 ten 200">cup</points>', "not_a_number", None),
        ('<points coords="one 1 100 200">cup</points>', "not_a_number", None),
        # percents, or thousandths without their zeros
        ('<points coords="1 1 10.0 20.0">cup</points>', "bad_digits", None),
        ('<points coords="1 1 10 20">cup</points>', "bad_digits", None),
        ("<points coords='1 1 100 200'>cup</points>", "no_structure", None),
        ('<points>cup</points> 1 1 100 200', "no_structure", None),
        ('<points coords="1 1 100 200">cup', "truncated", [[100, 200]]),
        ('<points coords="1 1 100 200 2 300 40', "truncated", [[100, 200]]),
        ('<points coords="1 1 100 200 2 300 400', "truncated", [[100, 200]]),
        ('<points coords="1 1 100 20', "truncated", None),
        ('<points coords="1 1 100 200 ', "truncated", [[100, 200]]),
        ('<point x="10.0" y="20.5" alt="cup">cup</point>', "wrong_family", None),
        ('<points x1="10" y1="20" x2="30" y2="40" alt="cups">cups</points>', "wrong_family", None),
    ]),
    *rows("minigpt_v2", [
        ("{<10><20><30><40>}", "ok", [A]),
        ("<p>cup</p> {<10><20><30><40>}", "ok", [A]),
        ("{<10><20><30>}", "wrong_arity", None),
        ("{<10><20><30><4", "truncated", None),
        ("{<10><20><30><140>}", "out_of_range", None),
    ]),
    *rows("minicpm_v", [
        ("<ref>cup</ref><box>100 200 300 400</box>", "ok", [A]),
        ("<box>100 200 300</box>", "wrong_arity", None),
        ("<box>100 200 300 40", "truncated", None),
    ]),
    *rows("headsight", [
        ("[[100,200,300,400;500,600,700,800]]", "ok", [A, B]),
        ("none", "ok", []),
        ("[[100,200,300,400;500,600", "truncated", [A]),
        ("[[100, 200, 300, 400]]", "no_structure", None),
        ("[[300,200,100,400]]", "degenerate", None),
        ("{012,034,056,078}", "blended", None),
        ("A cup.", "unreadable", None),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "status", "places"), STRICT)
def test_strict(name: str, text: str, status: str, places: list[list[float]] | None) -> None:
    answer = DIALECTS[name].parse(text, WH, WH)
    assert (answer.status, answer.repairs) == (status, ())
    check(answer, places)
    assert answer.strict == (status == "ok")
    assert answer.recovered == (status != "ok" and places is not None)


def test_the_table_holds_every_failure_of_boxes() -> None:
    statuses = {param.values[2] for param in STRICT}
    # of several boxes all are taken: `multiple` is a failure of poses, points and counts
    assert statuses == {"ok", *Failure} - {"multiple"}


# text, repairs, boxes
LENIENT = [
    *rows("qwen2_5_vl", [
        ("[{'bbox_2d': [100, 200, 300, 400], 'label': 'cup'}]", "quotes", [A]),
        ("[{bbox_2d: [100, 200, 300, 400]}]", "quotes", [A]),
        ('[{"bbox_2d": [100, 200, 300, 400]},]', "commas", [A]),
        ('[{"bbox_2d": [100, 200, 300, 400],}]', "commas", [A]),
        ('[{"bbox_2d": [100, 200, 300, 400]} {"bbox_2d": [500, 600, 700, 800]}]', "commas", [A, B]),
        ('```json\n[{"bbox_2d": [100, 200, 300, 400]}]\n```\nThat is the cup.', "text_around", [A]),
        ('The box: {"bbox_2d": [100, 200, 300, 400]}', "text_around", [A]),
        ('[{"bbox": [100, 200, 300, 400]}]', "key_name", [A]),
        ('[{"bbox_2d": [100.0, 200.4, 300, 400]}]', "form", [[100, 200.4, 300, 400]]),
        ('[{"bbox_2d": ["100", "200", "300", "400"]}]', "quotes", [A]),
        ('{"boxes": [{"bbox_2d": [100, 200, 300, 400]}]}', "structure", [A]),
        ("[100, 200, 300, 400]", "flat_list", [A]),
        ("[[100, 200, 300, 400], [500, 600, 700, 800]]", "flat_list", [A, B]),
        ('［{"bbox_2d": ［１００，200, 300, 400］}］', "wide_characters", [A]),
        ('[{"bbox_2d": [100, 200, 300, 400], "lab', "unclosed_object", [A]),
        ('[' + '{"bbox_2d": [100, 200, 300, 400]}, ' * 30 + '{"bbox_2d": [100', "repeats", [A]),
        ('[{"box_2d": [100, 200, 300, 400]}]', "", None),
        ('[{"bbox_2d": [300, 400, 100, 200]},]', "", None),
        ('[{"bbox_2d": [0.1, 0.2, 0.3, 0.4]}]', "", None),
        ("[{'bbox_2d': [100, 200, 300]}]", "", None),
        ("between 2019 and 2023 in 4 of 5 cases", "", None),
    ]),
    *rows("internvl", [
        ("[[100, 200, 300, 400]]", "missing_tags", [A]),
        ("<box>100, 200, 300, 400</box>", "form", [A]),
        ("<box>[[100.0, 200, 300, 400]]</box>", "form", [A]),
        ("＜box＞［［100，200，300，400］］＜/box＞", "wide_characters", [A]),
        ("100, 200, 300, 400", "", None),
    ]),
    *rows("deepseek_vl2", [
        # a spoilt opening mark: the closing one tells the box
        ("<|ref|>cup<|/ref|><|de.|>[[0, 0, 999, 999]]<|/det|>", "missing_tags", [[0, 0, 1000, 1000]]),
    ]),
    *rows("minicpm_v", [
        ("100 200 300 400", "missing_tags", [A]),
        ("12100 200 300 400", "", None),
        ("100 200 300 400.5", "", None),
    ]),
    *rows("glm4v", [("It is at [[100, 200, 300, 400]].", "missing_tags", [A])]),
    *rows("qwen2_vl", [("The cup is at (100,200),(300,400).", "missing_tags", [A])]),
    *rows("cogvlm", [
        ("[[100, 200, 300, 400]]", "form", [A]),
        ("[[1100,200,300,400]]", "", None),
    ]),
    *rows("llava", [
        ("The box is [0.10, 0.20, 0.30, 0.40].", "text_around", [A]),
        ("[.1, .2, .3, .4]", "form", [A]),
        ("[100, 200, 300, 400]", "", None),
    ]),
    *rows("paligemma", [
        ("cup <loc0256><loc0128><loc0768><loc0640> cup", "text_around", [[125, 250, 625, 750]]),
        ("<loc0256><loc0128><loc0768><loc0640>" * 9, "labels repeats", [[125, 250, 625, 750]]),
    ]),
    *rows("molmo", [("<point x='10' y='20' alt='cup'>cup</point>", "quotes", [[100, 200]])]),
    *rows("molmo2", [
        ("<points coords='1 1 100 200'>cup</points>", "quotes", [[100, 200]]),
        ('<points coords="1 1 １００ 200">cup</points>', "wide_characters", [[100, 200]]),
        ('<points coords="1 1 10 20">cup</points>', "", None),
        ('<points coords="1 1 100 2 300 400">cups</points>', "", None),
    ]),
    *rows("headsight", [
        ("[[100, 200, 300, 400]]", "form", [A]),
        ('{"box_2d": [100, 200, 300, 400]}', "", None),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "repairs", "places"), LENIENT)
def test_lenient(name: str, text: str, repairs: str, places: list[list[float]] | None) -> None:
    answer = DIALECTS[name].parse(text, WH, WH, mode="lenient")
    check(answer, places)
    if places is None:
        assert answer.failure is not None
    else:
        assert answer.repairs == tuple(repairs.split())
        assert not answer.strict
        strict = DIALECTS[name].parse(text, WH, WH)
        assert strict.repairs == ()
        assert strict.value is None or strict.failure is not None


def check(answer: NativeAnswer, places: list[list[float]] | None) -> None:
    if places is None:
        assert answer.value is None
        assert not answer.is_valid
        assert answer.labels == ()
        assert len(answer.item_spans) == 0
    else:
        wanted = np.array(places, dtype=float).reshape(len(places), -1 if places else 4)
        np.testing.assert_allclose(answer.value, wanted, atol=1e-6)
        assert answer.is_valid
        assert len(answer.labels) == len(places)


def test_labels_are_told() -> None:
    for name, text, labels in (
        ("florence2", "red cup<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8>dog<loc_0><loc_0><loc_9><loc_9>", ("red cup", "red cup", "dog")),
        ("ferret", "There is a cup [100, 200, 300, 400] and a dog [500, 600, 700, 800].", ("There is a cup", "and a dog")),
        ("paligemma", "<loc0001><loc0002><loc0003><loc0004> red cup ; <loc0001><loc0002><loc0003><loc0004>", ("red cup", None)),
        ("molmo", '<point x="10.0" y="20.5">cup</point>', ("cup",)),
        ("molmo2", '<points coords="1 1 100 200">the cup</points>', ("the cup",)),
        ("molmo2", '<points alt="cups" coords="1 1 100 200 2 300 400">the cups</points>', ("cups", "cups")),
        ("qwen3_vl", '[{"bbox_2d": [1, 2, 3, 4], "label": "a \\"b\\""}, {"label": 5, "bbox_2d": [1, 2, 3, 4]}]', ('a "b"', None)),
    ):  # fmt: skip
        assert DIALECTS[name].parse(text, WH, WH).labels == labels
    lenient = DIALECTS["qwen3_vl"].parse("[{'bbox_2d': [1, 2, 3, 4], 'label': 'x'}, {'label': 'y', 'bbox_2d': [5, 6, 7, 8]}]", WH, mode="lenient")  # fmt: skip
    assert lenient.labels == ("x", "y")


def test_what_was_dropped_is_told() -> None:
    answer = DIALECTS["internvl"].parse(
        "<box>[[100, 200, 300, 400], [9, 8, 7, 6], [1, 2, 3]]</box>", WH
    )
    assert answer.dropped == (("[9, 8, 7, 6]", "inverted"), ("[1, 2, 3]", "wrong_arity"))
    assert (answer.failure, answer.recovered) == (Failure.INVERTED, True)
    assert answer.flags == frozenset()
    assert (answer.to_dict()["failure"], answer.to_dict()["status"]) == ("inverted", "inverted")
    mixed = DIALECTS["qwen3_vl"].parse('[{"bbox_2d": [1, 2, 3, 4]}, {"point_2d": [1, 2]}]', WH)
    assert mixed.dropped == (("1, 2", "wrong_kind"),)


def test_a_cut_number_is_flagged() -> None:
    answer = DIALECTS["qwen3_vl"].parse('[{"bbox_2d": [100, 200, 300, 1040]}]', WH)
    assert answer.flags == {"edge"}
    assert answer.recovered


def test_mask_codes() -> None:
    codes = tuple(range(16))
    text = "<loc0256><loc0128><loc0768><loc0640>" + "".join(f"<seg{i:03d}>" for i in codes) + " cup"
    answer = DIALECTS["paligemma"].parse(text, WH)
    assert answer.codes == (codes,)
    assert answer.labels == ("cup",)
    for end in (len(text) - 10, len(text) - 20):  # cut within the codes: the box is whole
        cut = DIALECTS["paligemma"].parse(text[:end], WH)
        assert (cut.status, len(cut.value), cut.codes) == ("truncated", 1, ())


def test_outlines() -> None:
    square = "<loc_0><loc_0><loc_10><loc_0><loc_10><loc_20><loc_0><loc_20>"
    ask = DIALECTS["florence2"].prompt("cup", "segment")
    as_boxes = DIALECTS["florence2"].parse(square, WH)
    assert as_boxes.status == "degenerate"  # 0, 0, 10, 0 is no box
    answer = DIALECTS["florence2"].parse(square, WH, prompt=ask)
    (outlines,) = answer.polygons
    assert len(outlines) == 1
    np.testing.assert_allclose(outlines[0], [[0.5, 0.5], [10.5, 0.5], [10.5, 20.5], [0.5, 20.5]])
    np.testing.assert_allclose(answer.value, [[0.5, 0.5, 10.5, 20.5]])
    two = (
        "cup<poly>"
        + square
        + "<sep><loc_50><loc_50><loc_60><loc_50><loc_60><loc_60></poly>dog<poly>"
        + square
        + "</poly>"
    )
    answer = DIALECTS["florence2"].parse(two, WH)
    assert answer.labels == ("cup", "dog")
    assert [len(p) for p in answer.polygons] == [2, 1]
    np.testing.assert_allclose(answer.value, [[0.5, 0.5, 60.5, 60.5], [0.5, 0.5, 10.5, 20.5]])


def test_padding_is_cut_off() -> None:
    # 400 x 200 in a square of 400 with 100 px above and below
    parse = DIALECTS["llava"].parse
    np.testing.assert_allclose(
        parse("[0.00, 0.00, 0.50, 1.00]", (400, 200)).value, [[0, 0, 200, 200]]
    )
    assert (
        parse("[0.00, 0.00, 0.50, 0.20]", (400, 200)).status == "out_of_range"
    )  # above the picture
    # odd differences: the pad before the picture is rounded down, as the models' code does
    np.testing.assert_allclose(parse("[0.50, 0.50, 1.00, 1.00]", (3, 10)).value, [[2, 5, 3, 10]])


def test_the_region_that_was_seen_takes_the_place_of_the_padded_square() -> None:
    # 400 x 200, of which the middle 200 x 200 were seen: 100 px are cut off left and right
    seen = (100.0, 0.0, 300.0, 200.0)
    for name in ("llava", "shikra"):
        parse = DIALECTS[name].parse
        text = "[0.00, 0.25, 0.50, 1.00]"
        np.testing.assert_allclose(
            parse(text, (400, 200), region=seen).value, [[100, 50, 200, 200]]
        )
        padded = parse(text, (400, 200), region=(0.0, -100.0, 400.0, 300.0))
        np.testing.assert_array_equal(padded.value, parse(text, (400, 200)).value)
    same = DIALECTS["llava_unpadded"].parse("[0.00, 0.25, 0.50, 1.00]", (400, 200), region=seen)
    np.testing.assert_allclose(same.value, [[0, 50, 200, 200]])  # says what its shares are of


def test_the_question_is_passed_over() -> None:
    question = DIALECTS["cogvlm"].prompt("cup")
    echo = f"Is it in [[100,200,300,400]]? {question} [[500,600,700,800]]"
    answer = DIALECTS["cogvlm"].parse(echo, WH, prompt=f"Is it in [[100,200,300,400]]? {question}")
    np.testing.assert_allclose(answer.value, [B])
    assert answer.text == echo


def test_a_loop_is_told_and_unrolled() -> None:
    text = "[" + '{"bbox_2d": [100, 200, 300, 400], "label": "cup"}, ' * 20 + '{"bbox'
    strict = DIALECTS["qwen3_vl"].parse(text, WH)
    assert (strict.status, len(strict.value)) == ("repeat", 20)
    lenient = DIALECTS["qwen3_vl"].parse(text, WH, mode="lenient")
    assert lenient.repairs == ("repeats",)
    assert len(lenient.value) == 1


def test_an_answer_in_another_space_names_the_family() -> None:
    answer = DIALECTS["qwen3_vl"].parse(
        '[{"bbox_2d": [161, 120, 1483, 360]}]', (2000, 2000), (1960, 1960)
    )
    assert answer.status == "out_of_range"
    assert answer.families == ("qwen2_5_vl",)
