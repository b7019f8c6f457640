"""Which packages a result was made with."""

from __future__ import annotations

__all__ = ["versions"]


def versions(*more: str) -> dict[str, str]:
    """Versions of headsight, torch, transformers and `more` packages, as far as they are here."""
    from importlib.metadata import PackageNotFoundError, version

    from headsight import __version__

    found = {"headsight": __version__}
    for name in ("torch", "transformers", *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
