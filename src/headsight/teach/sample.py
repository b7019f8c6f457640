"""One thing to be taught: a picture, a question and its answer."""

from __future__ import annotations

__all__ = ["Sample"]

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """A question about a picture, and what is to be answered."""

    picture: Path | bytes = field(repr=False)
    """A file, or the encoded picture itself."""
    question: str
    answer: str
    kind: str
    """Kind of the answer (`boxes`, `pose`, `point`, `points`, `count`, or `text`)."""
    weight: float = 1.0
    """Weight of the answer's tokens in the loss."""
    later: tuple[tuple[str, str], ...] | None = None
    """Further questions and answers of one conversation; None of a question by itself."""
    is_once: bool = False
    """The picture was made for this sample, so that nothing of it is worth being kept."""
