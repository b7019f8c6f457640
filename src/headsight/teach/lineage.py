"""Where a checkpoint comes from: its parents, its data by hash, and the settings behind it."""

from __future__ import annotations

__all__ = ["Lineage", "manifest"]

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headsight.errors import ResumeError
from headsight.files import write_atomic
from headsight.versions import versions

SCHEMA = "headsight.lineage/1"


@dataclass(frozen=True)
class Lineage:
    """One stage's origin."""

    stage: str
    mark: str
    """Hash of settings, data and parents: what makes two runs of a stage the same."""
    parents: Mapping[str, str]
    """Mark of each parent stage, by name; of the first model the fingerprint of its weights."""
    data: Mapping[str, str]
    """Hash of each data file, by path."""
    facts: Mapping[str, Any]
    """Steps, samples, weights that learned, or what was merged."""

    def save(self, path: Path) -> None:
        """Write as JSON, with the versions of what it was made with."""
        made_with = versions("peft", "accelerate", "safetensors")
        record = {"schema": SCHEMA, **asdict(self), "versions": made_with}
        write_atomic(path, json.dumps(record, indent=1, default=str).encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> Lineage | None:
        """What `save` wrote; None where nothing is.

        Raises:
            ResumeError: the file cannot be read.
        """
        if not path.exists():
            return None
        try:
            record = json.loads(path.read_text("utf-8"))
            return cls(*(record[k] for k in ("stage", "mark", "parents", "data", "facts")))
        except (OSError, ValueError, KeyError) as error:
            raise ResumeError(
                f"{path} cannot be read ({error}). Delete its folder to run the stage anew."
            ) from error


def manifest(paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of every label file, by path; of a folder that of its annotations.json."""
    hashes = {}
    for path in paths:
        file = path / "annotations.json" if path.is_dir() else path
        hashes[str(path)] = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""
    return hashes
