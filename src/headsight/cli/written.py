"""Telling what a command wrote, on stderr, so that stdout holds the result alone."""

from __future__ import annotations

__all__ = ["tell_written"]

import sys
from pathlib import Path


def tell_written(*paths: Path, quiet: bool) -> None:
    """One line a file that was written."""
    if not quiet:
        sys.stderr.writelines(f"written: {path}\n" for path in paths)
