"""The words of our own examples name the right place in the photograph that we ship."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import headsight
from headsight.cli.main import root_help
from headsight.geometry.boxes import box_iou

ROOT = Path(__file__).parents[1]
SAMPLE = Path(headsight.__file__).parent / "samples" / "astronaut.jpg"
HEAD = (159.0, 23.0, 297.0, 179.0)
"""Of the only person, drawn around by hand."""
COMMAND = re.compile(r'headsight ground photo\.jpg "([^"]+)"(.*)')
CALL = re.compile(r'grounder\.ground\(\s*"photo\.jpg", "([^"]+)"(.*)')


def examples() -> list[tuple[str, bool]]:
    """Words that our own model is asked for, and whether its attention heads are."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("cli/*.py")]
    texts = [page.read_text("utf-8") for page in pages] + [root_help()]
    found = [m for text in texts for shape in (COMMAND, CALL) for m in shape.findall(text)]
    ours = {
        (words, "--method heads" in rest)
        for words, rest in found
        if not any(other in rest for other in ("--model", "--server", "--heads", "heads="))
    }
    return sorted(ours)


@pytest.fixture(scope="module")
def grounder() -> headsight.Grounder:
    return headsight.load()


def test_there_are_examples() -> None:
    assert {True, False} == {by_heads for _, by_heads in examples()}
    assert len(examples()) >= 3


@pytest.mark.parametrize(("words", "by_heads"), examples())
def test_the_words_name_the_person(
    grounder: headsight.Grounder, words: str, by_heads: bool
) -> None:
    from headsight.models.base import NANO

    found = grounder.ground(SAMPLE, words, heads=NANO / "heads.json" if by_heads else None)
    assert len(found) == 1
    assert box_iou(found.boxes, np.array([HEAD]))[0, 0] > 0.9


def test_the_box_of_the_examples_is_that_of_the_person() -> None:
    boxes = re.findall(r"pose photo\.jpg --box ([\d,]+)", (ROOT / "README.md").read_text("utf-8"))
    assert boxes
    assert [tuple(map(float, box.split(","))) for box in boxes] == [HEAD] * len(boxes)
