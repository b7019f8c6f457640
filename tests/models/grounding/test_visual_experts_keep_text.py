"""Training a visual expert leaves the language as it was, bit for bit; training the decoder does not.

The ways of `reproductions/cogvlm/visual_experts.py`, a few steps of each. That the expert also
finds boxes better than the adapter alone takes minutes: the script shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from scripts import scripts_of


@pytest.fixture
def script() -> Iterator[ModuleType]:
    """The experiment as a module."""
    with scripts_of("cogvlm") as found:
        yield found.visual_experts


def test_which_way_keeps_the_text(script: ModuleType) -> None:
    settings = script.Settings(
        hidden_size=32, layers=2, text_steps=10, picture_steps=4, text_batch=8, picture_batch=8,
        held_out=8,
    )  # fmt: skip
    outcomes = {outcome.way: outcome for outcome in script.run_seed(settings, 0)}
    for way in ("adapter", "expert"):
        assert outcomes[way].logits_equal
        assert outcomes[way].perplexity_after == outcomes[way].perplexity_before
    assert not outcomes["language"].logits_equal
    assert outcomes["language"].perplexity_after != outcomes["language"].perplexity_before
    trained = [outcomes[way].trained_parameters for way in script.WAYS]
    assert trained == sorted(set(trained))
    assert script.table(list(outcomes.values())).count("the same bits in 1 of 1") == 2


def test_the_encoder_is_never_trained(script: ModuleType) -> None:
    settings = script.Settings(hidden_size=32, layers=1)
    for way in script.WAYS:
        model = script.GroundingVLM(script.config(settings, way))
        script.unfreeze(model, way)
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        assert {"model.vision.boi", "model.vision.eoi"} < trained
        assert not any("patch_embedding" in name or ".transformer." in name for name in trained)
        assert any("vision_mlp" in name for name in trained) == (way == "expert")
        assert ("model.embed_tokens.weight" in trained) == (way == "language")


def test_the_examples_are_what_they_say(script: ModuleType) -> None:
    """The inside of the box has the colour that is asked for, and the answer is its box."""
    from coloured_squares import COLOURS

    rng = np.random.default_rng(0)
    for _ in range(50):
        shown = script.example(rng)
        x0, y0, x1, y1 = (shown.box_rel * script.SIDE).round().astype(int)
        inside = np.asarray(shown.picture, np.float64)[y0:y1, x0:x1].mean((0, 1))
        names = list(COLOURS)
        off = [np.abs(inside - COLOURS[name]).max() for name in names]
        assert f"the {names[int(np.argmin(off))]} box" in shown.question
        answer = script.parse(shown.answer, script.BOXES)
        assert answer.strict
        assert answer.value[0] == pytest.approx(shown.box_rel, abs=1.1e-3)  # 999 is the border
