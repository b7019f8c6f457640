"""The strict grammar as compiled expressions, and the pieces that the tolerant reader looks for.

Every expression here runs in time linear in the text: none can start a second attempt
inside what a first one consumed.
"""

from __future__ import annotations

__all__ = ["ANGLE", "GROUP", "NUMBER", "brackets", "delimited_box", "strict_pattern"]

import re
from functools import cache

from headsight.language.spec import Kind

ANGLE = "(?:[0-2][0-9]{2}|3[0-5][0-9])"
"""One angle: 000 to 359."""

NUMBER = re.compile(r"(?<![A-Za-z0-9_.])[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?![A-Za-z0-9_])")
"""A number that is not part of a word."""

GROUP = re.compile(r"(?P<open>[\[({]+)(?P<body>[^\[\](){}]*)(?P<close>[\])}]*)")
"""Opening brackets, what stands inside, closing brackets as far as there are any."""


@cache
def delimited_box(digits: int) -> re.Pattern[str]:
    """One strict box between the marks that part boxes, whatever surrounds it."""
    return re.compile(r"(?<=[\[;])" + ",".join([f"[0-9]{{{digits}}}"] * 4) + r"(?=[;\]])")


def brackets(kind: Kind) -> tuple[str, str]:
    """What opens and closes an answer of `kind`."""
    return {"boxes": ("[[", "]]"), "pose": ("{", "}"), "count": ("", "")}.get(kind, ("[", "]"))


@cache
def strict_pattern(kind: Kind, digits: int) -> re.Pattern[str]:
    """The whole grammar of one kind, without `none`."""
    edge, fraction = f"[0-9]{{{digits}}}", f"0\\.[0-9]{{{digits}}}"
    box = ",".join([edge] * 4)
    point = rf"\[{fraction},{fraction}\]"
    return re.compile(
        {
            "boxes": rf"\[\[{box}(?:;{box})*\]\]",
            "pose": rf"\{{{ANGLE},{ANGLE},{ANGLE}\}}",
            "point": point,
            "points": f"{point}(?:;{point})*",
            "count": "[0-9]{1,7}",
        }[kind]
    )
