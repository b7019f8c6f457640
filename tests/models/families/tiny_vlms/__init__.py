"""Tiny random models with real processors, one file a family; found by their file.

Each file gives `BUILDERS`: for each name in `FAMILIES` that it covers, one or several functions
that build a `Tiny` (a function of a second case is keyed "<name>/<case>").
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module

from tiny_vlms.tiny import Tiny

BUILDERS: dict[str, Callable[[], Tiny]] = {}
for _found in pkgutil.iter_modules(__path__):
    BUILDERS |= getattr(import_module(f"{__name__}.{_found.name}"), "BUILDERS", {})
