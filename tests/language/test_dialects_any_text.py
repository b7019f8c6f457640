"""Any text at all, for every dialect: long, cut, spoilt or made up; none raises, none takes long."""

# ruff: noqa: RUF001

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headsight.language.dialects import DIALECTS, NativeAnswer
from headsight.language.dialects.dialect import MODES, NativeDialect

WH = (640, 480)
SEEN = (644, 476)
KEYS = list(DIALECTS)
POINTERS = ("molmo", "molmo2")
EXACT = [k for k in KEYS if getattr(DIALECTS[k], "exact", None)]
"""Read in two ways: one for what is well-formed, and a tolerant one."""


def read(name: str, text: str, **options: Any) -> NativeAnswer:
    return DIALECTS[name].parse(text, WH, SEEN, **options)


def sample(name: str) -> str:
    """One place, well written."""
    box = np.array([[160.0, 240, 480, 432]])
    return DIALECTS[name].format(box[:, :2] if name in POINTERS else box, WH, SEEN)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_both_ways_of_reading_agree(
    random_boxes: Callable[..., Any], name: str, count: int
) -> None:
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


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=15)
@given(data=st.data())
def test_both_ways_of_reading_agree_on_spoilt_texts(
    random_boxes: Callable[..., Any], name: str, data: st.DataObject
) -> None:
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
                [sample(name) for name in KEYS]
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
def test_complete_boxes_of_a_cut_text_are_kept(random_boxes: Callable[..., Any], name: str) -> None:
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
