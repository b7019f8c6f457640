"""Pictures from anywhere, opened safely: upright, three channels, and never larger than you allow."""

from __future__ import annotations

import glob
import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from headsight.errors import ImageError, InputError, LimitError

__all__ = ["MAX_PIXELS", "PICTURE_SUFFIXES", "Picture", "PictureSource", "expand_sources", "open_picture"]

MAX_PIXELS = 120_000_000
"""Largest picture opened by default, in pixels (width times height)."""
PICTURE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

PictureSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any] | IO[bytes]


@dataclass(frozen=True)
class Picture:
    """An upright RGB image and where it came from."""

    image: Image.Image
    source: str = "memory"
    """Path, or a word for what it was made of."""

    @property
    def image_wh(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.image.size

    def to_array(self) -> NDArray[np.uint8]:
        """The pixels, (H, W, 3)."""
        return np.asarray(self.image)


def open_picture(source: PictureSource | Picture, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """An upright RGB picture from a path, bytes, a PIL image, an array or an open binary file.

    The EXIF orientation is applied, transparency is laid over white, 16-bit and float pictures are scaled to 8 bits,
    of an animation the first frame is taken. Addresses on the network are not fetched. An array is (H, W, 3) or
    (H, W, 4) or (H, W), uint8, or floating point in [0, 1].

    Raises:
        ImageError: not a picture, damaged, truncated, or empty.
        LimitError: more than `max_pixels`, found in the header before anything is decoded.
        InputError: an array of another shape or type, or a source of another kind.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Image.Image):
        return _finish(source, "PIL image", max_pixels)
    if isinstance(source, np.ndarray):
        return _finish(_from_array(source), "array", max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), "bytes", max_pixels)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(os.fspath(source), max_pixels)
    if hasattr(source, "read"):
        data = source.read()
        if not isinstance(data, bytes):
            raise InputError(
                f"The file gives {type(data).__name__}, but a picture is bytes. Open it with 'rb'."
            )
        return _decode(data, str(getattr(source, "name", "file")), max_pixels)
    raise InputError(
        f"A {type(source).__name__} is no picture; expected a path, bytes, a PIL image, a numpy array or a"
        " file opened with 'rb'."
    )


def expand_sources(arguments: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The files that paths, folders and patterns name, each once; folders give their pictures, sorted by name.

    Raises:
        InputError: a pattern or folder without pictures. A path that does not exist is kept: opening it says why.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        text = os.fspath(argument)
        path = Path(text)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
            if not inside:
                raise InputError(
                    f"The folder {text} holds no pictures; expected files ending in"
                    f" {', '.join(PICTURE_SUFFIXES)}."
                )
            found |= dict.fromkeys(inside)
        elif not path.exists() and glob.has_magic(text):
            matches = sorted(Path(p) for p in glob.glob(text, recursive=True))  # noqa: PTH207
            if not matches:
                raise InputError(f"The pattern {text} matches no file. Check it, or quote it.")
            found |= dict.fromkeys(p for p in matches if p.is_file())
        else:
            found[path] = None
    return list(found)


def _from_path(text: str, max_pixels: int) -> Picture:
    if "://" in text[:12]:
        raise ImageError(
            f"{text} is an address on the network, and those are not fetched. Download the picture and give its path."
        )
    path = Path(text)
    if path.is_dir():
        raise ImageError(f"{text} is a folder, but one picture was expected. Give a file in it.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{text} cannot be read: {error.strerror}. Check the path.") from error
    return _decode(data, text, max_pixels)


def _decode(data: bytes, name: str, max_pixels: int) -> Picture:
    if not data:
        raise ImageError(f"{name} is empty (0 bytes); expected a picture.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # size and metadata warnings: the size is checked below
        try:
            image = Image.open(io.BytesIO(data))
        except Image.DecompressionBombError as error:
            raise LimitError(f"{name}: {error} Pass a picture of at most {max_pixels} pixels.") from error
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise ImageError(
                f"{name} is not a picture that can be opened (it begins with {data[:8]!r});"
                f" expected one of {', '.join(s[1:] for s in PICTURE_SUFFIXES)}."
            ) from error
        return _finish(image, name, max_pixels)


def _finish(image: Image.Image, name: str, max_pixels: int) -> Picture:
    """Check the size, decode, turn upright and convert."""
    width, height = image.size
    if width * height > max_pixels:
        raise LimitError(
            f"{name} is {width} x {height} pixels, but at most {max_pixels} pixels are opened."
            " Shrink it first, or raise max_pixels."
        )
    if not width or not height:
        raise ImageError(f"{name} is {width} x {height} pixels; expected at least one pixel.")
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
        return Picture(_to_rgb(upright), name)
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, OverflowError) as error:
        raise ImageError(
            f"{name} is damaged or cut off: {error}. Get a whole copy of the file."
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image.copy() if image.readonly else image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _scaled(np.asarray(image, np.float64)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, with_alpha).convert("RGB")
    return image.convert("RGB")


def _scaled(values: NDArray[np.float64]) -> Image.Image:
    """Grey 8 bits from deeper pixels: 16-bit by its full range, anything else by its own smallest and largest."""
    finite = np.nan_to_num(values)
    low, high = float(finite.min()), float(finite.max())
    if 0 <= low and 255 < high <= 65535:
        low, high = 0.0, 65535.0
    elif 0 <= low and high <= 1:
        low, high = 0.0, 1.0
    elif 0 <= low and high <= 255:
        low, high = 0.0, 255.0
    scaled = (finite - low) / max(high - low, 1e-12) * 255
    return Image.fromarray(scaled.round().astype(np.uint8))


def _from_array(array: NDArray[Any]) -> Image.Image:
    shape = array.shape
    if not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))):
        hint = " It looks channels-first: pass array.transpose(1, 2, 0)." if (
            array.ndim == 3 and shape[0] in (1, 3, 4)
        ) else ""
        raise InputError(
            f"The array has shape {shape}, but a picture is (height, width, 3), (height, width, 4) or"
            f" (height, width).{hint}"
        )
    if 0 in shape:
        raise ImageError(f"The array has shape {shape}; expected at least one pixel.")
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(np.nanmin(array)), float(np.nanmax(array))
        if not (low >= 0 and high <= 1) or np.isnan(array).any():
            raise InputError(
                f"The array holds floating-point values from {low:g} to {high:g}, but expected 0 to 1."
                " Divide by the largest possible value, or pass uint8."
            )
        array = (array * 255).round().astype(np.uint8)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise InputError(
            f"The array is {array.dtype}, but a picture is uint8 (0 to 255) or floating point (0 to 1)."
            " Convert it first."
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    return Image.fromarray(np.ascontiguousarray(array))
