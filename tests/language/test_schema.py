"""Keypoint schemas as values and as JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsight.errors import AnnotationError
from headsight.language.schema import KeypointSchema, KeypointText

EYES = KeypointSchema(
    "eyes-3",
    (
        KeypointText("left eye", "Beside the right eye, above the nose."),
        KeypointText("right eye", "Beside the left eye, above the nose."),
        KeypointText("nose", "Below the left eye and the right eye."),
    ),
    left_right_pairs=((0, 1),),
    skeleton=((0, 2), (2, 1)),
    categories=("owl",),
    mp100=(7,),
    source="nowhere",
)


def plain(**changes: Any) -> dict[str, Any]:
    return {**EYES.to_dict(), **changes}


def test_written_and_read_again() -> None:
    written = EYES.to_dict()
    assert written["left_right_pairs"] == [["left eye", "right eye"]]
    assert written["skeleton"] == [["left eye", "nose"], ["nose", "right eye"]]
    assert KeypointSchema.from_dict(written) == EYES


def test_what_is_empty_is_not_written() -> None:
    bare = KeypointSchema("dot-1", (KeypointText("dot", "The only dot there is."),))
    written = bare.to_dict()
    assert "mp100" not in written
    assert "source" not in written
    assert KeypointSchema.from_dict(written) == bare
    assert KeypointSchema.from_dict({"name": "dot-1", "keypoints": written["keypoints"]}) == bare


NAMES = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6, unique=True)


@given(names=NAMES, data=st.data())
def test_any_schema_survives_json(names: list[str], data: st.DataObject) -> None:
    index = st.integers(0, len(names) - 1)
    pairs = tuple(data.draw(st.lists(st.tuples(index, index), max_size=4)))
    points = tuple(KeypointText(name, f"about {name}") for name in names)
    schema = KeypointSchema("any", points, pairs, pairs[::-1])
    assert KeypointSchema.from_dict(schema.to_dict()) == schema


def test_vague_keeps_all_but_the_descriptions() -> None:
    vague = EYES.vague()
    assert [p.description for p in vague.keypoints] == [
        "The left eye.",
        "The right eye.",
        "The nose.",
    ]
    assert vague.names == EYES.names
    assert (vague.left_right_pairs, vague.skeleton) == (EYES.left_right_pairs, EYES.skeleton)


def test_no_points() -> None:
    with pytest.raises(AnnotationError, match=r"'none' has no keypoints. Give at least one"):
        KeypointSchema("none", ())


def test_a_name_twice_tells_both_places() -> None:
    wheel = KeypointText("wheel", "Round.")
    with pytest.raises(AnnotationError, match=r"'wheel' twice \(number 0 and 2, from 0\)"):
        KeypointSchema("car", (wheel, KeypointText("lamp", "Bright."), wheel))


def test_an_index_beyond_the_points() -> None:
    with pytest.raises(AnnotationError, match=r"skeleton holds \[0, 1\], but .* numbered 0 to 0"):
        KeypointSchema("dot", (KeypointText("dot", "Alone."),), skeleton=((0, 1),))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["left eye"], "a list. Expected a JSON object"),
        (plain(skelton=[]), "nothing is known by 'skelton'. Did you mean skeleton?"),
        ({"name": "eyes"}, "KeyError 'keypoints'"),
        (plain(keypoints=["left eye"]), "Expected name and keypoints"),
        (plain(keypoints=[{"name": "left eye"}]), "KeyError 'description'"),
        (plain(keypoints=[{"name": 3, "description": "Three."}]), "3 where a text is expected"),
        (plain(name=None), "None where a text is expected"),
        (plain(categories="owl"), "'owl' where a list is expected"),
        (plain(mp100=["owl"]), "ValueError"),
        (plain(skeleton=[["nose"]]), "ValueError"),
        (plain(skeleton=[["nose", "left ear"]]), "'left ear', which is no keypoint .*'left eye'"),
        (plain(left_right_pairs=[["left eye", 1]]), "names 1, which is no keypoint"),
        (plain(left_right_pairs=[[["left eye"], "nose"]]), "TypeError"),
    ],
)
def test_what_is_no_schema(values: Any, said: str) -> None:
    with pytest.raises(AnnotationError, match=said):
        KeypointSchema.from_dict(values)
