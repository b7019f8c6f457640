"""The strict grammar character by character, for decoding that writes only valid answers."""

from __future__ import annotations

__all__ = ["Automaton", "State"]

from typing import NamedTuple

from headsight.language.reading import NONE
from headsight.language.spec import ANGLE_BINS, CodecSpec

_FIELD, _BRANCH = "#", "|"
_COUNT_DIGITS = 7


class State(NamedTuple):
    """Where in an answer a text stands. Equal states allow the same continuations."""

    position: int
    """Index in the template; negative inside `none`."""
    digits: int = 0
    """Digits of the current number that are written."""
    prefix: int = 0
    """Those digits as a number, where the number is bounded."""
    corner: tuple[int, ...] = ()
    """x0, y0 of the current box, where boxes must have area."""
    left: int = 1
    """Items that may still be written, the current one included."""


class Automaton:
    """Every strict answer of one spec, and no other text.

    Args:
        spec: the format.
        max_items: most boxes or points of one answer.
        needs_area: boxes must have x0 < x1 and y0 < y1.
    """

    def __init__(self, spec: CodecSpec, *, max_items: int = 64, needs_area: bool = True) -> None:
        kind = spec.kind
        self.is_count = kind == "count"
        self.width = 3 if kind == "pose" else spec.digits
        self.limit = ANGLE_BINS if kind == "pose" else spec.steps
        self.needs_area = needs_area and kind == "boxes"
        self.allows_none = kind == "boxes" or (
            kind in ("point", "points") and spec.visibility == "ask"
        )
        # One template: literal characters, fields of digits, and the branch after each item.
        opening, item, closing = {
            "boxes": ("[[", "#,#,#,#", "]]"),
            "pose": ("{", "#,#,#", "}"),
            "count": ("", "#", ""),
        }.get(kind, ("", "[0.#,0.#]", ""))
        self.template = opening + item + _BRANCH + closing
        self.item_start, self.branch = len(opening), len(opening) + len(item)
        self.max_items = max_items if kind in ("boxes", "points") else 1
        self.item_characters = len(item)
        self.start = State(0, left=self.max_items)
        fixed = set(opening + item + closing) - {_FIELD}
        digits = set("0123456789")
        word = set(NONE) if self.allows_none else set()
        self.alphabet = fixed | digits | word | ({";"} if self.max_items > 1 else set())

    def step(self, state: State, character: str) -> State | None:
        """The state after `character`; None where the grammar forbids it."""
        position = state.position
        if position < 0 or (position == 0 and self.allows_none and character == NONE[0]):
            return self._step_none(state, character)
        if position == len(self.template):
            return None
        element = self.template[position]
        if element == _FIELD:
            return self._step_field(state, character)
        if element == _BRANCH:
            return self._step_branch(state, character)
        return state._replace(position=position + 1) if character == element else None

    def is_final(self, state: State) -> bool:
        """True where the answer may end."""
        if self.is_count:
            return state.digits > 0
        if state.position < 0:
            return -state.position == len(NONE)
        has_end = self.branch + 1 < len(self.template)
        return state.position == (len(self.template) if has_end else self.branch)

    def shared(self, state: State, longest: int) -> State:
        """One state for all that allow the same texts of up to `longest` characters."""
        reachable = longest // self.item_characters + 2
        return state if state.left <= reachable else state._replace(left=reachable)

    def _step_none(self, state: State, character: str) -> State | None:
        written = max(-state.position, 0)
        if written == len(NONE) or character != NONE[written]:
            return None
        return State(-written - 1)

    def _step_branch(self, state: State, character: str) -> State | None:
        closing = self.template[self.branch + 1 : self.branch + 2]
        if closing and character == closing:
            return State(self.branch + 2)
        if character == ";" and state.left > 1:
            return State(self.item_start, left=state.left - 1)
        return None

    def _step_field(self, state: State, character: str) -> State | None:
        if not ("0" <= character <= "9"):
            return None
        digits = state.digits + 1
        if self.is_count:
            return State(0, digits) if digits <= _COUNT_DIGITS else None
        low, high = self._bounds(state)
        if low == 0 and high == 10**self.width - 1:
            prefix = 0  # every number will do: nothing to remember
        else:
            prefix = state.prefix * 10 + int(character)
            rest = 10 ** (self.width - digits)
            if prefix * rest > high or prefix * rest + rest - 1 < low:
                return None
        if digits < self.width:
            return state._replace(digits=digits, prefix=prefix)
        corner = state.corner
        if self.needs_area and len(corner) < 2:
            corner = (*corner, prefix)
        return State(state.position + 1, 0, 0, corner, state.left)

    def _bounds(self, state: State) -> tuple[int, int]:
        """Least and greatest number that the current field may hold."""
        if not self.needs_area:
            return 0, self.limit - 1
        if len(state.corner) < 2:
            return 0, self.limit - 2  # room for one step of width
        field = (state.position - self.item_start) // 2
        return state.corner[field - 2] + 1, self.limit - 1
