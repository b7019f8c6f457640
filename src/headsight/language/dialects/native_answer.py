"""What was read from an answer in a family's own format: an `Answer` with labels and repairs."""

from __future__ import annotations

__all__ = ["NativeAnswer"]

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headsight.language.answer import Answer


@dataclass(slots=True, eq=False)
class NativeAnswer(Answer):
    """`value` is boxes (N, 4), or points (N, 2), in pixels of the original picture."""

    labels: tuple[str | None, ...] = ()
    """What the text calls each of `value`."""
    dialect: str = ""
    """The dialect that it was read in."""
    repairs: tuple[str, ...] = ()
    """What the lenient reading put right, by name; never anything in a strict reading."""
    families: tuple[str, ...] = ()
    """Dialects that read this text where its own does not (`wrong_family`)."""
    polygons: tuple[tuple[NDArray[np.float64], ...], ...] = ()
    """Outlines (K, 2) in pixels for each of `value`, where the family writes any."""
    codes: tuple[tuple[int, ...], ...] = ()
    """Sixteen mask codes for each of `value`, where the family writes any."""

    @property
    def status(self) -> str:
        """`ok`, or what is wrong in one word."""
        return "ok" if self.failure is None else str(self.failure)

    @property
    def item_spans(self) -> tuple[tuple[int, int], ...]:
        """Start and end in `text` of the numbers of each of `value`."""
        if self.spans is None:
            from headsight.language.dialects import DIALECTS

            self.spans = DIALECTS[self.dialect].spans(self.text)
        return self.spans

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the reading without the text."""
        return {
            "asked": self.asked,
            "kind": self.kind,
            "strict": self.strict,
            "valid": self.is_valid,
            "failure": None if self.failure is None else str(self.failure),
            "flags": sorted(self.flags),
            "dialect": self.dialect,
            "status": self.status,
            "repairs": list(self.repairs),
            "labels": list(self.labels),
        }
