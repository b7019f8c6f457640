"""Tables in documents: they land between their markers, and only there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsight.errors import InputError
from headsight.eval.tables import fill_table, mean_and_spread

PLAIN = st.text(alphabet=st.characters(exclude_characters="<"))
PAGE = "# A\n<!-- headsight:table a -->\nold\n<!-- /headsight:table -->\nmore\n"


def test_the_old_table_gives_way() -> None:
    filled = fill_table(PAGE, "a", "| new |\n")
    assert filled == PAGE.replace("old", "| new |")
    assert fill_table(filled, "a", "| new |\n") == filled
    assert fill_table(PAGE, "b", "| new |\n") == PAGE


def test_a_table_without_end_is_refused() -> None:
    with pytest.raises(InputError, match="has no end"):
        fill_table("a <!-- headsight:table a --> b", "a", "| new |\n")


@given(PLAIN, PLAIN, PLAIN)
def test_text_around_the_markers_stays(before: str, table: str, after: str) -> None:
    begin, end = "<!-- headsight:table t -->", "<!-- /headsight:table -->"
    filled = fill_table(f"{before}{begin}x{end}{after}", "t", table)
    assert filled == f"{before}{begin}\n{table}{end}{after}"


def test_mean_and_spread() -> None:
    assert mean_and_spread([]) == "-"
    assert mean_and_spread([12.34]) == "12.3"
    assert mean_and_spread([1.0, 3.0]) == "2.0 ± 1.4"
    assert mean_and_spread([1.0, 3.0], digits=2) == "2.00 ± 1.41"
