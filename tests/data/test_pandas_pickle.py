"""Pickled tables: read without pandas, and without running what is in them."""

from __future__ import annotations

import base64
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_sets import pickled_table

from headsight.data.pandas_pickle import read_pickled_table
from headsight.errors import AnnotationError

PANDAS_3 = (
    "c-oCq&u`N(6mHsdV;et(C`e3$3sQTDG)^3lI<|_6MFcb?;4)cG;>J-ECyE`dm6(7-%O?4T`G5G6;I<n)J1uR2!"
    "=fm8iQo6W_u1e3WPj_}HFL?e9J3H}B{zCl;O7NSiTbKKpVg^qOB<z8q2x}L;{;hjoR|qxFr08F#SBNJ0PNNMBn"
    "yTwt8aj}WorgON$m3lM#&qfWO*D66M}pVf^2zvB^eh59z*6fLiu>KNcVcr^vXUCh9uOmYctp!u=Pe1F^fzVtRF"
    "sD`)PY$)RCgK`C3nmbFB|#j|I(`>VLebHew2Svc<|YA3MkhP0K{YrZxyf1qm|7MNtMq<C`W^$#v*p#^=^1>cH}"
    "qW^B8bTc0SpEt}z-vi|CcIzOvc8`AoqJkLA)1($iaU7`H*W7xVTc5)U0g>T*j{!f)JulQvQ4KWbf<VhS5LkT>V"
    "F6q{d&@FnO?&wD7!+9If$W+m`E)93T`=ip^-+TAn1mxII(8oISa>X9W`d~%N)4#OTw3dUL71KqxdfR)d;;FlhO"
    "Y``<3m)3}A4}b;&FVH>d%3PqdN=Q_dN(8^!W|!TqU0uG<OIFY|6nh{B+YqjydT0mD0-dVS~Aid+FEhUzn$BY*="
    "Ec2IE`LoL1DDAAV^9cgWseb;PgHCCgyK(5{G||*JgV1ywX$+p_$Di%p$VX5gmDO@&XqE&RyDEWH~6+0fE3WNMd"
    "YkBk&y1Y6Sx`(Q*T&L|`N77z~7kfVn+|IY5I1M<%?BlO#LgC@gcZ7ZwC1*e5WvXT0>C-|!=wlK"
)
"""A DataFrame of two rows, pickled by pandas 3.1.1 with protocol 4, packed and in base 85."""


def test_a_table_of_pandas_3(tmp_path: Path) -> None:
    path = tmp_path / "table.pkl"
    path.write_bytes(zlib.decompress(base64.b85decode(PANDAS_3)))
    table = read_pickled_table(path)
    assert table == {
        "imgPath": ["a.png", "b.png"],
        "occlusion": [[1.0, 95.0], []],
        "camX": [1.5, 2.5],
        "isValid": [True, False],
    }


def test_a_table_of_old_pandas(tmp_path: Path) -> None:
    """The form of AGORA's own files; pandas 3.1.1 reads what `pickled_table` writes, too."""
    path = tmp_path / "table.pkl"
    joints = [np.arange(6.0).reshape(2, 3)]
    path.write_bytes(pickled_table({"imgPath": ["a.png", "b.png"], "gt": [joints, []]}))
    table = read_pickled_table(path)
    assert table["imgPath"] == ["a.png", "b.png"]
    np.testing.assert_array_equal(table["gt"][0][0], joints[0])
    assert table["gt"][1] == []


class Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_nothing_in_the_file_runs(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "table.pkl"
    attacks = [
        pickle.dumps(Runs(os.system, f"touch {mark}")),
        pickle.dumps(Runs(eval, f"__import__('os').mkdir({str(mark)!r})")),
        pickled_table({"a": [Runs(os.mkdir, str(mark))]}),
        b"cnumpy.f2py\nos\n.",
        b"cnumpy\nload\n(S'x'\ntR.",
    ]
    for attack in attacks:
        path.write_bytes(attack)
        with pytest.raises(AnnotationError, match=r"wants to load .*could run code"):
            read_pickled_table(path)
    path.write_bytes(b"Pabc\n.")  # a persistent id
    with pytest.raises(AnnotationError, match="kept elsewhere"):
        read_pickled_table(path)
    assert not mark.exists()


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps({"a": 1}), pickle.dumps([1])])
def test_what_is_no_table(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "table.pkl"
    path.write_bytes(data)
    with pytest.raises(AnnotationError, match="cannot be read as a table of pandas"):
        read_pickled_table(path)


def test_a_table_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "table.pkl"
    whole = zlib.decompress(base64.b85decode(PANDAS_3))
    for size in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:size])
        with pytest.raises(AnnotationError):
            read_pickled_table(path)
