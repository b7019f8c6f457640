"""The scripts of a reproduction as modules."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

REPRODUCTIONS = Path(__file__).parents[2] / "reproductions"


@contextmanager
def scripts_of(name: str) -> Iterator[SimpleNamespace]:
    """Every script of `reproductions/<name>` by its stem.

    They import each other by bare names, which other reproductions use too: afterwards none stays.
    """
    folder = REPRODUCTIONS / name
    stems = sorted(path.stem for path in folder.glob("*.py"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for stem in stems:
            patch.delitem(sys.modules, stem, raising=False)
        try:
            yield SimpleNamespace(**{stem: importlib.import_module(stem) for stem in stems})
        finally:
            for stem in stems:
                sys.modules.pop(stem, None)
