from __future__ import annotations

import json
from typing import Any

import pytest

from headsight.errors import ConfigError
from headsight.language.codec import CodecSpec
from headsight.language.spec import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_read_back(kind: Any) -> None:
    spec = CodecSpec(kind, digits=4, rounding="floor", frame="crop", visibility="ask")
    assert CodecSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert spec.steps == 10_000


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'rouding'\. Did you mean 'rounding'"):
        CodecSpec.from_dict({"kind": "boxes", "rouding": "floor"})
    with pytest.raises(ConfigError, match="no key 'kind'"):
        CodecSpec.from_dict({"digits": 3})


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "box"},
        {"kind": "boxes", "rounding": "ceil"},
        {"kind": "boxes", "frame": "tile"},
        {"kind": "boxes", "digits": 0},
        {"kind": "boxes", "digits": 2.5},
        {"kind": "pose", "convention": "yaw-right"},
        {"kind": "point", "visibility": "maybe"},
    ],
)
def test_values_are_checked(values: dict[str, Any]) -> None:
    name = list(values)[-1]
    # With run-time type checks on, a wrong choice is a TypeError already.
    with pytest.raises((ConfigError, TypeError), match=f"{name} is|parameter '{name}'"):
        CodecSpec.from_dict(values)


def test_texts_of_another_codec_are_refused_unless_forced() -> None:
    mine, other = CodecSpec("boxes"), CodecSpec("boxes", digits=2, rounding="floor")
    mine.require_same(CodecSpec("boxes"))
    mine.require_same(other, force=True)
    with pytest.raises(
        ConfigError, match=r"digits 2 \(here 3\), rounding 'floor' \(here 'round'\)"
    ):
        mine.require_same(other)
