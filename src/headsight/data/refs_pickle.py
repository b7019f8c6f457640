"""The refs pickle of RefCOCO, read without trusting it: plain values only, no code."""

from __future__ import annotations

__all__ = ["load_plain_pickle"]

import pickle
from pathlib import Path
from typing import Any, NoReturn

from headsight.errors import AnnotationError


def load_plain_pickle(path: Path) -> Any:
    """The dicts, lists, tuples, sets, strings, numbers and None that a pickle holds.

    A pickle that names any class or function is refused before that name is looked up, so nothing
    in it can run. Strings of Python 2 are read as latin-1.

    Raises:
        AnnotationError: it asks for more than plain values, or is damaged.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="latin1").load()
    except _Refused as error:
        raise AnnotationError(
            f"{path} wants to load {error}, which could run code, so it was not read. A refs file"
            " holds plain lists, dicts, strings and numbers only: fetch it again from its source,"
            " or save it as JSON."
        ) from error
    except (
        ArithmeticError, AttributeError, EOFError, ImportError, LookupError, MemoryError,
        OSError, RecursionError, TypeError, ValueError, pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise AnnotationError(
            f"{path} cannot be read as a refs pickle: {type(error).__name__} {error}. Expected a"
            " pickled list of dicts; fetch it again."
        ) from error


class _Refused(Exception):
    """A name in the pickle."""


class _PlainUnpickler(pickle.Unpickler):
    """Builds plain containers only."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise _Refused(f"{module_name}.{global_name}")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        raise _Refused("an object kept elsewhere")
