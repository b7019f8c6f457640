"""Every kind of good and bad picture, made here in code."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from headsight.errors import HeadsightError, ImageError, InputError, LimitError
from headsight.picture import Picture, expand_sources, open_picture

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def corners() -> Image.Image:
    """3 x 2; red top left, green top right, blue bottom left."""
    image = Image.new("RGB", (3, 2), WHITE)
    image.putpixel((0, 0), RED)
    image.putpixel((2, 0), GREEN)
    image.putpixel((0, 1), BLUE)
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"0"))
        + chunk(b"IEND", b"")
    )


# --- where pictures come from


def test_every_source_gives_the_same_pixels(tmp_path: Path) -> None:
    data = encoded(corners())
    path = tmp_path / "a.png"
    path.write_bytes(data)
    sources = {
        str(path): str(path),
        "path": path,
        "bytes": data,
        "PIL image": corners(),
        "array": np.asarray(corners()),
        "file": io.BytesIO(data),
    }
    for source in sources.values():
        picture = open_picture(source)
        assert picture.image_wh == (3, 2)
        np.testing.assert_array_equal(picture.to_array(), np.asarray(corners()))
    assert open_picture(path).source == str(path)
    assert open_picture(data).source == "bytes"
    with path.open("rb") as file:
        assert open_picture(file).source == str(path)


def test_a_picture_stays_itself() -> None:
    picture = open_picture(corners())
    assert open_picture(picture) is picture


def test_the_picture_does_not_follow_its_source() -> None:
    image, array = corners(), np.zeros((2, 3, 3), np.uint8)
    from_image, from_array = open_picture(image), open_picture(array)
    image.putpixel((0, 0), GREEN)
    array[:] = 9
    assert from_image.image.getpixel((0, 0)) == RED
    assert from_array.to_array().max() == 0


def test_a_picture_is_rgb() -> None:
    with pytest.raises(InputError, match="mode 'L'"):
        Picture(Image.new("L", (2, 2)))


@pytest.mark.parametrize("source", [None, 3, [1, 2], object()])
def test_other_sources_are_refused(source: object) -> None:
    # the type checker of the tests may be first
    with pytest.raises((InputError, TypeError), match=r"picture|type"):
        open_picture(source)  # type: ignore[arg-type]


def test_text_files_are_refused() -> None:
    with pytest.raises(InputError, match="'rb'"):
        open_picture(io.StringIO("x"))  # type: ignore[arg-type]


def test_closed_files_are_refused() -> None:
    file = io.BytesIO(encoded(corners()))
    file.close()
    with pytest.raises(ImageError, match="cannot be read"):
        open_picture(file)


@pytest.mark.parametrize(
    "address",
    ["https://x.org/a.png", "http:/x.org/a.png", "s3://b/a.png", "data:image/png;base64,"],
)
def test_addresses_are_not_fetched(address: str) -> None:
    with pytest.raises(ImageError, match="not fetched"):
        open_picture(address)


# --- orientation


@pytest.mark.parametrize(
    ("orientation", "image_wh", "red_at"),
    [
        (1, (3, 2), (0, 0)),
        (2, (3, 2), (2, 0)),
        (3, (3, 2), (2, 1)),
        (4, (3, 2), (0, 1)),
        (5, (2, 3), (0, 0)),
        (6, (2, 3), (1, 0)),
        (7, (2, 3), (1, 2)),
        (8, (2, 3), (0, 2)),
        (0, (3, 2), (0, 0)),
        (99, (3, 2), (0, 0)),
    ],
)
def test_orientation(orientation: int, image_wh: tuple[int, int], red_at: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_picture(encoded(corners(), exif=exif))
    assert picture.image_wh == image_wh
    assert picture.image.getpixel(red_at) == RED


# --- modes: (image, what its first pixel becomes)


def sixteen_bits(value: int) -> Image.Image:
    return Image.fromarray(np.full((2, 3), value, np.uint16))


def palette(*, transparent: bool) -> Image.Image:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])
    if transparent:
        image.info["transparency"] = 1
    return image


MODES = {
    "1-bit": (Image.new("1", (3, 2), 1), WHITE),
    "grey": (Image.new("L", (3, 2), 7), (7, 7, 7)),
    "grey and alpha": (Image.new("LA", (3, 2), (0, 0)), WHITE),
    "half clear": (Image.new("RGBA", (3, 2), (255, 0, 0, 128)), (255, 127, 127)),
    "clear black": (Image.new("RGBA", (3, 2), (0, 0, 0, 0)), WHITE),
    "palette": (palette(transparent=False), GREEN),
    "clear palette": (palette(transparent=True), WHITE),
    "CMYK": (Image.new("CMYK", (3, 2), (0, 255, 255, 0)), RED),
    "16-bit full": (sixteen_bits(65535), WHITE),
    "16-bit dark": (sixteen_bits(257), (1, 1, 1)),
    "float 0..1": (Image.new("F", (3, 2), 1.0), WHITE),
    "float 0..255": (Image.new("F", (3, 2), 51.0), (51, 51, 51)),
    "float nan": (Image.new("F", (3, 2), float("nan")), (0, 0, 0)),
    "32-bit": (Image.new("I", (3, 2), 51), (51, 51, 51)),
    "YCbCr": (Image.new("YCbCr", (3, 2), (255, 128, 128)), WHITE),
    "HSV": (Image.new("HSV", (3, 2), (0, 255, 255)), RED),
}


@pytest.mark.parametrize(("image", "expected"), MODES.values(), ids=MODES)
def test_modes(image: Image.Image, expected: tuple[int, int, int]) -> None:
    picture = open_picture(image)
    assert picture.image.mode == "RGB"
    assert picture.image.getpixel((0, 0)) == expected


@pytest.mark.parametrize(
    "name", ["1-bit", "grey and alpha", "half clear", "clear palette", "16-bit full"]
)
def test_modes_through_a_file(name: str) -> None:
    image, expected = MODES[name]
    assert open_picture(encoded(image)).image.getpixel((0, 0)) == expected


def test_a_clear_colour_in_rgb() -> None:
    data = encoded(corners(), transparency=RED)
    assert open_picture(data).image.getpixel((0, 0)) == WHITE
    assert open_picture(data).image.getpixel((2, 0)) == GREEN


def test_a_cmyk_file() -> None:
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF")
    assert open_picture(data).image.getpixel((0, 0)) == RED


def test_a_mode_nobody_can_show() -> None:
    with pytest.raises(ImageError, match="colour mode La"):
        open_picture(Image.new("La", (2, 2)))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, GREEN)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    first = open_picture(data).to_array()[0, 0].astype(int)
    assert np.abs(first - RED).max() <= 2  # WebP is lossy


# --- arrays


@pytest.mark.parametrize(
    "array",
    [
        np.full((2, 3, 3), 255, np.uint8),
        np.full((2, 3), 255, np.uint8),
        np.full((2, 3, 1), 255, np.uint8),
        np.full((2, 3, 4), 255, np.uint8),
        np.zeros((2, 3, 4), np.uint8),
        np.ones((2, 3), bool),
        np.ones((2, 3, 3), np.float32),
        np.ones((2, 6, 3), np.float16)[:, ::2],
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_arrays(array: np.ndarray) -> None:
    picture = open_picture(array)
    assert picture.image_wh == (3, 2)
    assert picture.to_array().min() == 255


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((2, 3, 2), np.uint8), "shape"),
        (np.zeros((3, 20, 30), np.uint8), "channels-first"),
        (np.zeros((1, 2, 3, 3), np.uint8), "shape"),
        (np.zeros((2, 3), np.int64), "int64"),
        (np.zeros((2, 3), np.uint16), "uint16"),
        (np.zeros((2, 3), complex), "complex"),
        (np.full((2, 3), 200.0), "0 to"),
        (np.full((2, 3), -0.1), "0 to"),
        (np.full((2, 3), np.nan), "nan"),
        (np.array([["a"]]), "convert|Convert"),
    ],
)
def test_bad_arrays(array: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_picture(array)


# --- bad files


@pytest.mark.parametrize("source", [np.zeros((0, 3, 3), np.uint8), Image.new("RGB", (0, 5))])
def test_no_pixels(source: np.ndarray | Image.Image) -> None:
    with pytest.raises(ImageError, match="at least one pixel"):
        open_picture(source)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, I am text", "no picture"),
        (b"%PDF-1.7 ...........", "PDF"),
        (b"<svg xmlns='...'/>......", "SVG"),
        (b"<!DOCTYPE html>........", "web page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00mp41avc1", "video"),
        (b"\xff\xd8\xff", "damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\x00" * 100, "damaged"),
    ],
)
def test_no_pictures(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        open_picture(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
def test_cut_off(kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / "half"
    whole = encoded(Image.fromarray(noise), kind)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="half is damaged"):
        open_picture(path)


def test_missing_folder_and_odd_paths(tmp_path: Path) -> None:
    for source, words in [
        (tmp_path / "nothing.jpg", "No such file"),
        (tmp_path, "folder"),
        ("a\0b", "cannot be read"),
        ("x" * 5000, "cannot be read"),
        ("", "cannot be read|folder"),
    ]:
        with pytest.raises(ImageError, match=words):
            open_picture(source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="neither"):
        open_picture(tmp_path / "pipe.png")


def test_bombs_are_stopped_at_the_header() -> None:
    bomb = png_header(50_000, 50_000)  # would be 7.5 GB
    with pytest.raises(LimitError, match=r"50000 x 50000 .* at most 120000000 .* max_pixels"):
        open_picture(bomb)
    with pytest.raises(LimitError, match="at most 5 "):
        open_picture(corners(), max_pixels=5)
    with pytest.raises(LimitError, match="at most 5 "):
        open_picture(np.asarray(corners()), max_pixels=5)
    assert open_picture(corners(), max_pixels=6).image_wh == (3, 2)


def test_the_limit_is_the_callers_not_pillows() -> None:
    # above Pillow's own limit nothing warns; the file is refused only for what it is, cut off
    with pytest.raises(ImageError, match="damaged"):
        open_picture(png_header(14_000, 13_000), max_pixels=200_000_000)


def test_nothing_global_changes() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    for data in (encoded(corners()), png_header(50_000, 50_000), b"text", encoded(corners())[:40]):
        try:
            open_picture(data)
        except HeadsightError:
            continue
    after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    assert after == before


SEEDS = {
    kind: encoded(Image.effect_noise((24, 16), 90).convert("RGB"), kind)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SEEDS)
@settings(max_examples=60)
@given(hits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6))
def test_damage_never_surprises(kind: str, hits: list[tuple[int, int]]) -> None:
    data = bytearray(SEEDS[kind])
    for place, value in hits:
        # most hits near the start, where the header is
        data[place % (64 if place % 3 else len(data))] = value
    try:
        picture = open_picture(bytes(data), max_pixels=100_000)
    except (ImageError, LimitError):
        return
    assert picture.image.mode == "RGB"


# --- several pictures


def make_files(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


def test_folders_and_patterns(tmp_path: Path) -> None:
    make_files(tmp_path / "a", "2.JPG", "1.png", "notes.txt", ".hidden.png")
    make_files(tmp_path / "a" / "deep", "3.webp")
    a = tmp_path / "a"
    assert expand_sources([a]) == [a / "1.png", a / "2.JPG"]
    assert expand_sources([str(a / "*")]) == [a / "1.png", a / "2.JPG"]
    assert expand_sources([str(tmp_path / "**" / "*")]) == [
        a / "1.png",
        a / "2.JPG",
        a / "deep" / "3.webp",
    ]
    # the order given, each once
    assert expand_sources([a / "2.JPG", a, f"{a}/../a/1.png"]) == [a / "2.JPG", a / "1.png"]


def test_named_files_are_kept(tmp_path: Path) -> None:
    make_files(tmp_path, "notes.txt", "[1].png")
    wanted = [tmp_path / "notes.txt", tmp_path / "[1].png", tmp_path / "missing.png"]
    assert expand_sources(wanted) == wanted
    assert len(expand_sources(["https://x.org/a.png?width=3"])) == 1


def test_nothing_there(tmp_path: Path) -> None:
    make_files(tmp_path, "notes.txt")
    for arguments, words in [
        ([], "No picture"),
        ([tmp_path], "holds no pictures"),
        ([tmp_path / "*.png"], "no file"),
        ([tmp_path / "*.txt"], "no picture among"),
    ]:
        with pytest.raises(InputError, match=words):
            expand_sources(arguments)
