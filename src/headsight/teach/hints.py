"""Hints: a number in the question has to say the answer's first number too, in training only.

To tell the pose of the head in a box, attention has to find the head by the box's numbers, and what
stands there by what is asked. With a loss on the answer alone both are to be learned at once, which
small models do not manage; from the last number of the box on they are learned one after the other.
"""

from __future__ import annotations

__all__ = ["Hint", "first_number_of"]

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from headsight.errors import ConfigError
from headsight.teach.tokens import Encoded


class Hint:
    """Adds the hint to a row, where its question and its answer hold numbers.

    A number right before the answer says the answer's own first token.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Prepare.

        Raises:
            ConfigError: a tokenizer that spells numbers otherwise (see `first_number_of`).
        """
        self._first = first_number_of(tokenizer, "number_hints")

    def __call__(self, row: Encoded) -> Encoded:
        """`row`, whose labels begin behind the question's last number."""
        ids = row.inputs["input_ids"][0]
        asked = len(ids) - len(row.answer)
        places = self._numbers(ids[:asked])
        said = row.answer[self._numbers(row.answer)]
        if not len(places) or not len(said) or int(places[-1]) == asked - 1:
            return row
        between = row.answer.new_full((asked - int(places[-1]) - 1,), -100)
        labels = torch.cat([between, row.answer])
        labels[0] = said[0]
        return replace(row, answer=labels)

    def _numbers(self, ids: Int[Tensor, " n"]) -> Int[Tensor, " m"]:
        return ((ids >= self._first) & (ids < self._first + 1000)).nonzero()[:, 0]


def first_number_of(tokenizer: Any, setting: str) -> int:
    """The id of 000, where 000 to 999 are single tokens with ids in a row.

    Raises:
        ConfigError: they are not; `setting` is what needs them.
    """
    first, last = tokenizer.convert_tokens_to_ids(["000", "999"])
    if first is None or last is None or last - first != 999:
        raise ConfigError(
            f"{setting} is set, but this tokenizer has no single tokens 000 to 999 in a row. Leave"
            f" {setting} out."
        )
    return int(first)
