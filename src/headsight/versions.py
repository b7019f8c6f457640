"""Which packages a result was made with."""

from __future__ import annotations

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """What a result was made with."""
    from importlib.metadata import version

    from headsight import __version__

    return {
        "headsight": __version__,
        "torch": version("torch"),
        "transformers": version("transformers"),
    }
