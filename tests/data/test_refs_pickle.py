"""A pickle from anywhere: plain values are read, nothing else is even looked up."""

from __future__ import annotations

import collections
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headsight.data.refs_pickle import load_plain_pickle
from headsight.errors import AnnotationError

PLAIN: dict[str, Any] = {
    "list": [1, -2, 3.5, None, True, 2**70],
    "tuple": ("a", b"b", ("c",)),
    "set": {1, 2},
    "text": "Zürich",
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_back(tmp_path: Path, protocol: int) -> None:
    plain = PLAIN if protocol > 3 else {k: v for k, v in PLAIN.items() if k not in ("set", "tuple")}
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps(plain, protocol))
    assert load_plain_pickle(path) == plain


def test_strings_of_python_2(tmp_path: Path) -> None:
    """`{'sent': 'caf\\xe9', u'raw': u'\\xe9'}` as Python 2 wrote it with protocol 0."""
    path = tmp_path / "refs.p"
    path.write_bytes(b"(dp0\nS'sent'\np1\nS'caf\\xe9'\np2\nsVraw\np3\nV\xe9\np4\ns.")
    assert load_plain_pickle(path) == {"sent": "café", "raw": "é"}


class Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def attacks(mark: Path) -> dict[str, bytes]:
    """Pickles that would make the file `mark`."""
    make = f"touch {mark}"
    code = f"__import__('os').mkdir({str(mark)!r})"
    named = f"cposix\nsystem\n(S'{make}'\ntR."
    return {
        "system": pickle.dumps([Runs(os.system, make)]),
        "eval": pickle.dumps({"refs": Runs(eval, code)}, 2),
        "exec, protocol 0": pickle.dumps(Runs(exec, code), 0),
        "mkdir": pickle.dumps(Runs(os.mkdir, str(mark)), 5),
        "by hand": named.encode(),
        "INST": f"(S'{make}'\nios\nsystem\n.".encode(),
        "OBJ": f"(cos\nsystem\nS'{make}'\no.".encode(),
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c"
        + bytes([len(make)]) + make.encode() + b"\x85R.",
        "after good data": pickle.dumps([1, 2])[:-1] + b"0" + named.encode(),
    }  # fmt: skip


@pytest.mark.parametrize("name", attacks(Path("x")))
def test_nothing_runs(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "refs(umd).p"
    path.write_bytes(attacks(mark)[name])
    with pytest.raises(AnnotationError, match=r"refs\(umd\)\.p wants to load .*could run code"):
        load_plain_pickle(path)
    assert not mark.exists()


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """The same bytes, read without care, do make the file: the tests above can fail."""
    for name, data in attacks(tmp_path / "mark").items():
        pickle.loads(data)  # ours, made above
        mark = tmp_path / "mark"
        assert mark.exists(), name
        mark.rmdir() if mark.is_dir() else mark.unlink()


@pytest.mark.parametrize(
    "value",
    [collections.OrderedDict(a=1), Path("a"), complex(1, 2), range(3), collections.Counter()],
)
def test_even_harmless_classes_are_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(AnnotationError, match="wants to load"):
        load_plain_pickle(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no pickle",
        b"<!DOCTYPE html><html>",
        pickle.dumps(PLAIN)[:-3],
        b"Pid\n.",
        b"\x80\x63.",
        b"]}b.",
        b"\x80\x02\x82\x01.",
        b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
    ],
)
def test_damage_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(data)
    with pytest.raises(AnnotationError, match=r"refs\.p"):
        load_plain_pickle(path)


@settings(max_examples=60)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory: Any, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.p"
    path.write_bytes(data.replace(b"r", b"q").replace(b"j", b"h"))  # no huge memo indices
    with suppress(AnnotationError):  # anything else is a failure
        load_plain_pickle(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="FileNotFoundError"):
        load_plain_pickle(tmp_path / "refs.p")
