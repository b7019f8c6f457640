"""How the answers of a family begin: what is said before the first number of a place."""

from __future__ import annotations

__all__ = ["opening"]

import re
from itertools import takewhile

import numpy as np

from headsight.language.dialects.dialect import Dialect

_WH = (1000, 1000)
_PLACES = ((111, 111, 444, 444), (777, 777, 888, 888))
_BEGUN = re.compile(r"(?:<[^<> ]*|[0-9.]+)$")
"""A tag or a number that the common start of two answers ends in."""


def opening(dialect: Dialect) -> str:
    """What every answer with one unnamed place begins with; "" where that is a number already.

    Example:
        >>> from headsight.language.dialects import DIALECTS
        >>> opening(DIALECTS["cogvlm"]), opening(DIALECTS["paligemma"])
        ('[[', '')
    """
    numbers = 2 if getattr(dialect, "kind", "boxes") == "points" else 4
    texts = [dialect.format(np.array([place[:numbers]]), _WH, _WH) for place in _PLACES]
    same = takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))
    return _BEGUN.sub("", "".join(a for a, _ in same))
