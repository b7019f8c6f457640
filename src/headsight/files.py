"""Files that are old or new, never half: atomic writes, and a journal for long jobs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Journal", "write_atomic"]


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds either its old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


class Journal:
    """One JSON line per finished item; a torn last line is dropped when it is opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = list(self._read())
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = "".join(json.dumps(r) + "\n" for r in self.records)
        write_atomic(path, kept.encode())
        self._file = path.open("a", encoding="utf-8")

    def _read(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        for line in self.path.read_text("utf-8", errors="replace").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:  # torn by a kill: all that follows is lost with it
                return

    def add(self, record: dict[str, Any]) -> None:
        """Append one finished item and make sure it is on the disk."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        self.records.append(record)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
