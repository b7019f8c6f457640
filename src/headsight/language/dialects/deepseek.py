"""DeepSeek-VL2: `<|ref|>cup<|/ref|><|det|>[[250, 500, 750, 900]]<|/det|>`, 999 at the far border.

DeepSeek-VL 1 writes no boxes worth reading (1.5 Acc@0.5 on RefCOCOg): use its heads instead.
"""

from __future__ import annotations

__all__ = ["DEEPSEEK_VL2"]

import re

from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.exact import Exact
from headsight.language.dialects.internvl import BRACKET, BRACKETED
from headsight.language.dialects.space import Space
from headsight.language.dialects.tags import Tagged

_REF = r"<\|ref\|>([^<>]{1,400})<\|/ref\|>"

DEEPSEEK_VL2 = NativeDialect(
    "deepseek_vl2",
    Tagged(
        piece=re.compile(
            r"(?:<\|ref\|>(?P<label>[^<>]{0,400})<\|/ref\|>)?"
            r"<\|det\|>(?P<body>[^<>]*)(?P<close><\|/det\|>)?"
        ),
        part=BRACKET,
        exact=BRACKETED,
        template="{label}<|det|>[{boxes}]<|/det|>",
        box="[{0}, {1}, {2}, {3}]",
        closing="<|/det|>",
        joint=", ",
        labelled="<|ref|>{0}<|/ref|>",
    ),
    Space(divisor=999),
    {
        "refer": "<|ref|>{words}<|/ref|>.",
        "detect": "<|ref|>{words}<|/ref|>.",
        "caption": "<|grounding|>{words}",
    },
    Exact(
        re.compile(rf"\s*(?:{_REF})?<\|det\|>\[\[(?=[0-9])"),
        re.compile(rf"\](?:, \[|\]<\|/det\|>(?:\s*{_REF}<\|det\|>\[\[|\s*\Z))"),
        is_label_first=True,
    ),
)
