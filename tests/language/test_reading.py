from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsight.language.codec import Answer, CodecSpec, Failure, parse
from headsight.language.spec import KINDS

BOXES, POSE, POINT, POINTS, COUNT = (
    CodecSpec(kind) for kind in ("boxes", "pose", "point", "points", "count")
)
F = Failure


def check(answer: Answer, failure: Failure | None, value: Any, *, recovered: bool) -> None:
    assert not answer.strict
    assert (answer.failure, answer.recovered) == (failure, recovered)
    if value is None:
        assert answer.value is None
    else:
        np.testing.assert_allclose(answer.value, value, atol=1e-9)


# The table of failures, row by row, then what lies around it.
TAXONOMY: list[tuple[CodecSpec, str, Failure | None, Any]] = [
    (POSE, "", F.EMPTY, None),
    (BOXES, " \n", F.EMPTY, None),
    (POSE, "I cannot tell", F.REFUSAL, None),
    (POINT, "0.25 and 0.38", F.NO_STRUCTURE, (0.25, 0.38)),
    (POSE, "[[012,350,090,100]]", F.WRONG_KIND, None),
    (POSE, "{[[012,350,090]]}", F.BLENDED, None),
    (POSE, "{315,007,000} [[012,034,090,100]]", F.BLENDED, (-45, 7, 0)),
    (POSE, "{315,7,0} [[012,034,090,100]]", F.BLENDED, None),
    (POSE, "{012,350}", F.WRONG_ARITY, None),
    (POINT, "[0.25]", F.WRONG_ARITY, None),
    (POINT, "[1.250,0.100]", F.OUT_OF_RANGE, None),
    (BOXES, "[[012,034,1200,078]]", F.OUT_OF_RANGE, None),
    (BOXES, "1200", F.OUT_OF_RANGE, None),
    (POINT, "[0.2534,0.38]", F.BAD_DIGITS, (0.2534, 0.38)),
    (POINT, "[0.253,0.38", F.TRUNCATED, (0.253, 0.38)),
    (POSE, "{315,007,000}{001,002,003} {004,005,006}", F.MULTIPLE, (-45, 7, 0)),
    (BOXES, "[[100,100,050,200]]", F.DEGENERATE, None),
    (POINTS, "[0.1,0.2];[0.1,0.2]", F.DEGENERATE, ((0.1, 0.2), (0.1, 0.2))),
    (POSE, "the " * 30, F.REPEAT, None),
    (POSE, "A head is seen here.", F.UNREADABLE, None),
    # points
    (POINT, "The nose is at 0.253,0.380 in 2015.", F.NO_STRUCTURE, (0.253, 0.38)),
    (POINT, ".5,.5", F.NO_STRUCTURE, (0.5, 0.5)),
    (POINT, "[1.000,0.500]", F.OUT_OF_RANGE, (0.999, 0.5)),
    (POINT, "(0.253, 0.380)", F.NO_STRUCTURE, (0.253, 0.38)),
    (POINT, "[ 0.253 , 0.380 ]", None, (0.253, 0.38)),
    (POINT, "[253,380]", F.BAD_DIGITS, (0.253, 0.38)),
    (POINT, "x: .25, y: .38", F.NO_STRUCTURE, (0.25, 0.38)),
    (POINT, "[0.25", F.TRUNCATED, None),
    (POINT, "[", F.TRUNCATED, None),
    (POINT, "[0.100,0.200];[0.300,0.400]", F.MULTIPLE, (0.1, 0.2)),
    (POINT, "[[0.250,0.380]]", F.NO_STRUCTURE, (0.25, 0.38)),
    (POINTS, "[[0.100,0.200],[0.300,0.400]]", F.NO_STRUCTURE, ((0.1, 0.2), (0.3, 0.4))),
    (
        POINTS,
        "[0.100,0.200];[0.3];[0.300,0.400]",
        F.WRONG_ARITY,
        ((0.1, 0.2), (np.nan,) * 2, (0.3, 0.4)),
    ),
    (POINT, "none", F.WRONG_KIND, None),
    (POINT, "{315,007,000}", F.WRONG_KIND, None),
    (POINT, "(1) 0.3", F.WRONG_ARITY, None),
    # poses
    (POSE, "{[[315,007,000]]}", F.BLENDED, None),
    (POSE, "[[315,007,000]]", F.BLENDED, None),
    (POSE, "{-45.4, 7.2, -0.4}", F.BAD_DIGITS, (-45.4, 7.2, -0.4)),
    (POSE, "{45°,7°,0°}", F.BAD_DIGITS, (45, 7, 0)),
    (POSE, "{400,000,000}", F.OUT_OF_RANGE, None),
    (POSE, "{360,000,000}", F.OUT_OF_RANGE, (0, 0, 0)),
    (POSE, "Pitch: 7.2°, yaw is -45.4°, roll = 0", F.UNREADABLE, None),
    (POSE, "pitch: 7.2, yaw: -45.4, roll: 0", F.NO_STRUCTURE, (-45.4, 7.2, 0)),
    (POSE, '{"yaw": -45.4, "pitch": 7.2, "roll": 0}', F.NO_STRUCTURE, (-45.4, 7.2, 0)),
    (POSE, "-45.4, 7.2 and 0", F.NO_STRUCTURE, (-45.4, 7.2, 0)),
    (POSE, "[315,007,000]", F.NO_STRUCTURE, (-45, 7, 0)),
    (POSE, "{315,007,00", F.TRUNCATED, None),
    (POSE, "{315,007,000", F.TRUNCATED, (-45, 7, 0)),
    (POSE, "{315,007", F.TRUNCATED, None),
    (POSE, "{３１５，００７，０００}", None, (-45, 7, 0)),  # noqa: RUF001
    (POSE, "315,007", F.WRONG_ARITY, None),
    (POSE, "17", F.WRONG_KIND, None),
    (POSE, "400 400 400", F.OUT_OF_RANGE, None),
    (POSE, "none", F.WRONG_KIND, None),
    (POSE, "[" * 200, F.REPEAT, None),
    # boxes
    (BOXES, "A head [[012,034,056,078]] and one [[112,134,156,178]].", None, None),
    (BOXES, "```json\n[[012,034,056,078]]\n```", None, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, "[[12, 34, 56, 78]]", F.BAD_DIGITS, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, "[[012,034,056,078],[112,134,156,178]]", F.NO_STRUCTURE, None),
    (BOXES, "[012,034,056,078]", F.NO_STRUCTURE, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, '{"bbox_2d": [012,034,056,078]}', F.NO_STRUCTURE, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, "[[0.012,0.034,0.056,0.078]]", F.BAD_DIGITS, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, "012 034 056 078", F.NO_STRUCTURE, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, "x0: 12, y0: 34, x1: 56, y1: 78", F.NO_STRUCTURE, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, "In 2015 the box was 12 34 56", F.UNREADABLE, None),
    (BOXES, "[[012,034,056,1000]]", F.OUT_OF_RANGE, ((0.012, 0.034, 0.056, 0.999),)),
    (BOXES, "[[012,034,056,-78]]", F.OUT_OF_RANGE, None),
    (BOXES, "[[012,034,056]]", F.WRONG_ARITY, None),
    (BOXES, "[[012,034,056,078;100,2", F.TRUNCATED, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, "[[012,034,056,078;112,134,156,17", F.TRUNCATED, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, "[[012,034,056,078]", F.TRUNCATED, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, "[[012,034,056,078;300,100,200,400]]", F.DEGENERATE, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, "[[012,034,056,078 [[112,134,156,178]]", F.NO_STRUCTURE, None),
    (BOXES, "[[" + "012,034,056,078;" * 20, F.REPEAT, ((0.012, 0.034, 0.056, 0.078),)),
    (BOXES, "{315,007,000}", F.WRONG_KIND, None),
    (BOXES, "{012,034,056,078}", F.BLENDED, None),
    (BOXES, "[0.250,0.380]", F.WRONG_KIND, None),
    (BOXES, "3 1 2 4", F.DEGENERATE, None),
    (BOXES, "1,1,1,1," * 20, F.REPEAT, None),
    (BOXES, "[a] (b) {c}", F.UNREADABLE, None),
    (BOXES, "None.", None, np.zeros((0, 4))),
    (BOXES, "[]", None, np.zeros((0, 4))),
    # counts
    (COUNT, "There are 3 heads", F.NO_STRUCTURE, 3),
    (COUNT, "3 of 12", F.MULTIPLE, 3),
    (COUNT, "3.0", F.BAD_DIGITS, 3),
    (COUNT, "3.5", F.BAD_DIGITS, None),
    (COUNT, "-3", F.OUT_OF_RANGE, None),
    (COUNT, "9" * 5000, F.REPEAT, None),
    (COUNT, "9" * 15, F.OUT_OF_RANGE, None),
    (COUNT, "{315,007,000}", F.WRONG_KIND, None),
    (COUNT, "none", F.WRONG_KIND, None),
    (COUNT, "I am unable to count", F.REFUSAL, None),
    (COUNT, "many", F.UNREADABLE, None),
    (COUNT, "1 2 " * 30, F.REPEAT, None),
]


@pytest.mark.parametrize(("spec", "text", "failure", "value"), TAXONOMY)
def test_taxonomy(spec: CodecSpec, text: str, failure: Failure | None, value: Any) -> None:
    answer = parse(text, spec)
    if value is None and answer.is_valid:  # several boxes: their values are checked below
        assert (answer.failure, answer.strict) == (failure, False)
    else:
        check(answer, failure, value, recovered=failure is not None and value is not None)


def test_the_table_holds_every_failure_of_our_own_grammar() -> None:
    of_native_formats = {F.INVERTED, F.NOT_A_NUMBER, F.NO_BOX, F.WRONG_FAMILY}
    assert {failure for _, _, failure, _ in TAXONOMY} - {None} == set(Failure) - of_native_formats


def test_kind_of_a_wrong_answer_is_named() -> None:
    assert parse("[[012,034,090,100]]", POSE).kind == "boxes"
    assert parse("{315,007,000}", BOXES).kind == "pose"
    assert parse("[0.250,0.380]", POSE).kind == "point"
    assert parse("17", POSE).kind == "count"
    assert parse("None", POSE).kind == "none"
    assert parse("{315,007,000}", BOXES).is_swapped


def test_every_complete_box_is_kept() -> None:
    for text in (
        "A head [[012,034,056,078]] and one [[112,134,156,178]].",
        "[[012,034,056,078],[112,134,156,178]]",
        "[[012,034,056,078 [[112,134,156,178]]",
        "[[012,034,056,078;1,2,3;112,134,156,178]]",
        "[[012,034,056,078;112,134,156,178;212,2",
        "[[012,034,056,078;2000,134,156,178;112,134,156,178]]",
        "[[012,034,056,078;1x2,034,056,078;112,134,156,178]]",
        "[[012,034,056,078;1}2,034,056,078;112,134,156,178]]",
        "[[012,034,056,078;1{2,034,056,078;112,134,156,178]]",
        "[[012,034,056,078;112,134,156,178;x500,034,056,078]]",
        "[[012,034,056,078;112,134,156,178;800,034,056,078 words",
    ):
        answer = parse(text, BOXES, image_wh=(1000, 1000))
        np.testing.assert_allclose(answer.value, ((12, 34, 56, 78), (112, 134, 156, 178)))
        assert [text[a:b].count(",") for a, b in answer.item_spans] == [3, 3]


def test_what_was_dropped_and_what_else_was_said_is_kept_beside() -> None:
    answer = parse("[[012,034,056,078;1,2,3]]", BOXES)
    assert answer.extras["dropped"] == [("1,2,3", "wrong_arity")]
    others = parse("{001,002,003} or {004,005,006}", POSE).extras["others"]
    np.testing.assert_array_equal(others, [(4, 5, 6)])
    assert parse("3 of 12", COUNT).extras["others"] == ["12"]


def test_flags() -> None:
    assert parse("[1.000,0.500]", POINT).flags == {"edge"}
    assert parse("{ 010,100,000 }", POSE).flags == {"gimbal"}
    assert parse("{010,090,000}", POSE).flags == frozenset()


def test_limit_inside_a_number() -> None:
    assert parse("[0.253,0.38", POINT, hit_limit=True).value is None
    assert parse("[0.253,0.380", POINT, hit_limit=True).recovered
    assert parse("17", COUNT, hit_limit=True).failure is Failure.TRUNCATED
    assert parse("17 heads", COUNT, hit_limit=True).value == 17


def test_repeated_question_is_passed_over() -> None:
    prompt = "What are the yaw, pitch and roll of the head inside the box [[312,104,388,205]]?"
    answer = parse(f"{prompt} {{315,007,000}}", POSE, prompt=prompt)
    assert answer.failure is None
    assert answer.text[slice(*answer.item_spans[0])] == "315,007,000"
    assert parse(f"{prompt} {{315,007,000}}", POSE).failure is Failure.BLENDED


def test_coinciding_points_are_exact_text_with_a_warning() -> None:
    answer = parse("[0.100,0.200];[0.100,0.200]", POINTS)
    assert (answer.strict, answer.failure, answer.is_valid) == (True, F.DEGENERATE, True)


def test_hidden_point_in_other_words() -> None:
    spec = CodecSpec("point", visibility="ask")
    answer = parse("None.", spec)
    assert (answer.value, answer.kind, answer.is_valid, answer.strict) == (
        None,
        "none",
        True,
        False,
    )


def test_summary_is_plain() -> None:
    assert parse("{012,350}", POSE).to_dict() == {
        "asked": "pose",
        "kind": None,
        "strict": False,
        "valid": False,
        "failure": "wrong_arity",
        "flags": [],
    }
    assert parse("12", COUNT).to_dict()["failure"] is None


# --- never raises, never slow -------------------------------------------------------------------


def is_sound(answer: Answer) -> bool:
    """A value or exactly one failure, and a recovered failure only with a value."""
    if answer.failure is None:
        return answer.value is not None and not answer.recovered
    if answer.recovered:
        return answer.value is not None and (not answer.strict or answer.failure is F.DEGENERATE)
    return answer.value is None and not answer.strict


def is_in_range(answer: Answer) -> bool:
    if answer.kind == "boxes" and answer.is_valid:
        boxes = answer.value
        inside = (boxes >= 0).all() and (boxes < 1).all()
        return bool(inside and (boxes[:, 2:] > boxes[:, :2]).all())
    if answer.kind == "pose" and answer.is_valid:
        return bool((np.abs(answer.value) <= 180).all())
    return True


FRAGMENTS = (
    *("[[", "]]", "[", "]", "{", "}", "(", ")", ",", ";", " ", "\n", ".", "-", "+", "```", "``"),
    *("0.253", "315", "000", "999", "1.000", "1200", "12", "1e5", "٣", "３", "²", "−1"),  # noqa: RUF001
    *("none", "yaw", "x0", "and", "sorry", "json", "012,034,056,078", "0." * 3, "nan", "inf"),
    *("\x00", "\ud800", "😀", "°", "x: 1", "yaw: 3 pitch: 4 roll: 5", "9" * 400, "\u2028"),
)


def test_fuzz_of_a_hundred_thousand_texts() -> None:
    generator = random.Random(0)
    specs = [CodecSpec(kind) for kind in KINDS] + [CodecSpec("points", visibility="ask")]
    for _ in range(100_000):
        parts = generator.choices(FRAGMENTS, k=generator.randint(0, 7))
        spec = generator.choice(specs)
        answer = parse("".join(parts), spec)
        hidden = answer.kind == "none" and spec.visibility == "ask"
        assert hidden or is_sound(answer), parts
        assert is_in_range(answer), parts


@given(st.text(), st.sampled_from(KINDS), st.booleans())
def test_any_text_is_read(text: str, kind: Any, hit_limit: bool) -> None:
    answer = parse(text, CodecSpec(kind), prompt=text[:3], hit_limit=hit_limit)
    assert is_sound(answer)
    assert 0 <= answer.span[0] <= answer.span[1] <= len(text)


@given(st.text(alphabet="0123456789,.;[]{} ", max_size=60))
def test_strict_is_exactly_the_grammar(text: str) -> None:
    import re

    edge = "[0-9]{3}"
    box = f"{edge},{edge},{edge},{edge}"
    answer = parse(text, BOXES)
    assert not answer.strict or re.fullmatch(rf"\[\[{box}(;{box})*\]\]", text.strip())


UNITS = (
    "[",
    "{",
    "(",
    "]",
    "[[",
    "1",
    "1,",
    "0.",
    "1 ",
    "-",
    " ",
    "a",
    "yaw:",
    "`",
    "```",
    "{1,",
    "and ",
)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", ["boxes", "pose"])
def test_time_is_linear(unit: str, kind: Any) -> None:
    """100 kB of brackets take < 0.1 s; anything else is linear, too (quadratic: minutes)."""
    is_bracket = unit in "[{([["
    length, limit = (100_000, 0.1) if is_bracket else (40_000, 2.0)
    text = "1" + (unit * length)[:length]
    assert any(_seconds(text, kind) < limit for _ in range(3))  # a busy machine gets three tries


def _seconds(text: str, kind: Any) -> float:
    start = time.process_time()
    parse(text, CodecSpec(kind))
    return time.process_time() - start
