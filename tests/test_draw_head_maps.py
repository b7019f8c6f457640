from __future__ import annotations

import numpy as np
from PIL import Image

from headsight.draw_head_maps import SheetRow, draw_head_maps

WHITE = Image.new("RGB", (480, 360), "white")
BOX = np.array([[240.0, 0.0, 480.0, 360.0]])


def row(words: str = "the cup", *, has_box: bool = True) -> SheetRow:
    """Two heads: one looks at the left half, one at the right; their sum at both."""
    left = np.repeat([[1.0, 0.0]], 2, 0)
    maps = np.stack([left, 1 - left])
    box = BOX if has_box else np.zeros((0, 4))
    return SheetRow(WHITE, words, maps, maps.sum(0), (0.0, 0.0, 480.0, 360.0), box, BOX)


def test_a_cell_is_bright_where_the_head_looks() -> None:
    """Cells are 240 x 180 px, 8 apart, below a title of 30 and words of 26 px."""
    sheet = np.asarray(draw_head_maps([row()], ["L1 H2", "L3 H4"])).astype(int)
    assert sheet.shape == (30 + 26 + 180 + 8, 4 * 248 + 8, 3)
    middle = 56 + 90
    lefts = [8 + 248 * column for column in range(4)]
    plain, first, second, fused = ([sheet[middle, x + 60], sheet[middle, x + 180]] for x in lefts)
    assert [p.tolist() for p in plain] == [[255, 255, 255]] * 2
    yellow, dark = first
    assert yellow[0] > 240
    assert yellow[2] < 150
    assert yellow.sum() > dark.sum()
    np.testing.assert_array_equal(second, first[::-1])
    np.testing.assert_array_equal(fused, [yellow, yellow])  # its own most everywhere


def test_boxes_have_their_colours() -> None:
    def seen(sheet: Image.Image) -> set[tuple[int, ...]]:
        return set(map(tuple, np.asarray(sheet).reshape(-1, 3).tolist()))

    green, orange = (0x22, 0xC5, 0x5E), (0xF9, 0x73, 0x16)
    assert {green, orange} <= seen(draw_head_maps([row()], ["a", "b"]))
    without = seen(draw_head_maps([row(has_box=False)], ["a", "b"]))
    assert green in without
    assert orange not in without


def test_odd_rows() -> None:
    """A long text is cut, a line of a picture and a flat map are drawn, and no row at all is too."""
    thin = Image.new("RGB", (2000, 1))
    flat = np.zeros((1, 3, 3))
    odd = SheetRow(
        thin, "word " * 500, flat, flat[0], (0.0, -1000.0, 2000.0, 1000.0), np.zeros((0, 4)), BOX
    )
    assert draw_head_maps([odd], ["a"]).size == (3 * 248 + 8, 244)
    assert draw_head_maps([], []).size == (2 * 248 + 8, 30)
