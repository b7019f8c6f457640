"""What each token of a tokenizer adds to a text: the prefix tree under decoding and densities."""

from __future__ import annotations

__all__ = ["Node", "Vocabulary"]

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from headsight.errors import ConfigError

_ANCHOR = "0"
_SMALL = 5000
_SPACE_MARKS = "▁Ġ#"
_CHARACTERS = frozenset("0123456789,;.[]{}none")


@dataclass(slots=True)
class Node:
    """One place in the prefix tree: the tokens that end here, and where each character leads."""

    ids: list[int] = field(default_factory=list)
    children: dict[str, Node] = field(default_factory=dict)


class Vocabulary:
    """Tokens made of the grammar's characters only, as text and as a prefix tree.

    A token's text is what it adds after other text: alike for byte-level, sentence-piece
    and word-level tokenizers. Use `Vocabulary.of(tokenizer)`, which builds it once per tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.size = len(tokenizer)
        self.texts: dict[int, str] = dict(_token_texts(tokenizer))
        self.longest = max(map(len, self.texts.values()), default=0)
        self.root = Node()
        for token_id, text in self.texts.items():
            node = self.root
            for character in text:
                node = node.children.setdefault(character, Node())
            node.ids.append(token_id)
        self.grammars: dict[Any, Any] = {}

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """The vocabulary of `tokenizer`, built again only when its number of tokens changed."""
        known = _VOCABULARIES.get(tokenizer)
        if known is None or known.size != len(tokenizer):
            known = _VOCABULARIES[tokenizer] = cls(tokenizer)
        return known

    def require_characters(self, alphabet: Iterable[str]) -> None:
        """Pass when every character of `alphabet` is a token by itself: then no text is a dead end.

        Raises:
            ConfigError: one is not.
        """
        single = {text for text in self.texts.values() if len(text) == 1}
        if missing := sorted(set(alphabet) - single):
            raise ConfigError(
                f"The tokenizer has no single tokens for {' '.join(missing)}, which the answer"
                " grammar needs. Add them with tokenizer.add_tokens and resize the embeddings."
            )


_VOCABULARIES: WeakKeyDictionary[Any, Vocabulary] = WeakKeyDictionary()


def _token_texts(tokenizer: Any) -> Iterable[tuple[int, str]]:
    anchor = tokenizer.encode(_ANCHOR, add_special_tokens=False)[-1]
    special = set(tokenizer.all_special_ids)
    known = sorted((index, raw) for raw, index in tokenizer.get_vocab().items())
    is_small = len(known) <= _SMALL  # decoding is slow: of many tokens only the likely ones
    ids = [i for i, raw in known if i not in special and (is_small or _is_likely(raw))]
    options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
    before = tokenizer.decode([anchor], **options)
    for index in ids:
        text = tokenizer.decode([anchor, index], **options)
        added = text[len(before) :] if text.startswith(before) else ""
        if added and _CHARACTERS.issuperset(added):
            yield index, added


def _is_likely(raw: str) -> bool:
    """True for the raw form of a token that may spell characters of the grammar."""
    return raw.startswith("<0x") or _CHARACTERS.issuperset(raw.lstrip(_SPACE_MARKS))
