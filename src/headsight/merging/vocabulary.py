"""Whether two model folders read words alike: the tokens and their numbers."""

from __future__ import annotations

__all__ = ["vocabulary_difference"]

import json
from pathlib import Path
from typing import Any

_RAW = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt")
"""Files of other tokenizers, which must be equal byte for byte."""


def vocabulary_difference(one: Path, two: Path) -> str | None:
    """What differs first between the tokens of two folders, in words; None if nothing does.

    Only files that both folders have are compared.
    """
    for name in ("tokenizer.json", *_RAW):
        first, second = one / name, two / name
        if not (first.is_file() and second.is_file()):
            continue
        are_equal_long = first.stat().st_size == second.stat().st_size
        if are_equal_long and first.read_bytes() == second.read_bytes():
            return None
        if name != "tokenizer.json":
            return f"their {name} differ"
        return _difference(_tokens(first), _tokens(second))
    return None


def _tokens(path: Path) -> dict[str, int] | None:
    """Number by token; None where the file cannot be read so."""
    try:
        values = json.loads(path.read_text("utf-8"))
        vocabulary: Any = (values.get("model") or {}).get("vocab") or {}
        if isinstance(vocabulary, list):  # of unigram models: [token, score]
            vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
        added = {t["content"]: t["id"] for t in values.get("added_tokens") or []}
        return {**vocabulary, **added}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _difference(one: dict[str, int] | None, two: dict[str, int] | None) -> str | None:
    if one is None or two is None:
        return "a tokenizer.json cannot be read"
    if one == two:
        return None
    changed = sorted(one.items() ^ two.items(), key=lambda item: (item[1], item[0]))
    token = changed[0][0]
    return (
        f"{len({t for t, _ in changed})} tokens differ, such as {token!r}, which is number"
        f" {one.get(token, 'none')} in one and {two.get(token, 'none')} in the other"
    )
