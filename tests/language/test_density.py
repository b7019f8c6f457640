from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from headsight.language.codec import CodecSpec, parse
from headsight.language.density import density, density_mean, with_confidence

POINT, POSE, BOXES = CodecSpec("point"), CodecSpec("pose"), CodecSpec("boxes")
TRIPLES = [f"{i:03d}" for i in range(1000)]


def tokenizer_of(tokens: list[str]) -> PreTrainedTokenizerFast:
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(["<eos>", *tokens]))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


DIGITS = tokenizer_of([*"0123456789,]["])
WHOLE = tokenizer_of([*"0123456789,][", *TRIPLES, "123,", "12,"])


def random_bins(seed: int = 0) -> Any:
    bins = np.random.default_rng(seed).random(1000) ** 4
    return bins / bins.sum()


def digit_model(bins: Any) -> Any:
    """Next-digit logits of a single-digit tokenizer whose numbers have the probabilities `bins`."""

    def logits(prefixes: Any) -> Any:
        rows = np.full((len(prefixes), len(DIGITS)), -np.inf)
        for row, prefix in zip(rows, prefixes, strict=True):
            text = "".join(DIGITS.convert_ids_to_tokens(list(prefix)))
            for digit in range(10):
                ahead = [i for i in range(1000) if f"{i:03d}".startswith(f"{text}{digit}")]
                row[DIGITS.convert_tokens_to_ids(str(digit))] = np.log(bins[ahead].sum())
        return rows

    return logits


def triple_logits(bins: Any) -> Any:
    row = np.full(len(WHOLE), -np.inf)
    row[[WHOLE.convert_tokens_to_ids(t) for t in TRIPLES[: len(bins)]]] = np.log(bins)
    return row


def test_density_does_not_depend_on_the_tokenizer() -> None:
    bins = random_bins()
    one = density(digit_model(bins), DIGITS, POINT, min_mass=0.0)
    other = density(triple_logits(bins), WHOLE, POINT)
    for found in (one, other):
        np.testing.assert_allclose(found.bins, bins, atol=1e-9)
        assert found.bins.sum() == pytest.approx(1, abs=1e-5)
        assert found.leak == pytest.approx(0, abs=1e-9)
    mean = (bins * np.arange(1000)).sum() / 1000
    assert float(density_mean(one.bins, POINT)) == pytest.approx(mean)
    assert float(density_mean(other.bins, POINT)) == pytest.approx(mean)


def test_mass_outside_the_numbers_is_leak() -> None:
    row = torch.full((len(WHOLE),), -torch.inf)
    for token, mass in (("123", 0.3), ("400", 0.2), ("[", 0.4), ("123,", 0.1)):
        row[WHOLE.convert_tokens_to_ids(token)] = math.log(mass)
    found = density(row, WHOLE, POINT)
    assert found.leak == pytest.approx(0.5)
    assert found.bins[123] == pytest.approx(0.6)
    with_end = density(row, WHOLE, POINT, terminator=",")
    assert with_end.leak == pytest.approx(0.4)
    assert with_end.bins[123] == pytest.approx(4 / 6)
    assert density(row, WHOLE, POSE).leak == pytest.approx(0.7)  # 400 is no angle, nor is "123,"


def test_prefixes_of_little_mass_are_not_followed() -> None:
    found = density(digit_model(random_bins()), DIGITS, POINT, min_mass=0.2)
    assert 0.5 < found.leak <= 1


def test_no_mass_at_all_is_uniform_with_full_leak() -> None:
    row = np.full(len(WHOLE), -np.inf)
    row[WHOLE.convert_tokens_to_ids("[")] = 0
    found = density(row, WHOLE, POSE)
    assert found.leak == 1
    np.testing.assert_allclose(found.bins, 1 / 360)


def test_mean_of_angles_goes_round_the_circle() -> None:
    bins = np.zeros((2, 360))
    bins[0, [359, 1]] = 0.5
    bins[1, 170] = 1
    np.testing.assert_allclose(density_mean(bins, POSE), (0, 170), atol=1e-9)


def test_floored_numbers_have_their_mean_in_the_middle() -> None:
    bins = np.zeros(1000)
    bins[500] = 1
    assert float(density_mean(bins, CodecSpec("point", rounding="floor"))) == pytest.approx(0.5005)


def test_confidence_is_that_of_the_numbers() -> None:
    tokens = ("[[", "012", ",", "034", ",", "056", ",", "078", ";", "112,", "134,156,", "178", "]]")
    p = (0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.1, 0.6, 0.1, 0.5, 0.4, 0.25, 0.1)
    answer = parse("".join(tokens), BOXES)
    read = with_confidence(answer, tokens, [math.log(x) for x in p])
    first, second = (0.9 * 0.8 * 0.7 * 0.6) ** (1 / 4), (0.5 * 0.4 * 0.25) ** (1 / 3)
    assert read.item_confidences == pytest.approx((first, second))
    assert read.confidence == pytest.approx((first**4 * second**3) ** (1 / 7))
    assert answer.confidence is None


def test_confidence_when_the_text_was_trimmed() -> None:
    tokens = (" ", "{", "315", ",", "007", ",", "0", "00", "}", "<eos>")
    logprobs = [math.log(x) for x in (0.1, 0.1, 0.5, 0.1, 0.5, 0.1, 0.5, 0.5, 0.1, 0.1)]
    read = with_confidence(parse("{315,007,000}", POSE), tokens, logprobs)
    assert read.confidence == pytest.approx(0.5)


def test_confidence_of_no_box_is_that_of_the_word() -> None:
    read = with_confidence(parse("none", BOXES), ("no", "ne"), (math.log(0.5), math.log(0.5)))
    assert read.confidence == pytest.approx(0.5)
    assert read.item_confidences == ()


@pytest.mark.parametrize(
    ("text", "tokens", "logprobs"),
    [
        ("{315,007,000}", ("other",), (0.0,)),
        ("{315,007}", ("{315,007}",), (0.0,)),
        ("{315,007,000}", ("{315,007,000}",), ()),
        ("", (), ()),
    ],
)
def test_no_confidence_without_tokens_that_fit(text: str, tokens: Any, logprobs: Any) -> None:
    assert with_confidence(parse(text, POSE), tokens, logprobs).confidence is None
