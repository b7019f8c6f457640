"""The tokenizer of our own models: lossless, and every number of a strict answer is one token.

A text is cut by one regular expression; a piece that is in the vocabulary is one token, any other
piece is spelled in bytes. There is nothing to learn, so the tokenizer is the same wherever it is
built. Groups of three digits have consecutive ids, so that a distribution over numbers is a slice
of the logits.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from transformers import PreTrainedTokenizerFast

from headsight.errors import InputError
from headsight.models.grounding.vocabulary import FIRST_WORDS, WORDS

__all__ = ["BOS", "EOS", "IMAGE", "PAD", "build_tokenizer", "first_number_id", "near_numbers"]

PAD, BOS, EOS, IMAGE = "<pad>", "<bos>", "<eos>", "<image>"

# three digits before fewer; words carry the space before them; all else one character at a time
_PIECES = r"\[\[|\]\]|[0-9]{3}|[0-9]{1,2}| ?\p{L}+|[\s\S]"


def build_tokenizer(words: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """The tokenizer.

    Ids: 0 pad, 1 bos, 2 eos, 3 image slot, then 256 bytes, brackets, 000..999, 00..99, words.
    `decode(encode(text))` gives back any text; text that looks like a special token stays plain
    text.

    Args:
        words: of a field of your own, letters only, which shall be one token each (after a space)
            rather than one a letter. New ones get ids after all others, in the order given; a
            model needs `vocab_size=len(tokenizer)`.

    Raises:
        InputError: a word that is cut further, such as one with a hyphen.
    """
    if isinstance(words, str):
        raise InputError(f"words is {words!r}; expected a list of words.")
    words = tuple(words)
    for word in words:
        if not word.isalpha():
            raise InputError(f"{word!r} is no word of letters only. Give its parts one by one.")
    specials = [PAD, BOS, EOS, IMAGE]
    pieces = specials + _byte_letters() + ["[[", "]]"]
    pieces += [f"{number:03d}" for number in range(1000)] + [f"{n:02d}" for n in range(100)]
    pieces += ["Ġ" + word for word in WORDS] + list(FIRST_WORDS)  # Ġ stands for the space
    to_letters = ByteLevel(add_prefix_space=False, use_regex=False)
    pieces += [to_letters.pre_tokenize_str(" " + word)[0][0] for word in words]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = Sequence(
        [
            Split(Regex(_PIECES), behavior="isolated"),
            to_letters,
        ]
    )
    tokenizer.decoder = ByteLevelDecoder()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[IMAGE],
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask", "token_type_ids"],
        padding_side="left",
    )


def first_number_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """Id of `000`; the id of the three-digit number n is this plus n."""
    return int(tokenizer.convert_tokens_to_ids("000"))  # type: ignore[arg-type]


def near_numbers(tokenizer: PreTrainedTokenizerFast, *, reach: int) -> Int[NDArray[Any], "v k"]:
    """For every token the ids that mean nearly the same: itself, and around a number the others.

    Rows are filled up with -1. Numbers up to `reach` apart are near, on the circle of 360 too,
    because angles are written with the same tokens.
    """
    first = first_number_id(tokenizer)
    near = np.full((len(tokenizer), 4 * reach + 1), -1)
    near[:, 0] = np.arange(len(tokenizer))
    for number in range(1000):
        apart = range(number - reach, number + reach + 1)
        alike = {n for n in apart if 0 <= n < 1000}
        if number < 360:
            alike |= {n % 360 for n in apart}
        near[first + number, : len(alike)] = [first + n for n in sorted(alike)]
    return near


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in byte-level vocabularies, in a fixed order."""
    return sorted(ByteLevel.alphabet())
