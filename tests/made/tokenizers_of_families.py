"""Small tokenizers that cut texts as those of well-known families do, learned from a few words."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
WORDS = ("User", "Assistant", "Reference", "Where", " is", " the", " left", " eye", ">User")


def byte_level(pattern: str, *, triples: bool) -> PreTrainedTokenizerFast:
    """As Llama 3 (runs of three digits are one token) or Qwen 2 (each digit is)."""
    pieces = ["<|end_of_text|>", "<pad>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    numbers = [f"{n:0{w}d}" for w in (2, 3) for n in range(10**w)] if triples else []
    whole = [" [", "]</", *WORDS]
    pieces += numbers + [word.replace(" ", "Ġ") for word in whole]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(models.BPE(vocabulary, merges=[], ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|end_of_text|>", pad_token="<pad>"
    )


def llama3() -> PreTrainedTokenizerFast:
    """Triples of digits, ` [` and `]</` as one token each."""
    return byte_level(LLAMA3, triples=True)


def qwen2() -> PreTrainedTokenizerFast:
    """Single digits."""
    return byte_level(QWEN2, triples=False)


def llama2() -> PreTrainedTokenizerFast:
    """Pieces with a mark for the space before them, and single digits."""
    characters = [chr(c) for c in range(33, 127)] + ["▁", "\n"]
    pieces = ["<unk>", "<s>", "</s>", "<pad>", *characters, "▁[", "▁is", "▁the", "User", "▁left"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    merges = [("▁", "[")]
    backend = Tokenizer(models.BPE(vocabulary, merges=merges, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        pad_token="<pad>",
    )  # fmt: skip
