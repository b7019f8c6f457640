"""CogVLM, grounding checkpoints (arXiv:2311.03079): `[[086,540,400,760]]`.

Three digits in thousandths of the picture; several boxes of one phrase are parted by `;` within one
pair of brackets. Grounded captions put a box after each phrase.
"""

from __future__ import annotations

__all__ = ["COGVLM"]

import re

from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.space import Space
from headsight.language.dialects.tags import Tagged

COGVLM = NativeDialect(
    "cogvlm",
    Tagged(
        piece=re.compile(r"(?<!\[)\[\[(?P<body>[^\[\]]*)(?P<close>\]\])?(?P<label>)"),
        part=re.compile(r"[^;]+"),
        exact=re.compile(r"([0-9]{3}),([0-9]{3}),([0-9]{3}),([0-9]{3})"),
        template="[[{boxes}]]",
        box="{0},{1},{2},{3}",
        joint=";",
        is_bare=True,
    ),
    Space(highest=999, digits=3),
    {
        "refer": "Where is {words}? answer in [[x0,y0,x1,y1]] format.",
        "caption": "Can you provide a description of {words} and include the coordinates"
        " [[x0,y0,x1,y1]] for each mentioned object?",
    },
)
