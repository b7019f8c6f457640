"""Every rule of the lint: broken once, kept once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsight.language.schema import KeypointSchema, KeypointText
from headsight.language.schema_lint import has_side, lint_schema, mentioned, mirrored_text
from headsight.language.schema_template import copy_schema, schema_template

NAMES = ("left eye", "right eye", "nose", "left eye corner")
TEXTS = (
    "The owl's own left eye, above the nose and beside the right eye.",
    "The owl's own right eye, above the nose and beside the left eye.",
    "The beak in the middle of the face, below the left eye and the right eye.",
    "The outer end of the left lids, farther from the nose than the left eye.",
)


def owl(
    *texts: str, names: tuple[str, ...] = NAMES[:3], pairs: tuple[tuple[int, int], ...] = ((0, 1),)
) -> KeypointSchema:
    """Eyes and nose, the first texts replaced."""
    told = [*texts, *TEXTS[len(texts) : len(names)]]
    points = tuple(KeypointText(*both) for both in zip(names, told, strict=True))
    return KeypointSchema("owl", points, pairs, ((0, 2), (1, 2)))


def said(schema: KeypointSchema) -> list[str]:
    return [f"{problem.where}: {problem.said}" for problem in lint_schema(schema)]


def test_a_good_schema_has_no_problem() -> None:
    assert said(owl()) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "still to be written"),
        ("TODO: above the nose.", "still to be written"),
        ("Above the nose ...", "still to be written"),
        ("Above the nose.", "3 words; expected 5 to 62"),
        ("The left eye above the nose" + " and so on" * 20, "66 words; expected 5 to 62"),
        ("The round thing that an owl sees with.", "no place beside another keypoint"),
        ("The left eye is above the beak here.", "no place beside another keypoint"),
        ("A thing like the nose, but it sees.", "no place beside another keypoint"),
        ("A round thing like the right eye is.", "no place beside another keypoint"),
        ("The eye on the left side of the image, above the nose.", "is the viewer's side"),
        ("The eye above the nose, on the viewer's right.", "is the viewer's side"),
        ("The eye above the nose, on your left.", "is the viewer's side"),
        ("As seen from the front, left of and above the nose.", "is the viewer's side"),
        (
            "The eye on the right of the face, above the nose.",
            "says left, the description says right",
        ),
    ],
)
def test_a_bad_description(text: str, problem: str) -> None:
    problems = said(owl(text))
    assert len(problems) >= 1
    assert problem in problems[0]
    assert problems[0].startswith("left eye: ")


def test_other_points_may_lie_on_the_other_side() -> None:
    assert (
        said(owl("The left eye, across the upright nose from the right eye, bright as light."))
        == []
    )


def test_the_longest_name_counts() -> None:
    schema = owl("Next to the left eye corner of the owl.", names=NAMES, pairs=((0, 1),))
    assert mentioned(schema, 0) == {3}
    assert mentioned(schema, 3) == {0, 2}


@pytest.mark.parametrize(
    "words", ["both eyes", "the left and right eyes", "the Right and Left Eyes"]
)
def test_a_pair_may_be_named_at_once(words: str) -> None:
    schema = owl(*TEXTS[:2], f"The beak, in the middle below {words} of the owl.")
    assert mentioned(schema, 2) == {0, 1}
    assert said(schema) == []


def test_one_point_alone_needs_no_other() -> None:
    dot = KeypointSchema("dot", (KeypointText("dot", "The only black dot on this die."),))
    assert said(dot) == []


def test_the_same_description_twice() -> None:
    text = "An eye above the nose, beside the other eye."
    problems = said(owl(text, text))
    assert [p.partition(":")[0] for p in problems] == ["left eye", "right eye"]
    assert all("2 keypoints have this very description" in p for p in problems)


def test_names_that_are_hard_to_tell_apart() -> None:
    problems = said(owl(names=("left eye", "Left_Eye", "nose"), pairs=()))
    assert (
        "Left_Eye: Hard to tell from 'left eye': only case or marks differ. Rename one." in problems
    )


@pytest.mark.parametrize("name", ["  ", "two\nlines", "n" * 61])
def test_what_is_no_name(name: str) -> None:
    problems = said(owl(names=("left eye", "right eye", name)))
    assert any("This is no name; expected a few words" in p for p in problems)


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        ((), "left eye: In no pair of left_right_pairs. Add the pair ['left eye', 'right eye']"),
        (((0, 2),), "'left eye' is paired with 'nose', which is not its other side"),
        (((0, 1), (2, 2)), "'nose' is paired with itself"),
        (((0, 1), (1, 0)), "'left eye' is in 2 pairs; expected one"),
    ],
)
def test_bad_pairs(pairs: tuple[tuple[int, int], ...], problem: str) -> None:
    assert any(problem in p for p in said(owl(pairs=pairs)))


def test_a_side_without_its_other_side() -> None:
    problems = said(owl(*TEXTS, names=NAMES))
    assert problems == [
        "left eye corner: In no pair of left_right_pairs. There is no keypoint 'right eye corner'"
        " to pair it with. Add it, or rename this one."
    ]


def test_points_without_sides_may_be_paired() -> None:
    wheels = KeypointSchema(
        "cart",
        (
            KeypointText("first wheel", "The wheel on one end, opposite the second wheel."),
            KeypointText("second wheel", "The wheel on the other end, opposite the first wheel."),
        ),
        ((0, 1),),
    )
    assert said(wheels) == []


def test_names_that_are_nothing_but_a_side() -> None:
    ends = (
        KeypointText("left", "The end of the pole opposite the right."),
        KeypointText("right", "The end of the pole opposite the left."),
    )
    assert said(KeypointSchema("pole", ends, ((0, 1),))) == []


@pytest.mark.parametrize(
    ("edges", "problem"),
    [
        (((2, 2),), "skeleton: 'nose' is joined with itself"),
        (((0, 1), (1, 0)), "skeleton: The edge ['right eye', 'left eye'] is there twice"),
    ],
)
def test_bad_edges(edges: tuple[tuple[int, int], ...], problem: str) -> None:
    assert [p for p in said(replace(owl(), skeleton=edges)) if problem in p] != []


@given(st.text())
def test_mirrored_twice_is_the_same(text: str) -> None:
    assert mirrored_text(mirrored_text(text)) == text


def test_only_whole_words_are_mirrored() -> None:
    assert mirrored_text("left_eye, leftover, upright") == "right_eye, leftover, upright"
    assert [has_side(n) for n in ("left_eye", "upright", "left of right")] == [True, False, False]


def test_a_template_lacks_only_its_descriptions() -> None:
    made = schema_template("mug-4", ["left rim", " right rim", "", "base"], categories=("mug",))
    assert made.names == ("left rim", "right rim", "base")
    assert made.left_right_pairs == ((0, 1),)
    assert made.categories == ("mug",)
    assert all("still to be written" in p.said for p in lint_schema(made))
    assert len(lint_schema(made)) == 3
    assert len(schema_template("dot-1", ["dot"])) == 1


def test_a_copy_is_another_schema() -> None:
    made = copy_schema(replace(owl(), mp100=(3,), source="a book"), "my-owl")
    assert (made.name, made.categories, made.mp100, made.source) == ("my-owl", ("my-owl",), (), "")
    assert made.keypoints == owl().keypoints


def test_a_schema_needs_a_name() -> None:
    for make in (lambda: schema_template(" ", ["dot"]), lambda: copy_schema(owl(), "")):
        with pytest.raises(ValueError, match=r"has no name\. Give a short one"):
            make()
