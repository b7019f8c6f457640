"""InternVL 1.2 to 3.5: `<ref>cup</ref><box>[[250, 500, 750, 900]]</box>`.

Whole thousandths of the picture, written by rounding down.
"""

from __future__ import annotations

__all__ = ["BRACKET", "BRACKETED", "INTERNVL"]

import re

from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.exact import Exact
from headsight.language.dialects.space import Space
from headsight.language.dialects.tags import Tagged

BRACKET = re.compile(r"\[[^\[\]]+(?P<end>\])?")
"""One box of `[[...], [...]]`."""
BRACKETED = re.compile(
    r"\[\s{0,9}([0-9]{1,4})\s{0,9},\s{0,9}([0-9]{1,4})\s{0,9},"
    r"\s{0,9}([0-9]{1,4})\s{0,9},\s{0,9}([0-9]{1,4})\s{0,9}\]"
)
"""The same as it should be, with its four numbers."""

INTERNVL = NativeDialect(
    "internvl",
    Tagged(
        piece=re.compile(
            r"(?:<ref>(?P<label>[^<>]{0,400})</ref>)?<box>(?P<body>[^<>]*)(?P<close></box>)?"
        ),
        part=BRACKET,
        exact=BRACKETED,
        template="{label}<box>[{boxes}]</box>",
        box="[{0}, {1}, {2}, {3}]",
        closing="</box>",
        joint=", ",
        labelled="<ref>{0}</ref>",
        between="\n",
    ),
    Space(rounding="floor"),
    {
        "refer": "Please provide the bounding box coordinate of the region this sentence"
        " describes: <ref>{words}</ref>"
    },
    Exact(
        re.compile(r"\s*(?:<ref>([^<>]{1,400})</ref>)?<box>\[\[(?=[0-9])"),
        re.compile(r"\](?:, \[|\]</box>(?:\s*<ref>([^<>]{1,400})</ref><box>\[\[|\s*\Z))"),
        is_label_first=True,
    ),
)
