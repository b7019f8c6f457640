"""The questions our models are trained and evaluated on. One home: nobody else spells them out.

Each task has a handful of paraphrases for training; the first one is the evaluation prompt (the
form follows HPE-CogVLM, arXiv:2406.01914, whose exact strings could not be read).
"""

from __future__ import annotations

__all__ = [
    "HEAD_BOXES",
    "HEAD_POSE",
    "MAX_WORDS",
    "PARAPHRASES",
    "REFER",
    "clean_expression",
    "hard_hats",
    "head_boxes",
    "head_pose",
    "refer",
]

import unicodedata

from headsight.errors import InputError

MAX_WORDS = 200
"""Longest referring expression, in words."""
MAX_CHARACTERS = 2000
"""Longest referring expression, in characters (for scripts that do not part words by spaces)."""
_CONTROL = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"  # spell words of some scripts
HARD_HATS = "every head with a hard hat"

HEAD_BOXES = (
    "Where is every human head in the image? Answer in [[x0,y0,x1,y1]] format.",
    "Find all human heads in the picture. Answer in [[x0,y0,x1,y1]] format.",
    "Give the box of each head that you can see. Answer in [[x0,y0,x1,y1]] format.",
    "Which places in the image show a person's head? Answer in [[x0,y0,x1,y1]] format.",
)
HEAD_POSE = (
    "What are the yaw, pitch and roll of the head inside the box {box}?",
    "Give the yaw, pitch and roll of the head in the box {box}.",
    "How is the head inside {box} turned? Answer with yaw, pitch and roll.",
    "Estimate yaw, pitch and roll of the head at {box}.",
)
REFER = (
    "Where is {expr}? answer in [[x0,y0,x1,y1]] format.",
    "Find {expr} in the image. answer in [[x0,y0,x1,y1]] format.",
    "Give the box of {expr}. answer in [[x0,y0,x1,y1]] format.",
    "Can you point out {expr}? answer in [[x0,y0,x1,y1]] format.",
)
PARAPHRASES: dict[str, tuple[str, ...]] = {
    "head_boxes": HEAD_BOXES,
    "head_pose": HEAD_POSE,
    "refer": REFER,
}
"""Templates of every task, evaluation prompt first."""


def head_boxes(paraphrase: int = 0) -> str:
    """The question for every head."""
    return HEAD_BOXES[paraphrase]


def head_pose(box_text: str, paraphrase: int = 0) -> str:
    """The question for the pose of the head in a box, written as `encode` writes it."""
    return HEAD_POSE[paraphrase].replace("{box}", box_text)


def refer(expression: str, paraphrase: int = 0) -> str:
    """The question for what `expression` names.

    Raises:
        InputError: empty, too long, or with control characters (see `clean_expression`).
    """
    return REFER[paraphrase].replace("{expr}", clean_expression(expression))


def hard_hats(paraphrase: int = 0) -> str:
    """The question for every head with a hard hat."""
    return refer(HARD_HATS, paraphrase)


def clean_expression(text: str) -> str:
    """`text` without outer spaces, final stop or runs of spaces, fit to stand in a question.

    Raises:
        InputError: no words, more than `MAX_WORDS`, or a control or invisible character.
    """
    for position, character in enumerate(text):
        if unicodedata.category(character) in _CONTROL and character not in _JOINERS:
            raise InputError(
                f"The expression holds the control character U+{ord(character):04X} at position"
                f" {position}; expected words on one line. Remove it."
            )
    words = text.split()
    if len(words) > MAX_WORDS or len(text) > MAX_CHARACTERS:
        raise InputError(
            f"The expression has {len(words)} words ({len(text)} characters), but at most"
            f" {MAX_WORDS} words ({MAX_CHARACTERS} characters) are allowed. Name the thing in"
            " one sentence."
        )
    cleaned = " ".join(words).rstrip(".?!;, ")
    if not any(character.isalnum() for character in cleaned):
        raise InputError(
            f"The expression {text[:40]!r} has no words; expected what to look for,"
            ' for instance "the woman looking at the camera".'
        )
    return cleaned
