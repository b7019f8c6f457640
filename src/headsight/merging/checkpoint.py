"""A checkpoint folder by its headers alone: what tensors there are and where their bytes lie."""

from __future__ import annotations

__all__ = ["Checkpoint", "Stored", "open_checkpoint", "read_header", "read_json"]

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headsight.errors import CheckpointError
from headsight.merging.numbers import FLOATS, ITEM_BYTES

_SHOWN = 5
_INDEX = "model.safetensors.index.json"
_LARGEST_HEADER = 100_000_000
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_QUANTISED_ENDINGS = (".qweight", ".qzeros", ".absmax", ".SCB", ".weight_scale", ".quant_map")


@dataclass(frozen=True)
class Stored:
    """One tensor in a file."""

    file: Path
    dtype: str
    """As safetensors has it: BF16, F32, ..."""
    shape: tuple[int, ...]
    begin: int
    """Byte of the file at which it starts."""

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes."""
        return self.size * ITEM_BYTES[self.dtype]

    @property
    def is_float(self) -> bool:
        """Whether it can be averaged."""
        return self.dtype in FLOATS

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Its bytes from number `start` to `stop`, by one `pread`: resident memory stays honest.

        Raises:
            CheckpointError: the file ends before.
        """
        item = ITEM_BYTES[self.dtype]
        raw = np.empty(((self.size if stop is None else stop) - start) * item, np.uint8)
        view, at = raw.data, self.begin + start * item
        descriptor = os.open(self.file, os.O_RDONLY)
        try:
            while len(view):
                got = os.preadv(descriptor, [view], at)
                if got <= 0:
                    raise CheckpointError(
                        f"{self.file} became shorter while it was read. Get the file again."
                    )
                view, at = view[got:], at + got
        finally:
            os.close(descriptor)
        return raw


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model folder: config.json, and where every tensor lies."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Stored]
    stamp: str = field(repr=False)
    """Differs where the files differ in name, size, time or header: what a resumed job compares."""


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read config.json and the headers of all safetensors files of a model folder.

    Raises:
        CheckpointError: no folder, no weights, damaged files, pickles, or quantised weights.
    """
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "does not exist"
        raise CheckpointError(
            f"{folder} {what}. Pass a folder with config.json and safetensors files; a hub id must"
            " be downloaded first."
        )
    config = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
    files = _weight_files(folder)
    home = _homes(folder)
    tensors: dict[str, Stored] = {}
    stamp = hashlib.sha256()
    for file in files:
        header, start = read_header(file)
        status = file.stat()
        stamp.update(f"{file.name} {status.st_size} {status.st_mtime_ns} {header!r}".encode())
        for name, entry in header.items():
            if home.get(name, file.name) != file.name:
                continue  # a copy that was left behind; the index names another file
            if name in tensors:
                raise CheckpointError(
                    f"{folder} holds {name} twice, in {tensors[name].file.name} and {file.name}."
                    " Delete the file that does not belong there."
                )
            tensors[name] = Stored(
                file, entry["dtype"], tuple(entry["shape"]), start + entry["data_offsets"][0]
            )
    _refuse_quantised(folder, config, tensors)
    return Checkpoint(folder, config, tensors, stamp.hexdigest())


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`.

    Raises:
        CheckpointError: it cannot be read, or is something else.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as JSON: {error}. Get the file again."
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds a {type(values).__name__}; expected a JSON object.")
    return values


def read_header(file: Path) -> tuple[dict[str, Any], int]:
    """The entries of a safetensors file without its metadata, and the byte where data start.

    Raises:
        CheckpointError: no such file, damaged or cut, or a type that cannot be copied.
    """
    try:
        with file.open("rb") as opened:
            prefix = opened.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else _LARGEST_HEADER + 1
            text = opened.read(length) if length <= _LARGEST_HEADER else b""
        header = json.loads(text.decode("utf-8"))
        header.pop("__metadata__", None)
        start, end = 8 + length, 0
        for name, entry in header.items():
            begin, stop = entry["data_offsets"]
            size = math.prod(entry["shape"]) * ITEM_BYTES.get(entry["dtype"], 0)
            if entry["dtype"] in ITEM_BYTES and stop - begin != size:
                raise ValueError(f"{name} has {stop - begin} bytes instead of {size}")
            end = max(end, stop)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file} cannot be read as safetensors: {error}. It is damaged or something else; get"
            " it again."
        ) from error
    if file.stat().st_size < start + end:
        raise CheckpointError(
            f"{file} has {file.stat().st_size} bytes, but its header promises {start + end}: it is"
            " cut. Get it again."
        )
    return header, start


def _homes(folder: Path) -> dict[str, str]:
    """The file of each tensor, where an index tells it."""
    if (folder / "model.safetensors").exists() or not (folder / _INDEX).exists():
        return {}
    named = read_json(folder / _INDEX).get("weight_map")
    return {str(k): Path(str(v)).name for k, v in named.items()} if isinstance(named, dict) else {}


def _weight_files(folder: Path) -> list[Path]:
    if (folder / "model.safetensors").exists():
        return [folder / "model.safetensors"]
    if (folder / _INDEX).exists():
        named = read_json(folder / _INDEX).get("weight_map")
        names = sorted({str(n) for n in named.values()}) if isinstance(named, dict) else []
        missing = [n for n in names if not (folder / Path(n).name).is_file()]
        if missing or not names:
            raise CheckpointError(
                f"{folder} lacks {len(missing)} of the {len(names)} files that {_INDEX} names"
                f" ({', '.join(missing[:_SHOWN])}). Get the missing files."
            )
        return [folder / Path(n).name for n in names]
    if found := sorted(folder.glob("*.safetensors")):
        return found
    pickles = [p.name for p in sorted(folder.iterdir()) if p.suffix in _PICKLES]
    if pickles:
        raise CheckpointError(
            f"{folder} holds its weights as pickles ({pickles[0]}), which may run code and are"
            " never opened. Save it as safetensors, or get that version."
        )
    raise CheckpointError(
        f"{folder} holds no weights (no .safetensors file). Pass the folder that save_pretrained"
        " wrote."
    )


def _refuse_quantised(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Stored]
) -> None:
    way = config.get("quantization_config")
    odd = [n for n, t in tensors.items() if t.dtype not in ITEM_BYTES]
    packed = [n for n in tensors if n.endswith(_QUANTISED_ENDINGS)]
    packed += [n for n, t in tensors.items() if n.endswith(".weight") and not t.is_float]
    if way is None and not odd and not packed:
        return
    how = way.get("quant_method", "a quantization_config") if isinstance(way, dict) else None
    example = next(iter([*odd, *packed]), None)
    shown = f"{example} is {tensors[example].dtype}" if example else "as config.json says"
    raise CheckpointError(
        f"{folder} is quantised ({how or 'packed weights'}; {shown}), and packed weights have no"
        " meaningful average. Merge the checkpoint it was made from, then quantise the result."
    )
