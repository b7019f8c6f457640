"""The encoder's tokens of pictures, computed once: what an encoder that does not learn needs."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["FeatureStore", "picture_hash"]

import hashlib
import io
from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headsight.errors import ImageError
from headsight.files import write_shared
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.picture import Picture, open_picture

_MOST_IN_MEMORY = 2 * 2**30
"""Bytes; of nano's tokens some 50 000 pictures, of CogVLM's 240."""


class FeatureStore:
    """Tokens of every picture that was asked for, in memory and, with a folder, on the disk.

    They are kept under the picture and the weights of the encoder, so that runs may share a folder.
    """

    def __init__(self, vlm: GroundingAdapter, folder: Path | None = None) -> None:
        self._vlm = vlm
        self._folder = folder
        self._encoder = _fingerprint(vlm)
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = Lock()

    def __call__(self, source: Path | bytes) -> Float[Tensor, "1 n c"]:
        """The tokens of a picture, fp32 on the CPU; it is opened only the first time.

        Raises:
            ImageError: it cannot be opened.
        """
        data = source if isinstance(source, bytes) else read_picture(source)
        key = hashlib.sha256(self._encoder + data).hexdigest()[:32]
        with self._lock:
            tokens = self._kept.get(key)
            if tokens is None:
                tokens = self._load(key)
            if tokens is None:
                tokens = self._compute(open_picture(data))
                self._save(key, tokens)
            self._kept[key] = tokens
            self._kept.move_to_end(key)
            while len(self._kept) * tokens.nbytes > _MOST_IN_MEMORY:
                self._kept.popitem(last=False)
        return tokens

    def _compute(self, picture: Picture) -> Tensor:
        vlm = self._vlm
        pixels, shares = vlm.processor.pixels([picture])
        device, dtype = vlm.model.device, vlm.model.dtype
        pixels = pixels.to(device, dtype, memory_format=torch.channels_last)
        with torch.inference_mode():
            tokens = vlm.model.model.encode_pictures(pixels, shares.to(device, dtype))
        result: Tensor = tokens.float().cpu().clone()
        return result

    def _load(self, key: str) -> Tensor | None:
        if self._folder is None:
            return None
        try:
            return torch.from_numpy(np.load(self._folder / f"{key}.npy"))
        except (EOFError, OSError, ValueError):  # not there, or damaged
            return None

    def _save(self, key: str, tokens: Tensor) -> None:
        if self._folder is not None:
            buffer = io.BytesIO()
            np.save(buffer, tokens.numpy())
            write_shared(self._folder / f"{key}.npy", buffer.getvalue())


def picture_hash(source: Path | bytes) -> str:
    """What identifies a picture: SHA-256 of its file.

    Raises:
        ImageError: it cannot be read.
    """
    data = source if isinstance(source, bytes) else read_picture(source)
    return hashlib.sha256(data).hexdigest()


def read_picture(path: Path) -> bytes:
    """The encoded picture.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error}. Check the path.") from error


def _fingerprint(vlm: GroundingAdapter) -> bytes:
    """Hash of all that makes tokens of a picture."""
    digest = hashlib.sha256(repr(vlm.processor.to_dict()).encode())
    vision = vlm.model.model.vision
    assert vision is not None
    for name, tensor in sorted(vision.state_dict().items()):
        if not name.startswith(("linear_proj", "boi", "eoi")):
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.digest()
