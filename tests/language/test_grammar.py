from __future__ import annotations

import random
import time
from itertools import product
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from headsight.errors import ConfigError
from headsight.language.automaton import Automaton
from headsight.language.codec import CodecSpec, parse
from headsight.language.grammar import Grammar, grammar_processor
from headsight.language.spec import KINDS
from headsight.language.vocabulary import Vocabulary

TRIPLES = [f"{i:03d}" for i in range(1000)]
MERGED = [
    *TRIPLES,
    "12",
    "]]",
    "[[",
    "];[",
    "},",
    "0.",
    "none",
    "12,3",
    "7;",
    "],",
    "no",
    "one",
    "1]]</",
]


def make_tokenizer(extra: Any = (), *, eos: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of single characters and `extra` tokens."""
    characters = [chr(code) for code in range(33, 127)] + ["Ġ"]
    tokens = dict.fromkeys(["<pad>", "<eos>", *characters, *extra])
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    special = {"eos_token": "<eos>"} if eos else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", **special)


def make_sentence_pieces() -> PreTrainedTokenizerFast:
    """Tokens with a mark for the space before a word, as Llama 2 has them, and byte tokens."""
    characters = [chr(code) for code in range(33, 127)]
    tokens = ["<pad>", "<eos>", "<0x0A>", "▁", *characters, "▁0", "▁[[", "▁none", "]]", "00"]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


TOKENIZERS = {
    "digits": make_tokenizer(),
    "merged": make_tokenizer([*MERGED, *(f"word{i}" for i in range(900))]),
    "pieces": make_sentence_pieces(),
    "large": make_tokenizer([*MERGED, *(f"word{i}" for i in range(6000))]),
}


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENIZERS["large"]) + 3,  # some rows belong to no token
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_random_model_answers_strictly(name: str, kind: Any, model: LlamaForCausalLM) -> None:
    tokenizer, spec = TOKENIZERS[name], CodecSpec(kind)
    questions = torch.randint(2, 90, (8, 5), generator=torch.Generator().manual_seed(1))
    options: dict[str, Any] = {
        "attention_mask": torch.ones_like(questions),
        "pad_token_id": 0,
        "eos_token_id": 1,
        "max_new_tokens": 80,
    }
    torch.manual_seed(0)
    for decoding in ({"do_sample": True, "temperature": 3.0}, {"num_beams": 2, "do_sample": False}):
        processor = grammar_processor(tokenizer, spec, max_items=3)
        found = model.generate(questions, logits_processor=[processor], **options, **decoding)
        texts = [
            tokenizer.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for row in found[:, 5:]
        ]
        answers = [parse(text, spec) for text in texts]
        assert all(answer.strict for answer in answers), texts
        if kind == "boxes":
            assert all(len(answer.value) <= 3 for answer in answers)


def texts_of(automaton: Automaton, longest: int) -> set[str]:
    """Every final text of up to `longest` characters, walked out."""
    found, level = set(), [("", automaton.start)]
    for _ in range(longest + 1):
        deeper = []
        for text, state in level:
            if automaton.is_final(state):
                found.add(text)
            steps = ((c, automaton.step(state, c)) for c in sorted(automaton.alphabet))
            deeper += [(text + c, after) for c, after in steps if after is not None]
        level = deeper
    return found


def test_automaton_is_exactly_the_grammar() -> None:
    one = CodecSpec("boxes", digits=1)
    wide = [f"{a},{b},{c},{d}" for a, b, c, d in product(range(10), repeat=4) if a < c and b < d]
    assert texts_of(Automaton(one, max_items=1), 11) == {"none"} | {f"[[{box}]]" for box in wide}
    points = texts_of(Automaton(CodecSpec("point", digits=1)), 9)
    assert points == {f"[0.{x},0.{y}]" for x, y in product(range(10), repeat=2)}
    hidden = texts_of(Automaton(CodecSpec("point", digits=1, visibility="ask")), 9)
    assert hidden == points | {"none"}
    assert len(texts_of(Automaton(CodecSpec("count")), 3)) == 1110


def accepts(automaton: Automaton, text: str) -> bool:
    state: Any = automaton.start
    for character in text:
        state = state and automaton.step(state, character)
    return state is not None and automaton.is_final(state)


def test_area_is_demanded_only_where_asked_for() -> None:
    for needs_area in (True, False):
        automaton = Automaton(CodecSpec("boxes"), max_items=2, needs_area=needs_area)
        assert accepts(automaton, "[[000,000,001,001;998,998,999,999]]")
        assert accepts(automaton, "[[500,000,500,001]]") is not needs_area
        assert not accepts(automaton, "[[000,000,001,001" + ";000,000,001,001" * 2 + "]]")


def test_angles_end_at_359() -> None:
    automaton = Automaton(CodecSpec("pose"))
    for angle in range(1000):
        assert accepts(automaton, f"{{{angle:03d},000,359}}") == (angle < 360)
    for text in ("{000,000,000", "{000,000,000}}", "{000,000,a00}"):
        assert not accepts(automaton, text)


def test_count_has_at_most_seven_digits() -> None:
    automaton = Automaton(CodecSpec("count"))
    state: Any = automaton.start
    for _ in range(7):
        state = automaton.step(state, "9")
    assert automaton.is_final(state)
    assert automaton.step(state, "9") is None


def test_after_the_end_only_the_end_token(model: LlamaForCausalLM) -> None:
    tokenizer = TOKENIZERS["merged"]
    grammar = Grammar.of(tokenizer, CodecSpec("boxes"))
    state: Any = grammar.start
    none = tokenizer.convert_tokens_to_ids("none")
    assert none in grammar.allowed(state)
    state = grammar.advance(state, none)
    assert grammar.allowed(state).tolist() == [tokenizer.eos_token_id]
    state = grammar.advance(state, tokenizer.eos_token_id)
    assert state is None
    assert grammar.allowed(state).tolist() == [tokenizer.eos_token_id]
    assert grammar.advance(state, none) is None
    assert grammar.advance(grammar.start, tokenizer.convert_tokens_to_ids("]]")) is None


def test_token_for_token_the_boxes_have_area() -> None:
    tokenizer = TOKENIZERS["merged"]
    grammar = Grammar.of(tokenizer, CodecSpec("boxes"), max_items=1)
    state: Any = grammar.start
    for token in ("[[", "997", ",", "000", ","):
        state = grammar.advance(state, tokenizer.convert_tokens_to_ids(token))
    allowed = {tokenizer.convert_ids_to_tokens(int(i)) for i in grammar.allowed(state)}
    assert allowed == {"9", "998", "999"}


def test_processor_starts_anew_with_another_question() -> None:
    tokenizer = TOKENIZERS["digits"]
    processor = grammar_processor(tokenizer, CodecSpec("pose"))
    opening = tokenizer.convert_tokens_to_ids("{")
    scores = torch.zeros(1, len(tokenizer))
    for question in ([[5, 6]], [[5, 6, 7, 8, 9]], [[7]]):
        first = processor(torch.tensor(question), scores)
        assert torch.isfinite(first).nonzero().tolist() == [[0, opening]]
        then = processor(torch.tensor([[*question[0], opening]]), scores)
        assert torch.isfinite(then).sum() == 4  # 0, 1, 2, 3
    empty = processor(torch.zeros((1, 0), dtype=torch.long), scores)  # generation from embeddings
    assert torch.isfinite(empty).sum() == 1


def test_grammars_are_built_once_and_again_when_tokens_are_added() -> None:
    tokenizer = make_tokenizer()
    spec = CodecSpec("pose")
    before = Grammar.of(tokenizer, spec)
    assert Grammar.of(tokenizer, spec) is before
    assert Grammar.of(tokenizer, spec, eos_token_id=[1, 0]) is not before
    tokenizer.add_tokens(["{315"])
    after = Grammar.of(tokenizer, spec)
    assert after is not before
    assert tokenizer.convert_tokens_to_ids("{315") in after.allowed(after.start)


def test_tokenizer_that_cannot_spell_the_grammar() -> None:
    vocabulary = {"<eos>": 0, **{token: i + 1 for i, token in enumerate([*"0123456789,{", "}}"])}}
    plain = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    plain.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<eos>")
    with pytest.raises(ConfigError, match="no single tokens for }, which"):
        grammar_processor(tokenizer, CodecSpec("pose"))


def test_tokenizer_without_an_end() -> None:
    tokenizer = make_tokenizer(eos=False)
    with pytest.raises(ConfigError, match="Pass eos_token_id"):
        grammar_processor(tokenizer, CodecSpec("pose"))
    assert grammar_processor(tokenizer, CodecSpec("pose"), eos_token_id=1) is not None


def test_memory_of_masks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headsight.language.grammar._MOST_CACHED", 3)
    grammar = Grammar(Vocabulary(TOKENIZERS["digits"]), Automaton(CodecSpec("boxes")), (1,))
    generator, state = random.Random(0), grammar.start
    for _ in range(30):
        state = (
            grammar.advance(state, int(generator.choice(grammar.allowed(state)))) or grammar.start
        )
        assert len(grammar._allowed) <= 3


def test_a_step_takes_less_than_a_millisecond() -> None:
    """Two thousand tokens, triples of digits among them, masks not yet built; the median of all."""
    tokenizer = make_tokenizer([*MERGED, *(f"word{i}" for i in range(890))])
    processor = grammar_processor(tokenizer, CodecSpec("boxes"))
    scores, ids = torch.randn(1, len(tokenizer)), torch.randint(2, 90, (1, 300))
    times = []
    for _ in range(200):
        start = time.perf_counter()
        kept = processor(ids, scores)
        times.append(time.perf_counter() - start)
        ids = torch.cat((ids, torch.multinomial(torch.softmax(kept, -1), 1)), 1)
    assert sorted(times)[100] < 1e-3
