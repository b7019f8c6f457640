"""Pictures from anywhere, opened safely: upright, three channels, never larger than you allow."""

from __future__ import annotations

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "BinaryFile",
    "Picture",
    "PictureSource",
    "expand_sources",
    "open_picture",
]

import glob
import io
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import ExifTags, Image

from headsight.errors import ImageError, InputError, LimitError

MAX_PIXELS = 120_000_000
"""Largest picture opened by default, in pixels (width times height)."""
PICTURE_SUFFIXES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""What is opened at all: formats that only hold pixels (no PostScript, no other program is run)."""


@runtime_checkable
class BinaryFile(Protocol):
    """Anything with a `read` that gives bytes: an open file, an upload, an HTTP body."""

    def read(self, size: int = ..., /) -> bytes:
        """The next `size` bytes, or all that are left."""


PictureSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any] | BinaryFile

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/|data:", re.IGNORECASE)  # not the C: of a drive
_FOREIGN = {
    b"%PDF": "a PDF document",
    b"<!DO": "a web page",
    b"<htm": "a web page",
    b"<svg": "an SVG drawing",
    b"<?xm": "an XML file",
    b"PK\x03\x04": "a zip archive",
    b"%!PS": "a PostScript file",
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# what Pillow's readers raise on damaged files
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class Picture:
    """An upright RGB image and where it came from."""

    image: Image.Image
    source: str = "memory"
    """Path, or a word for what it was made of."""

    def __post_init__(self) -> None:
        if self.image.mode != "RGB":
            raise InputError(
                f"The image of a Picture has mode {self.image.mode!r}, but must be 'RGB'."
                " Use headsight.open_picture(image), which converts it."
            )

    @property
    def image_wh(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.image.size

    def to_array(self) -> UInt8[NDArray[Any], "height width 3"]:
        """The pixels; read-only."""
        return np.asarray(self.image)


def open_picture(source: PictureSource | Picture, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """An upright RGB picture from a path, bytes, a PIL image, an array or an open binary file.

    The EXIF orientation is applied, transparency is laid over white, 16-bit and floating-point
    pictures are scaled to 8 bits, and of an animation the first frame is taken. Addresses on the
    network are never fetched. An array is (H, W, 3), (H, W, 4), (H, W, 1) or (H, W), in uint8 or
    bool, or floating point in [0, 1]. What you pass in stays as it is.

    Raises:
        ImageError: not a picture, damaged, cut off, or without pixels.
        LimitError: more than `max_pixels`, found in the header before anything is decoded.
        InputError: an array of another shape or type, or a source of another kind.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Image.Image):
        image = _finish(source, "The image", max_pixels)
        return Picture(image.copy() if image is source else image, "PIL image")
    if isinstance(source, np.ndarray):
        return Picture(_to_rgb(_from_array(source, max_pixels), "The array"), "array")
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        return Picture(_read(io.BytesIO(data), f"{len(data)} bytes", max_pixels), "bytes")
    if isinstance(source, (str, os.PathLike)):
        return _from_path(os.fspath(source), max_pixels)
    if hasattr(source, "read"):
        return _from_file(source, max_pixels)
    raise InputError(
        f"A {type(source).__name__} is no picture; expected a path, bytes, a PIL image, a numpy"
        " array or a file opened with 'rb'."
    )


def expand_sources(arguments: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The files that paths, folders and patterns name, each once, in the order given.

    A folder stands for the pictures right in it, a pattern (`*`, `?`, `[]`, `**`) for the pictures
    it matches, both sorted by name; hidden files are left out. A path that does not exist is kept:
    opening it says why.

    Raises:
        InputError: a folder or pattern without pictures, or no argument at all.
    """
    if not arguments:
        raise InputError("No picture was given. Give at least one file, folder or pattern.")
    found: dict[str, Path] = {}
    for argument in arguments:
        for path in _expand(os.fspath(argument)):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _expand(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        inside = sorted(filter(_looks_like_picture, path.iterdir()))
        if not inside:
            raise InputError(
                f"The folder {text} holds no pictures; expected files ending in"
                f" {', '.join(PICTURE_SUFFIXES)}."
            )
        return inside
    if not glob.has_magic(text) or _ADDRESS.match(text) or os.path.lexists(path):
        return [path]
    # not Path.glob: that one takes no absolute patterns
    matches = [Path(p) for p in glob.glob(text, recursive=True)]  # noqa: PTH207
    pictures = sorted(filter(_looks_like_picture, matches))
    if not pictures:
        among = f"{len(matches)} names, but no picture among them" if matches else "no file"
        raise InputError(f"The pattern {text} matches {among}. Check it.")
    return pictures


def _looks_like_picture(path: Path) -> bool:
    is_named_so = path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
    return is_named_so and path.is_file()


def _from_path(text: str, max_pixels: int) -> Picture:
    path = Path(text)
    try:
        if path.is_file():
            with path.open("rb") as file:
                return Picture(_read(file, text, max_pixels), text)
        if path.is_dir():
            raise ImageError(f"{text} is a folder, but one picture is needed. Give a file in it.")
        if _ADDRESS.match(text):
            raise ImageError(
                f"{text[:80]} is an address, and addresses are not fetched. Download the picture"
                " and give its path."
            )
        path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{text[:200]!r} cannot be read: {reason}. Check the path.") from error
    raise ImageError(f"{text} is neither a file nor a folder; expected the path of a picture.")


def _from_file(file: BinaryFile, max_pixels: int) -> Picture:
    name = str(getattr(file, "name", "file"))
    try:
        data = file.read()
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} cannot be read: {error}. Open it with 'rb'.") from error
    if not isinstance(data, bytes):
        raise InputError(
            f"{name} gives {type(data).__name__}, but a picture is bytes. Open it with 'rb'."
        )
    return Picture(_read(io.BytesIO(data), name, max_pixels), name)


def _read(file: io.BufferedIOBase, name: str, max_pixels: int) -> Image.Image:
    try:
        start = file.read(16)
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror}. Check the file.") from error
    if not start:
        raise ImageError(f"{name} is empty (0 bytes); expected a picture.")
    image = _open_header(file, start)
    if image is None:
        raise ImageError(
            f"{name} is {_kind(start)}, but a picture is needed ({', '.join(FORMATS)})."
            " Convert it first."
        )
    return _finish(image, name, max_pixels)


def _open_header(file: io.BufferedIOBase, start: bytes) -> Image.Image | None:
    """The picture before decoding, or None if no reader takes it.

    Pillow's own `Image.open` has one size limit for the whole process; asking its readers directly
    leaves that limit (and the warnings of other users) alone.
    """
    if any(name not in Image.OPEN for name in FORMATS):
        Image.init()
    for name in FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        if factory is None or (accept is not None and accept(start) is not True):
            continue
        file.seek(0)
        try:
            return factory(cast("IO[bytes]", file), "")
        except _DAMAGE:  # a header like this format's, with nothing sensible behind it
            continue
    return None


def _kind(start: bytes) -> str:
    brand = start[8:12] if start[4:8] == b"ftyp" else b"avif"
    if brand[:2] != b"av":
        return "a HEIC photograph" if brand[:2] in (b"he", b"mi") else "a video"
    known = _FOREIGN.get(start[:4])
    return known or f"damaged, or no picture (it begins with {start[:8]!r})"


def _check_size(image_wh: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = image_wh
    if width * height > max_pixels:
        raise LimitError(
            f"{name} has {width} x {height} = {width * height} pixels, but at most {max_pixels} are"
            " opened. Shrink it first, or raise max_pixels."
        )
    if width < 1 or height < 1:
        raise ImageError(f"{name} has {width} x {height} pixels; expected at least one pixel.")


def _finish(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    """Check the size, decode, turn upright and convert."""
    _check_size(image.size, name, max_pixels)
    try:
        image.load()
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{name} is damaged or cut off: {error}. Get a whole copy of the file."
        ) from error
    turn = _TURNS.get(_orientation(image))
    return _to_rgb(image if turn is None else image.transpose(turn), name)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where it is missing or cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:  # pixels are worth more than their notes
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    is_clear = image.has_transparency_data
    if image.mode == "RGB" and not is_clear:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _to_8_bits(image).convert("RGB")
    try:
        if is_clear:
            with_alpha = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(white, with_alpha).convert("RGB")
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(
            f"{name} has the colour mode {image.mode}, which cannot be shown. Save it as RGB first."
        ) from error


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey 8 bits: 16-bit pixels by their full range, others by the least range that holds them."""
    values = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 65535:
        ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        low, high = 0.0, next(top for top in ranges if high <= top)
    shares = (values - low) / max(high - low, 1e-12)
    return Image.fromarray((shares * 255).round().astype(np.uint8))


def _from_array(array: NDArray[Any], max_pixels: int) -> Image.Image:
    shape = array.shape
    if not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))):
        is_first = array.ndim == 3 and shape[0] in (1, 3, 4)
        hint = " It looks channels-first: pass array.transpose(1, 2, 0)." if is_first else ""
        raise InputError(
            f"The array has shape {shape}, but a picture is (height, width, 3),"
            f" (height, width, 4) or (height, width).{hint}"
        )
    _check_size((shape[1], shape[0]), "The array", max_pixels)
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"The array holds floating-point values from {low:g} to {high:g}, but expected 0 to"
                " 1. Divide by the largest possible value, or pass uint8."
            )
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        raise InputError(
            f"The array is {array.dtype}, but a picture is uint8 (0 to 255) or floating point"
            " (0 to 1). Convert it first."
        )
    # a copy, so that the picture does not change when the array does
    pixels = np.array(array[..., 0] if array.ndim == 3 and shape[2] == 1 else array, order="C")
    return Image.fromarray(pixels)
