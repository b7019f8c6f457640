"""Measured tables in Markdown documents: what a figure with its spread looks like, and where."""

from __future__ import annotations

__all__ = ["fill_table", "mean_and_spread"]

from collections.abc import Sequence

import numpy as np

from headsight.errors import InputError


def fill_table(text: str, name: str, table: str) -> str:
    r"""`text` with `table` between the markers of `name`; unchanged without them.

    Example:
        >>> fill_table("<!-- headsight:table a -->old<!-- /headsight:table -->", "a", "| new |\n")
        '<!-- headsight:table a -->\n| new |\n<!-- /headsight:table -->'

    Raises:
        InputError: the table begins and does not end.
    """
    begin, end = f"<!-- headsight:table {name} -->", "<!-- /headsight:table -->"
    before, found, rest = text.partition(begin)
    if not found:
        return text
    _, is_closed, after = rest.partition(end)
    if not is_closed:
        raise InputError(f"The table {name!r} has no end. Put {end} behind it.")
    return f"{before}{begin}\n{table}{end}{after}"


def mean_and_spread(values: Sequence[float], *, digits: int = 1) -> str:
    """Mean, and of several values their standard deviation: `12.3 ± 0.4`; `-` of none."""
    if not len(values):
        return "-"
    shown = f"{np.mean(values):.{digits}f}"
    return shown + (f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else "")
