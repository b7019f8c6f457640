"""Safetensors written from the front: the header first, then numbers where they belong."""

from __future__ import annotations

__all__ = ["WeightFile", "copy_bytes", "file_hash", "header_bytes"]

import errno
import hashlib
import json
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headsight.errors import CheckpointError
from headsight.merging.checkpoint import Stored
from headsight.merging.numbers import ITEM_BYTES
from headsight.merging.plan import OutFile, OutTensor

_PIECE = 1 << 22


def header_bytes(tensors: Sequence[OutTensor]) -> tuple[bytes, dict[str, int]]:
    """What a file of these tensors starts with, and the byte at which each begins."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [end, end + tensor.nbytes],
        }
        end += tensor.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    first = 8 + len(text)
    begins = {t.name: first + entries[t.name]["data_offsets"][0] for t in tensors}
    return struct.pack("<Q", len(text)) + text, begins


class WeightFile:
    """A file that has its name only when it is whole: until then `.partial` follows it."""

    def __init__(self, folder: Path, plan: OutFile) -> None:
        self.path = folder / plan.name
        self._part = folder / f"{plan.name}.partial"
        header, self._begins = header_bytes(plan.tensors)
        with told(self.path):
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
            self._descriptor = os.open(self._part, flags, 0o644)
            try:
                if hasattr(os, "posix_fallocate"):  # a full disk is found now, not in an hour
                    os.posix_fallocate(self._descriptor, 0, len(header) + plan.nbytes)
                os.pwrite(self._descriptor, header, 0)
            except BaseException:
                self.drop()
                raise

    def write(self, name: str, byte: int, data: NDArray[np.uint8]) -> None:
        """Put bytes at `byte` of the tensor `name`."""
        view, at = data.data, self._begins[name] + byte
        with told(self.path):
            while len(view):
                done = os.pwrite(self._descriptor, view, at)
                view, at = view[done:], at + done

    def copy(self, name: str, byte: int, stored: Stored, start: int, stop: int) -> None:
        """Put the bytes of another file there as they are, from number `start` to `stop`."""
        item = ITEM_BYTES[stored.dtype]
        source = os.open(stored.file, os.O_RDONLY)
        try:
            with told(self.path):
                copy_bytes(
                    source,
                    stored.begin + start * item,
                    self._descriptor,
                    self._begins[name] + byte,
                    (stop - start) * item,
                )
        finally:
            os.close(source)

    def finish(self) -> None:
        """Make sure that all is on the disk, and give the file its name."""
        with told(self.path):
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._part.replace(self.path)

    def drop(self) -> None:
        """Close and delete what there is."""
        os.close(self._descriptor)
        self._part.unlink(missing_ok=True)


def copy_bytes(source: int, begin: int, target: int, at: int, count: int) -> None:
    """Copy between open files, in the kernel where it can.

    Raises:
        OSError: the disk is full, or the source ends before.
    """
    in_kernel = hasattr(os, "copy_file_range")
    while count:
        if in_kernel:
            try:
                done = os.copy_file_range(source, target, count, begin, at)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                in_kernel = False
                continue
        else:
            done = os.pwrite(target, os.pread(source, min(count, _PIECE), begin), at)
        if done == 0:
            raise OSError(errno.EIO, "a source file became shorter while it was read")
        begin, at, count = begin + done, at + done, count - done


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say what a failed write means.

    Raises:
        CheckpointError: in the place of OSError.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be written: {error.strerror}. What was there before is unchanged."
            " Make room on the disk and run the same command again; finished files are kept."
        ) from error
