"""Qwen-VL and Qwen2-VL: corners in thousandths of the picture, between special tokens.

    <ref>cup</ref><box>(250,500),(750,900)</box>
    <|object_ref_start|>cup<|object_ref_end|><|box_start|>(250,500),(750,900)<|box_end|>

Qwen-VL's question ends in `<box>`, so that its answer begins behind it. Qwen2-VL also answers with
the bare corners, which are read where they are all there is.
"""

from __future__ import annotations

__all__ = ["QWEN2_VL", "QWEN_VL"]

import re

from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.space import Space
from headsight.language.dialects.tags import Tagged

_CORNERS = r"\(([0-9]{1,4}),([0-9]{1,4})\),\(([0-9]{1,4}),([0-9]{1,4})\)"
_BOX = "({0},{1}),({2},{3})"
_WHOLE = re.compile(r"[\s\S]+")
_THOUSANDTHS = Space()

QWEN_VL = NativeDialect(
    "qwen_vl",
    Tagged(
        piece=re.compile(
            r"(?:<ref>(?P<label>[^<>]{0,400})</ref>)?(?:<box>|\A\s*(?=\([0-9(), ]*(?:<|\Z)))"
            r"(?P<body>[^<>]*)(?P<close></box>)?"
        ),
        part=_WHOLE,
        exact=re.compile(_CORNERS),
        template="{label}<box>{boxes}</box>",
        box=_BOX,
        closing="</box>",
        labelled="<ref>{0}</ref>",
    ),
    _THOUSANDTHS,
    {"refer": "<ref>{words}</ref><box>"},
)
QWEN2_VL = NativeDialect(
    "qwen2_vl",
    Tagged(
        piece=re.compile(
            r"(?:<\|object_ref_start\|>(?P<label>[^<>]{0,400})<\|object_ref_end\|>)?"
            r"(?:<\|box_start\|>|(?P<bare>\A\s*)(?=\([0-9(),\s]*\Z))"
            r"(?P<body>[^<>\s]*+(?:\s++[^<>\s]++)*+)"
            r"(?P<close>(?(bare)(?<=\))\s*\Z|\s*<\|box_end\|>))?"
        ),
        part=_WHOLE,
        exact=re.compile(_CORNERS),
        template="{label}<|box_start|>{boxes}<|box_end|>",
        box=_BOX,
        closing="<|box_end|>",
        labelled="<|object_ref_start|>{0}<|object_ref_end|>",
    ),
    _THOUSANDTHS,
    {
        "refer": "Please provide the bounding box coordinate of the region this sentence"
        " describes: {words}"
    },
)
