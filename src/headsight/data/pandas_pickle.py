"""Tables that pandas pickled, read without pandas and without trusting them.

Names of pandas in the pickle stand for empty pieces that only keep what they are given; arrays and
plain values are built, every other name is refused before it is looked up, so nothing in the file
can run. Known forms: pandas 0.14 to 1.2 (a state of four parts) and 1.3 to 3 (blocks and axes).
"""

from __future__ import annotations

__all__ = ["read_pickled_table"]

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headsight.errors import AnnotationError

_OLD_STATE = "0.14.1"
_FAULTS = (
    ArithmeticError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OSError,
    RecursionError, TypeError, ValueError, pickle.UnpicklingError,
)  # fmt: skip


def read_pickled_table(path: Path) -> dict[str, list[Any]]:
    """Columns by name, each a list with an entry a row.

    Raises:
        AnnotationError: the file asks for more than a table, is damaged, or of an unknown form.
    """
    try:
        with path.open("rb") as file:
            table = _TableUnpickler(file, encoding="latin1").load()
        return dict(_columns(table))
    except _Refused as error:
        raise AnnotationError(
            f"{path} wants to load {error}, which could run code, so it was not read. A pickled"
            " table holds arrays and plain values only: fetch it again from its source."
        ) from error
    except _FAULTS as error:
        raise AnnotationError(
            f"{path} cannot be read as a table of pandas: {type(error).__name__} {error}. Fetch it"
            " again, or save it anew with a pandas from 1.0 to 3."
        ) from error


class _Refused(Exception):
    """A name in the pickle."""


class _Piece:
    """What was given to a class or function of pandas."""

    def __new__(cls, *arguments: Any, **_named: Any) -> _Piece:
        piece = super().__new__(cls)
        piece.arguments = arguments
        piece.state = None
        return piece

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        """Nothing more than what `__new__` keeps."""

    arguments: tuple[Any, ...]
    state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _TableUnpickler(pickle.Unpickler):
    """Builds plain containers, numpy arrays and pieces."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        root = module_name.partition(".")[0]
        if root == "pandas":
            return type(global_name, (_Piece,), {})
        name = f"{module_name.replace('numpy._core', 'numpy.core')}.{global_name}"
        if name in _SAFE:
            return _SAFE[name]
        raise _Refused(f"{module_name}.{global_name}")

    def persistent_load(self, pid: Any, /) -> Any:
        raise _Refused("an object kept elsewhere")


def _encode(text: str, _encoding: str = "latin1") -> bytes:
    """Bytes, as pickles of protocol 2 hold them."""
    return text.encode("latin1")


_SAFE: dict[str, Any] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray._reconstruct": np.zeros(1).__reduce__()[0],
    "numpy.core.multiarray.scalar": np.float64(0).__reduce__()[0],
    "numpy.core.numeric._frombuffer": lambda data, dtype, shape, order: np.frombuffer(
        data, dtype
    ).reshape(shape, order=order),
    "builtins.slice": slice,
    "__builtin__.slice": slice,
    "_codecs.encode": _encode,
}


def _columns(table: Any) -> Iterator[tuple[str, list[Any]]]:
    """Name and entries of every column."""
    state = table.state if isinstance(table, _Piece) else None
    if not isinstance(state, dict) or not {"_mgr", "_data"} & state.keys():
        raise ValueError("it is no DataFrame")
    manager = state.get("_mgr", state.get("_data"))
    names, blocks = _parts(manager)
    for values, places in blocks:
        for row, place in enumerate(places):
            yield str(names[place]), list(values[row])


def _parts(manager: Any) -> tuple[list[Any], list[tuple[Any, Any]]]:
    """Names of the columns, and the blocks: values (columns x rows) and which columns they are."""
    if isinstance(manager.state, tuple) and len(manager.state) == 4:
        known = manager.state[3][_OLD_STATE]
        axes = known["axes"]
        blocks = [(b["values"], b["mgr_locs"]) for b in known["blocks"]]
    else:
        found, axes = manager.arguments
        blocks = [(b.arguments[0], b.arguments[1]) for b in found]
    names = list(_array(axes[0]))
    return names, [
        (np.atleast_2d(_array(values)), np.arange(len(names))[places]) for values, places in blocks
    ]


def _array(piece: Any) -> Any:
    """The first array in a piece, such as an index or an array of strings."""
    if isinstance(piece, np.ndarray):
        return piece
    if isinstance(piece, _Piece):
        inside = (*piece.arguments, piece.state)
    elif isinstance(piece, dict):
        inside = tuple(piece.values())
    elif isinstance(piece, (list, tuple)):
        inside = tuple(piece)
    else:
        return None
    return next((found for p in inside if (found := _array(p)) is not None), None)
