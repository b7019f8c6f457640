"""GLM-4.1V, 4.5V and 4.6V: `<|begin_of_box|>[[250, 500, 750, 900]]<|end_of_box|>`, no label.

Whole thousandths of the picture. No trigger word: any question for a box will do. What is thought
(`<think>...</think>`) is passed over.
"""

from __future__ import annotations

__all__ = ["GLM4V"]

import re

from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.internvl import BRACKET, BRACKETED
from headsight.language.dialects.space import Space
from headsight.language.dialects.tags import Tagged

GLM4V = NativeDialect(
    "glm4v",
    Tagged(
        piece=re.compile(
            r"<\|begin_of_box\|>(?P<body>[^<>]*)(?P<close><\|end_of_box\|>)?(?P<label>)"
        ),
        part=BRACKET,
        exact=BRACKETED,
        template="<|begin_of_box|>[{boxes}]<|end_of_box|>",
        box="[{0}, {1}, {2}, {3}]",
        closing="<|end_of_box|>",
        joint=", ",
    ),
    Space(),
    {
        "refer": "Please give the bounding box of {words} in this image, as [[x1,y1,x2,y2]].",
        "detect": "Please give the bounding boxes of all instances of {words} in this image, as"
        " [[x1,y1,x2,y2], ...].",
    },
)
