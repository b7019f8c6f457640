"""How answers begin: the same for every box, and nothing of a number in it."""

from __future__ import annotations

import numpy as np
import pytest

from headsight.language.dialects import DIALECTS
from headsight.language.dialects.opening import opening

KNOWN = {
    "headsight": "[[",
    "cogvlm": "[[",
    "qwen2_vl": "<|box_start|>(",
    "qwen2_5_vl": '```json\n[{"bbox_2d": [',
    "internvl": "<box>[[",
    "llava": "[",
    "kosmos2": "<object>",
    "paligemma": "",  # <loc0123> is one token
}


def test_known_openings() -> None:
    assert {name: opening(DIALECTS[name]) for name in KNOWN} == KNOWN


@pytest.mark.parametrize("name", DIALECTS)
def test_every_answer_begins_so(name: str) -> None:
    dialect, rng = DIALECTS[name], np.random.default_rng(0)
    begun = opening(dialect)
    numbers = 2 if getattr(dialect, "kind", "boxes") == "points" else 4
    for _ in range(20):
        low, high = rng.uniform(0, 300, 2), rng.uniform(310, 640, 2)
        places = np.array([[*low, *high][:numbers]])
        text = dialect.format(places, (640, 640), (640, 640))
        assert text.startswith(begun)
        rest = text[len(begun) :]
        assert rest[0].isdigit() or rest[0] == "<"  # a number, or the token of one
