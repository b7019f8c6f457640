"""Memory of this process."""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["peak_mb", "status_mb"]


def peak_mb() -> float:
    """Largest resident memory so far, MB.

    From /proc where there is one: on Linux `ru_maxrss` starts at what the parent process held when
    it started this one, so that a small child of a large parent looks large.
    """
    if Path("/proc/self/status").exists():
        return status_mb("VmHWM")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KB; bytes on macOS
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def status_mb(field: str) -> float:
    """A figure of /proc/self/status (Linux), MB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, f"/proc/self/status has no {field}"
    return int(found[1]) / 1e3
