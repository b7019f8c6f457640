"""Constrained decoding: only tokens that continue a strict answer, for any tokenizer.

A model decoded this way gives 0 % invalid answers by construction; report its unconstrained rate as
well, else a comparison with published rates of invalid answers means nothing.
"""

from __future__ import annotations

__all__ = ["Grammar", "grammar_processor"]

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from headsight.errors import ConfigError
from headsight.language.automaton import Automaton, State
from headsight.language.spec import CodecSpec
from headsight.language.vocabulary import Node, Vocabulary

if TYPE_CHECKING:
    from headsight.language.logits import GrammarLogitsProcessor

MAX_BOXES = 64
_MOST_CACHED = 20_000


class Grammar:
    """The strict answers of one spec in the tokens of one tokenizer.

    For a decoding loop of one's own: `state = grammar.start`, then per step choose among
    `grammar.allowed(state)` and go on with `state = grammar.advance(state, token_id)`. A finished
    answer is the state None.
    """

    def __init__(
        self, vocabulary: Vocabulary, automaton: Automaton, eos_token_ids: tuple[int, ...]
    ) -> None:
        vocabulary.require_characters(automaton.alphabet)
        self.vocabulary, self.automaton, self.eos_token_ids = vocabulary, automaton, eos_token_ids
        self._allowed: dict[State, NDArray[np.int64]] = {}
        self._end = np.array(eos_token_ids, dtype=np.int64)

    @classmethod
    def of(
        cls,
        tokenizer: Any,
        spec: CodecSpec,
        *,
        max_items: int = MAX_BOXES,
        needs_area: bool = True,
        eos_token_id: int | Sequence[int] | None = None,
    ) -> Grammar:
        """The grammar of `spec` for `tokenizer`, built once and kept with the tokenizer.

        Raises:
            ConfigError: no end-of-text token, or a tokenizer that cannot spell the grammar.
        """
        eos = tokenizer.eos_token_id if eos_token_id is None else eos_token_id
        if eos is None:
            raise ConfigError(
                "The tokenizer has no end-of-text token, so an answer could never end."
                " Pass eos_token_id."
            )
        ids = (eos,) if isinstance(eos, int) else tuple(eos)
        vocabulary = Vocabulary.of(tokenizer)
        key = (spec, max_items, needs_area, ids)
        grammar = vocabulary.grammars.get(key)
        if grammar is None:
            automaton = Automaton(spec, max_items=max_items, needs_area=needs_area)
            grammar = vocabulary.grammars[key] = cls(vocabulary, automaton, ids)
        return grammar

    @property
    def start(self) -> State:
        """The state of the empty answer."""
        return self.automaton.start

    def allowed(self, state: State | None) -> Int[NDArray[np.int64], " tokens"]:
        """Tokens that may come next; after the end only the end-of-text token."""
        if state is None:
            return self._end
        key = self.automaton.shared(state, self.vocabulary.longest)
        if (known := self._allowed.get(key)) is not None:
            return known
        if len(self._allowed) >= _MOST_CACHED:
            self._allowed.clear()
        ids = self._allowed[key] = np.array(self._walk(key), dtype=np.int64)
        return ids

    def advance(self, state: State | None, token_id: int) -> State | None:
        """The state after a token; None after the end, and after a token that is not allowed."""
        for character in self.vocabulary.texts.get(token_id, "\0"):
            if state is None:
                return None
            state = self.automaton.step(state, character)
        return state

    def _walk(self, state: State) -> list[int]:
        step = self.automaton.step
        ids = list(self.eos_token_ids) if self.automaton.is_final(state) else []
        stack: list[tuple[Node, State]] = [(self.vocabulary.root, state)]
        while stack:
            node, here = stack.pop()
            for character, child in node.children.items():
                there = step(here, character)
                if there is not None:
                    ids.extend(child.ids)
                    stack.append((child, there))
        return ids


def grammar_processor(
    tokenizer: Any,
    spec: CodecSpec,
    *,
    max_items: int = MAX_BOXES,
    needs_area: bool = True,
    eos_token_id: int | Sequence[int] | None = None,
) -> GrammarLogitsProcessor:
    """A transformers `LogitsProcessor` that lets `generate` write only strict answers of `spec`.

    Works for any batch, with beams and sampling; give `generate` enough `max_new_tokens` for the
    longest answer (`max_items` boxes), else the limit may cut one. Cheap: make one per call.

    Raises:
        ConfigError: no end-of-text token, or a tokenizer that cannot spell the grammar.
    """
    from headsight.language.logits import GrammarLogitsProcessor

    return GrammarLogitsProcessor(
        Grammar.of(
            tokenizer,
            spec,
            max_items=max_items,
            needs_area=needs_area,
            eos_token_id=eos_token_id,
        )
    )
