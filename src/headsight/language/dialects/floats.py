"""Families that write bare numbers in one pair of brackets: Shikra, LLaVA and Ferret.

    Shikra   Answer: [0.250,0.250,0.500,0.500] .   fractions of the picture **padded to a square**
    LLaVA    [0.25, 0.25, 0.50, 0.50]              the same (the makers say so, users dispute it:
             `llava_unpadded` reads fractions of the picture itself); where it is known what the
             model saw, such as a crop, `region` tells it
    Ferret   the cup [250, 250, 500, 500]          thousandths of the picture, label before the box

Shikra and LLaVA cannot be told apart by their text: the name of the family decides.
"""

from __future__ import annotations

__all__ = ["FERRET", "LLAVA", "LLAVA_UNPADDED", "SHIKRA"]

import re

from headsight.language.dialects.dialect import NativeDialect
from headsight.language.dialects.space import Space
from headsight.language.dialects.tags import Tagged

_PIECE = r"(?<!\[)\[(?P<body>[^\[\]]*)(?P<close>\])?(?!\])"
_FRACTION = r"([01]\.[0-9]{1,6})"
_FRACTIONS = re.compile(r"\s?" + r"\s?,\s?".join([_FRACTION] * 4) + r"\s?")
_LIST = re.compile(r"[^;]+")
_ANY = re.compile(r"[\s\S]+")
_REGION = (
    "Please provide the bounding box coordinate of the region this sentence describes: {words}"
)

SHIKRA = NativeDialect(
    "shikra",
    Tagged(
        piece=re.compile(_PIECE),
        part=_LIST,
        exact=_FRACTIONS,
        template="Answer: [{boxes}] .",
        box="{0},{1},{2},{3}",
        joint=";",
        is_bare=True,
    ),
    Space(divisor=1, is_padded=True, decimals=3),
    {
        "refer": "Can you point out {words} in the image and provide the coordinates of its"
        " location?"
    },
)
LLAVA = NativeDialect(
    "llava",
    Tagged(
        piece=re.compile(_PIECE),
        part=_ANY,
        exact=_FRACTIONS,
        template="[{boxes}]",
        box="{0}, {1}, {2}, {3}",
        between="\n",
        has_prose=False,
        is_bare=True,
    ),
    Space(divisor=1, is_padded=True, decimals=2),
    {"refer": _REGION},
    note="the makers say that the picture is padded; users dispute it (see llava_unpadded)",
)
LLAVA_UNPADDED = NativeDialect(
    "llava_unpadded",
    LLAVA.scanner,
    Space(divisor=1, decimals=2),
    {"refer": _REGION},
    note="the makers say that the picture is padded (see llava)",
)
FERRET = NativeDialect(
    "ferret",
    Tagged(
        piece=re.compile(_PIECE),
        part=_ANY,
        exact=re.compile(r"\s?" + r"\s?,\s?".join([r"([0-9]{1,4})"] * 4) + r"\s?"),
        template="{label}[{boxes}]",
        box="{0}, {1}, {2}, {3}",
        labelled="{0} ",
        between=" ",
        is_bare=True,
        is_label_before=True,
        forbidden="<>[]{}",
    ),
    Space(),
    {"refer": "Where is {words}?"},
)
