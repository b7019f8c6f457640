"""Questions and strict answers about a labelled picture: heads, poses, referring expressions.

Expressions are made from what the labels say (colours, hats, glasses, side, size, order, gaze), so
a picture whose labels are silent about clothes yields no question about clothes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headsight.geometry.rotations import matrix_to_ypr
from headsight.language import prompts
from headsight.language.codec import encode
from headsight.language.spec import CodecSpec

__all__ = ["COLORS", "Question", "Subject", "ask", "expressions"]

_BOXES = CodecSpec("boxes")
_POSE = CodecSpec("pose")


@dataclass(frozen=True)
class Subject:
    """One head that may be asked about; `box` is relative to the picture, xyxy in [0, 1]."""

    box: NDArray[np.float64]
    rotation: NDArray[np.float64]
    """(3, 3); NaN where unknown."""
    pose_weight: float
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """A prompt and the strict answer."""

    prompt: str
    answer: str
    kind: str
    """`boxes`, `pose` or `text`."""
    weight: float = 1.0
    """Weight of the answer in the loss."""


def ask(
    subjects: Sequence[Subject],
    rng: np.random.Generator,
    *,
    is_complete: bool,
    poses: int = 3,
    refers: int = 2,
    jitter: float = 0.05,
) -> list[Question]:
    """Questions about one picture.

    Args:
        subjects: the heads that can be seen.
        rng: source of every choice.
        is_complete: every head of the picture is among the subjects (photographs labelled only for
            hard hats are not complete: "every head" may not be asked of them).
        poses: most pose questions.
        refers: most referring questions.
        jitter: largest shift of an asked box's edges, as a share of its side (HPE-CogVLM,
            arXiv:2406.01914).
    """
    result = []
    if is_complete:
        result.append(Question(prompts.head_boxes(_paraphrase(rng)), _boxes(subjects), "boxes"))
    hats = [s for s in subjects if s.attributes.get("hard_hat")]
    if all("hard_hat" in s.attributes for s in subjects):
        phrase = str(rng.choice(_HARD_HATS)) if rng.random() < 0.5 else _HARD_HATS[0]
        result.append(Question(_refer(phrase, rng), _boxes(hats), "boxes"))
    posed = [s for s in subjects if s.pose_weight > 0 and np.isfinite(s.rotation).all()]
    result += [
        _pose_question(posed[index], rng, jitter) for index in rng.permutation(len(posed))[:poses]
    ]
    if is_complete and subjects:
        for phrase, chosen in _drawn(subjects, refers, rng):
            result.append(Question(_refer(phrase, rng), _boxes(chosen), "boxes"))
    return result


def expressions(subjects: Sequence[Subject]) -> list[tuple[str, list[Subject]]]:
    """Every expression of our grammar that fits the picture, with what (if any) it refers to."""
    return _by_trait(subjects) + _by_place(subjects) + _by_size(subjects)


def _drawn(
    subjects: Sequence[Subject], number: int, rng: np.random.Generator
) -> list[tuple[str, list[Subject]]]:
    """Different expressions, half of them by traits: these are harder to learn than places."""
    traits, rest = _by_trait(subjects), _by_place(subjects) + _by_size(subjects)
    share = np.concatenate([np.full(len(part), 1 / max(len(part), 1)) for part in (traits, rest)])
    order = rng.choice(len(share), min(number, len(share)), replace=False, p=share / share.sum())
    return [(traits + rest)[index] for index in order]


def _by_trait(subjects: Sequence[Subject]) -> list[tuple[str, list[Subject]]]:
    result: list[tuple[str, list[Subject]]] = []
    for phrases, test in _TRAITS:
        known = [test(s) for s in subjects]
        if any(k is None for k in known):
            continue
        chosen = [s for s, k in zip(subjects, known, strict=True) if k]
        # a trait nobody has is asked now and then only, so that "none" stays an exception
        if chosen or _is_asked(phrases[0], subjects):
            form = phrases[len(chosen) > 1] if len(phrases) > 1 else phrases[0]
            result.append((form, chosen))
    return result


_HARD_HATS = (
    prompts.HARD_HATS,
    "every hard hat",
    "all people wearing a hard hat",
    "every person with a helmet",
    "heads with a hard hat",
    "the heads wearing safety helmets",
)

_Test = Callable[[Subject], bool | None]


def _has(name: str, value: object) -> _Test:
    return lambda s: s.attributes[name] == value if s.attributes.get(name) is not None else None


def _yaw(s: Subject) -> float | None:
    if not np.isfinite(s.rotation).all():
        return None
    return float(matrix_to_ypr(s.rotation)[0][0])


def _gaze(low: float, high: float) -> _Test:
    def test(s: Subject) -> bool | None:
        yaw = _yaw(s)
        if yaw is None or min(abs(abs(yaw) - e) for e in (20, 110, 160)) < 6:
            return None  # too near a border to be named
        return low <= yaw < high

    return test


def _away(s: Subject) -> bool | None:
    yaw = _yaw(s)
    return None if yaw is None else abs(yaw) > 115


def _has_hat(s: Subject) -> bool | None:
    hat = s.attributes.get("hat")
    return None if hat is None else hat != "none"


def _both(a: _Test, b: _Test) -> _Test:
    def test(s: Subject) -> bool | None:
        x, y = a(s), b(s)
        if x is False or y is False:  # a bare head has no yellow hat, whatever colour is noted
            return False
        return None if x is None or y is None else True

    return test


COLORS = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey",
)  # fmt: skip
_TRAITS: list[tuple[tuple[str, ...], _Test]] = [
    (("the person wearing glasses", "the people wearing glasses"), _has("glasses", True)),
    (("the person wearing a hat", "the people wearing a hat"), _has_hat),
    (("the man", "the men"), _has("gender", "male")),
    (("the woman", "the women"), _has("gender", "female")),
    (("the person facing away", "the people facing away"), _away),
    (("the person looking left", "the people looking left"), _gaze(20.0, 110.0)),
    (("the person looking right", "the people looking right"), _gaze(-110.0, -20.0)),
    (("the person looking at the camera", "the people looking at the camera"), _gaze(-20.0, 20.0)),
]
for _color in COLORS:
    _dressed = _has("clothes_color", _color)
    _TRAITS += [
        ((f"the person in the {_color} shirt", f"the people in {_color} shirts"), _dressed),
        ((f"the person in {_color}", f"the people in {_color}"), _dressed),
        (
            (f"the man in the {_color} shirt", f"the men in {_color}"),
            _both(_has("gender", "male"), _dressed),
        ),
        (
            (f"the woman in the {_color} shirt", f"the women in {_color}"),
            _both(_has("gender", "female"), _dressed),
        ),
        (
            (f"the person with the {_color} hard hat", f"the people with {_color} hard hats"),
            _both(_has("hard_hat", True), _has("hat_color", _color)),
        ),
        (
            (f"the person with the {_color} hat", f"the people with {_color} hats"),
            _both(_has_hat, _has("hat_color", _color)),
        ),
    ]

_ORDINALS = ("first", "second", "third", "fourth")


def _by_place(subjects: Sequence[Subject]) -> list[tuple[str, list[Subject]]]:
    ordered = sorted(subjects, key=lambda s: (s.box[0] + s.box[2]) / 2)
    result = [
        ("the leftmost head", ordered[:1]),
        ("the person on the left", ordered[:1]),
        ("the rightmost head", ordered[-1:]),
        ("the person on the right", ordered[-1:]),
    ]
    for number, ordinal in enumerate(_ORDINALS[: len(ordered)]):
        result.append((f"the {ordinal} person from the left", [ordered[number]]))
        result.append((f"the {ordinal} person from the right", [ordered[-1 - number]]))
    if len(ordered) == 3:
        result.append(("the person in the middle", [ordered[1]]))
    if len(ordered) > 2:
        result.append(("the two people on the left", ordered[:2]))
        result.append(("the two people on the right", ordered[-2:]))
    return result


def _by_size(subjects: Sequence[Subject]) -> list[tuple[str, list[Subject]]]:
    area = [(s.box[2] - s.box[0]) * (s.box[3] - s.box[1]) for s in subjects]
    order = np.argsort(area)
    result = []
    if len(order) == 1 or area[order[-1]] > 1.3 * area[order[-2]]:
        result += [
            (p, [subjects[order[-1]]])
            for p in ("the largest head", "the biggest head", "the closest person")
        ]
    if len(order) > 1 and area[order[0]] * 1.3 < area[order[1]]:
        result += [(p, [subjects[order[0]]]) for p in ("the smallest head", "the farthest person")]
    return result


def _is_asked(phrase: str, subjects: Sequence[Subject]) -> bool:
    """One in sixteen, the same for the same picture."""
    return (sum(phrase.encode()) + int(1000 * sum(float(s.box[0]) for s in subjects))) % 16 == 0


def _pose_question(subject: Subject, rng: np.random.Generator, jitter: float) -> Question:
    side = (subject.box[2:] - subject.box[:2]).repeat(2)[[0, 2, 1, 3]]
    shifted = (subject.box + rng.uniform(-jitter, jitter, 4) * side).clip(0, 1)
    asked = encode(shifted[None], _BOXES, image_wh=(1, 1))
    prompt = prompts.head_pose(asked, _paraphrase(rng))
    answer = encode(matrix_to_ypr(subject.rotation)[0], _POSE)
    return Question(prompt, answer, "pose", subject.pose_weight)


def _boxes(subjects: Sequence[Subject]) -> str:
    """Sorted by the left edge, then the top, as they will be read."""
    if not subjects:
        return "none"
    boxes = np.stack([s.box for s in subjects])
    bins = np.round(boxes * 1000)
    return encode(boxes[np.lexsort((bins[:, 1], bins[:, 0]))], _BOXES, image_wh=(1, 1))


def _refer(phrase: str, rng: np.random.Generator) -> str:
    return prompts.refer(phrase, _paraphrase(rng))


def _paraphrase(rng: np.random.Generator) -> int:
    """The evaluation prompt half of the time, else any."""
    return 0 if rng.random() < 0.5 else int(rng.integers(4))
