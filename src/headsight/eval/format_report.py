"""How often answers keep to the format: rates, failures and who answered what to what.

Strict and tolerant readings are both reported: a model may look fine only because the reader is
kind, and a failure that is left out of an accuracy makes that accuracy meaningless.
"""

from __future__ import annotations

__all__ = ["FormatReport", "answer_of", "format_report"]

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from headsight.detections import Exchange
from headsight.language.answer import Answer, Failure

SCHEMA = "headsight.format/1"


@dataclass(frozen=True)
class FormatReport:
    """Counts over answers; shares are of all answers, 0 where there are none."""

    asked: int
    """Answers in all."""
    not_strict: int
    """Answers that do not follow the grammar exactly."""
    not_valid: int
    """Answers of which nothing could be used, or not safely."""
    recovered: int
    """Answers with a failure that could be used all the same."""
    failures: dict[str, int]
    """How often each failure occurred, recovered or not; the most frequent first."""
    confusion: dict[str, dict[str, int]]
    """Kind asked -> kind answered (or the failure, where no kind could be named) -> how often."""

    @property
    def strict_invalid(self) -> float:
        """Share of answers that do not follow the grammar exactly."""
        return self.not_strict / max(self.asked, 1)

    @property
    def invalid(self) -> float:
        """Share of answers that could not be used."""
        return self.not_valid / max(self.asked, 1)

    @property
    def swapped(self) -> float:
        """Share of complete answers of another kind."""
        return self.failures.get(Failure.WRONG_KIND, 0) / max(self.asked, 1)

    @property
    def blended(self) -> float:
        """Share of answers with parts of two kinds."""
        return self.failures.get(Failure.BLENDED, 0) / max(self.asked, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": SCHEMA,
            "asked": self.asked,
            "strict_invalid": self.strict_invalid,
            "invalid": self.invalid,
            "recovered": self.recovered,
            "swapped": self.swapped,
            "blended": self.blended,
            "failures": dict(self.failures),
            "confusion": {kind: dict(row) for kind, row in self.confusion.items()},
        }

    def __str__(self) -> str:
        """The confusion table in Markdown, under one line of rates."""
        columns = sorted({answered for row in self.confusion.values() for answered in row})
        lines = [
            f"{self.asked} answers, strict invalid {self.strict_invalid:.2%}, invalid"
            f" {self.invalid:.2%}, swapped {self.swapped:.2%}, blended {self.blended:.2%}",
            "",
            "| asked \\ answered | " + " | ".join(columns) + " |",
            "| --- |" + " ---: |" * len(columns),
        ]
        lines += [
            f"| {kind} | " + " | ".join(str(row.get(column, 0)) for column in columns) + " |"
            for kind, row in self.confusion.items()
        ]
        return "\n".join(lines)


def format_report(answers: Iterable[Answer]) -> FormatReport:
    """Rates, failures and confusion of `answers`, of one kind or of several."""
    read = list(answers)
    failures = Counter(str(answer.failure) for answer in read if answer.failure is not None)
    confusion: dict[str, Counter[str]] = {}
    for answer in read:
        confusion.setdefault(answer.asked, Counter())[_answered(answer)] += 1
    return FormatReport(
        asked=len(read),
        not_strict=sum(not answer.strict for answer in read),
        not_valid=sum(not answer.is_valid for answer in read),
        recovered=sum(answer.recovered for answer in read),
        failures=dict(failures.most_common()),
        confusion={kind: dict(row) for kind, row in sorted(confusion.items())},
    )


def answer_of(exchange: Exchange) -> Answer:
    """The reading that an exchange keeps, without its value: enough for a report."""
    kept = exchange.reading
    failure = None if kept.get("failure") is None else Failure(kept["failure"])
    is_valid = bool(kept.get("valid", failure is None))
    return Answer(
        value=None,
        kind=kept.get("kind"),
        asked=kept.get("asked", "boxes"),
        strict=bool(kept.get("strict", failure is None)),
        failure=failure,
        recovered=is_valid and failure is not None,
        text=exchange.text,
    )


def _answered(answer: Answer) -> str:
    if answer.failure is Failure.BLENDED or answer.kind is None:
        return str(answer.failure)
    return answer.kind
