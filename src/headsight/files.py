"""Files that are old or new, never half: atomic writes, and a journal for long jobs."""

from __future__ import annotations

__all__ = ["Journal", "write_atomic", "write_shared"]

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds either its old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_shared(path: Path, data: bytes) -> None:
    """As `write_atomic`, of a file that several processes may write at once."""
    own = path.with_name(f"{path.name}.{os.getpid()}")
    write_atomic(own, data)
    own.replace(path)


class Journal:
    """One JSON line per finished item; a torn last line is dropped when it is opened again."""

    records: list[dict[str, Any]]
    """Everything written so far, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self.records, good_bytes = _whole_lines(path.read_bytes())
        self._file = path.open("r+b")
        self._file.truncate(good_bytes)
        self._file.seek(good_bytes)

    def add(self, record: dict[str, Any]) -> None:
        """Append one finished item and make sure it is on the disk."""
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.records.append(record)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _whole_lines(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The records up to the first line that is torn or no record, and the bytes they take."""
    records: list[dict[str, Any]] = []
    end = 0
    for line in data.splitlines(keepends=True):
        try:
            record = json.loads(line)
        except ValueError:  # torn by a kill, or not text
            break
        if not isinstance(record, dict) or not line.endswith(b"\n"):
            break
        records.append(record)
        end += len(line)
    return records, end
