"""MiniGPT-v2 and MiniCPM-V; both formats are from memory, not from a checked source.

MiniGPT-v2   <p>cup</p> {<25><50><75><90>}      hundredths of the picture
MiniCPM-V    <ref>cup</ref><box>250 500 750 900</box>      thousandths of the picture
"""

from __future__ import annotations

__all__ = ["MINICPM_V", "MINIGPT_V2"]

import re

from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.space import Space
from headsight.language.dialects.tags import Tagged

_WHOLE = re.compile(r"[\s\S]+")
_NOTE = "the format is from memory"

MINIGPT_V2 = NativeDialect(
    "minigpt_v2",
    Tagged(
        piece=re.compile(
            r"(?:<p>(?P<label>[^<>]{0,400})</p>\s?)?\{(?P<body><[^{}]*)(?P<close>\})?"
        ),
        part=_WHOLE,
        exact=re.compile(r"<([0-9]{1,3})><([0-9]{1,3})><([0-9]{1,3})><([0-9]{1,3})>"),
        template="{label}{{boxes}}",
        box="<{0}><{1}><{2}><{3}>",
        labelled="<p>{0}</p> ",
        between=" ",
        forbidden="<>{}",
    ),
    Space(divisor=100),
    {"refer": "[refer] {words}", "detect": "[detection] {words}"},
    note=_NOTE,
)
MINICPM_V = NativeDialect(
    "minicpm_v",
    Tagged(
        piece=re.compile(
            r"(?:<ref>(?P<label>[^<>]{0,400})</ref>)?<box>(?P<body>[^<>]*)(?P<close></box>)?"
        ),
        part=_WHOLE,
        exact=re.compile(r"([0-9]{1,4}) ([0-9]{1,4}) ([0-9]{1,4}) ([0-9]{1,4})"),
        template="{label}<box>{boxes}</box>",
        box="{0} {1} {2} {3}",
        closing="</box>",
        labelled="<ref>{0}</ref>",
    ),
    Space(),
    {"refer": "Please provide the bounding box of {words}."},
    note=_NOTE,
)
