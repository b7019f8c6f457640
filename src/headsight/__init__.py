"""Headsight: a picture and words go in, typed places come out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headsight.detections import Detections
    from headsight.grounder import Grounder, load
    from headsight.picture import Picture, open_picture

__all__ = ["Detections", "Grounder", "Picture", "__version__", "load", "open_picture"]

__version__ = "0.1.0"

_HOMES = {
    "Detections": "headsight.detections",
    "Grounder": "headsight.grounder",
    "Picture": "headsight.picture",
    "load": "headsight.grounder",
    "open_picture": "headsight.picture",
}


def __getattr__(name: str) -> Any:
    """The public name, imported when first asked for: `import headsight` loads nothing heavy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'headsight' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
