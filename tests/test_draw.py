"""Drawing: the signs of the axes, what is touched and what is left alone, at every size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from headsight.detections import Detections
from headsight.draw import AXIS_COLORS, COLORS, draw, fit_to_screen, pose_axes_2d
from headsight.draw_labels import draw_chips
from headsight.geometry.rotations import ypr_to_matrix

GREY = (90, 90, 90)
BLUE_AXIS = np.array(ImageColor.getrgb(AXIS_COLORS[2]))


def ypr(yaw: float, pitch: float, roll: float) -> np.ndarray:
    return np.asarray(ypr_to_matrix(np.array([yaw, pitch, roll], np.float64)))


def heads(
    boxes: list[list[float]], image_wh: tuple[int, int] = (200, 200), **changes: Any
) -> Detections:
    number = len(boxes)
    return Detections(
        np.array(boxes, np.float64).reshape(-1, 4),
        np.full(number, 0.5),
        np.zeros(number, np.int64),
        changes.pop("label_names", ("head",)),
        image_wh,
        **changes,
    )


def grey(image_wh: tuple[int, int] = (200, 200)) -> Image.Image:
    return Image.new("RGB", image_wh, GREY)


def changed(image: Image.Image, drawn: Image.Image) -> np.ndarray:
    return (np.asarray(image.convert("RGB")) != np.asarray(drawn)).any(2)


# rows: left ear, chin, face; columns: right, down
@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        ((0, 0, 0), [[1, 0], [0, 1], [0, 0]]),
        ((90, 0, 0), [[0, 0], [0, 1], [-1, 0]]),  # turned to the image left: blue points left
        ((-90, 0, 0), [[0, 0], [0, 1], [1, 0]]),
        ((0, 30, 0), [[1, 0], [0, np.cos(np.pi / 6)], [0, -0.5]]),  # looks up: blue points up
        ((0, 0, 90), [[0, 1], [-1, 0], [0, 0]]),  # clockwise: the left ear goes down
        ((180, 0, 0), [[-1, 0], [0, 1], [0, 0]]),  # the back of the head
    ],
)
def test_axes(angles: tuple[int, int, int], expected: list[list[float]]) -> None:
    np.testing.assert_allclose(pose_axes_2d(ypr(*angles)), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("angles", "direction"),
    [((60, 0, 0), (-1, 0)), ((-60, 0, 0), (1, 0)), ((0, 60, 0), (0, -1)), ((0, -60, 0), (0, 1))],
)
def test_blue_is_drawn_where_the_face_points(
    angles: tuple[int, int, int], direction: tuple[int, int]
) -> None:
    found = heads([[60, 60, 140, 140]], rotations=ypr(*angles)[None])
    drawn = np.asarray(draw(grey(), found, chips=False)).astype(int)
    rows, columns = np.nonzero(np.abs(drawn - BLUE_AXIS).sum(2) < 40)
    offset = np.array([columns.mean() - 99.5, rows.mean() - 99.5])
    assert offset @ np.array(direction) > 15
    assert abs(offset @ np.array(direction[::-1])) < 2


def test_only_the_box_is_touched() -> None:
    image = grey()
    box_only = draw(image, heads([[50, 60, 150, 160]]), chips=False)
    touched = changed(image, box_only)
    assert touched[60, 50:150].all()  # first row inside the box
    assert touched[159, 50:150].all()  # last one
    assert not touched[58].any()
    assert not touched[161].any()
    assert not touched[70:150, 60:140].any()
    assert box_only.getpixel((50, 60)) == ImageColor.getrgb(COLORS[0])
    assert not changed(grey(), image).any()  # the picture itself stays


def test_far_away_pixels_stay_exactly() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    image = Image.fromarray(noise)
    found = heads([[100, 100, 160, 160]], (300, 300), rotations=ypr(30, 20, 10)[None])
    rows, columns = np.nonzero(changed(image, draw(image, found)))
    assert rows.min() > 60
    assert columns.max() < 220
    assert len(rows) > 300


@pytest.mark.parametrize("longer", [1, 2, 16, 33, 64, 500, 2000])
@pytest.mark.parametrize("aspect", [1.0, 0.3, 3.0])
def test_every_size(longer: int, aspect: float) -> None:
    width, height = max(1, int(longer * min(1, aspect))), max(1, int(longer / max(1, aspect)))
    image = grey((width, height))
    boxes = np.array([[0, 0, 1, 1], [0.2, 0.2, 0.7, 0.8], [0.5, 0.5, 0.5, 0.5]])
    found = heads(
        (boxes * [width, height, width, height]).tolist(),
        (width, height),
        rotations=np.stack([ypr(40, 10, 0), ypr(180, 0, 0), ypr(0, 0, 0)]),
    )
    drawn = draw(image, found, caption="every head in the picture")
    assert drawn.size == image.size
    assert drawn.mode == "RGB"
    assert changed(image, drawn).any()


def test_nothing_found() -> None:
    image = grey()
    assert not changed(image, draw(image, Detections.empty((200, 200)))).any()


def test_unread_poses_and_outlying_boxes() -> None:
    found = heads([[-50, -50, 20, 20], [150, 150, 900, 900]], rotations=np.full((2, 3, 3), np.nan))
    assert draw(grey(), found).size == (200, 200)


def test_another_size_of_the_same_picture() -> None:
    found = heads([[50, 60, 150, 160]])
    small = draw(grey((100, 100)), found, chips=False)
    assert small.size == (100, 100)
    assert small.getpixel((25, 30)) == ImageColor.getrgb(COLORS[0])


def test_other_modes_are_drawn_in_colour() -> None:
    assert draw(Image.new("L", (200, 200)), heads([[5, 5, 50, 50]])).mode == "RGB"


def test_masks_and_points() -> None:
    masks = np.zeros((1, 200, 200), bool)
    masks[0, 80:120, 80:120] = True
    keypoints = np.array([[[70.0, 150.0, 2.0], [150.0, 70.0, 0.0]]])
    found = heads([[50, 50, 160, 160]], masks=masks, keypoints=keypoints)
    touched = changed(grey(), draw(grey(), found, chips=False))
    assert touched[80:120, 80:120].all()
    assert touched[150, 70]
    assert not touched[70, 150]  # not labelled
    half = draw(grey((100, 100)), found, chips=False)
    assert changed(grey((100, 100)), half)[50, 50]


def chip_regions(drawn: Image.Image, color: str) -> np.ndarray:
    return (np.asarray(drawn) == ImageColor.getrgb(color)).all(2)


def test_chips_stay_inside_and_apart() -> None:
    image = grey((640, 480))
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 400, (30, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 80, (30, 1))], 1)
    found = heads(boxes.tolist(), (640, 480), label_names=("person",))
    # every chip alone covers as many pixels as all of them together: none hides another
    colors = [f"#{i + 1:02x}ff00" for i in range(30)]
    canvas = image.copy()
    draw_chips(canvas, found, boxes, colors)
    regions = [chip_regions(canvas, color) for color in colors]
    seen = [region for region in regions if region.any()]
    assert len(seen) > 15
    for region in seen:
        rows, columns = np.nonzero(region)
        area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert region.sum() > 0.4 * area  # a plate with text on it, not cut by another


def test_of_several_places_each_label_has_its_number() -> None:
    boxes = [[20, 120, 180, 190], [20, 20, 180, 90]]
    both = heads(boxes, label_names=("cup",))
    widths = []
    for found in (both[:1], both):
        canvas = grey()
        colors = ["#00ff00", "#ff0000"][: len(found)]
        draw_chips(canvas, found, found.boxes, colors)
        widths.append(int(chip_regions(canvas, "#00ff00").any(0).sum()))
    assert widths[0] + 10 < widths[1]  # "#1" and two spaces stand before it


def test_chip_of_a_box_at_the_top_is_inside() -> None:
    canvas = grey()
    draw_chips(canvas, heads([[20, 0, 180, 199]]), np.array([[20.0, 0, 180, 199]]), ["#00ff00"])
    assert chip_regions(canvas, "#00ff00").sum() > 200


def test_best_scores_choose_first() -> None:
    box = [90.0, 90.0, 110.0, 110.0]
    found = heads([box] * 60, label_names=("a thing",))
    found = Detections(
        found.boxes, np.linspace(0, 1, 60), found.labels, found.label_names, found.image_wh
    )
    colors = ["#ff0000"] * 59 + ["#00ff00"]
    canvas = grey()
    draw_chips(canvas, found, found.boxes, colors)
    assert chip_regions(canvas, "#00ff00").any()


@pytest.mark.parametrize("words", ["a\nb\tc\x1b[2J", "x" * 5000, "", "猫と犬", "🙂"])
def test_odd_words(words: str) -> None:
    found = heads([[50, 60, 150, 160]], label_names=(words,))
    assert draw(grey(), found, caption=words).size == (200, 200)


def test_caption() -> None:
    touched = changed(grey(), draw(grey(), Detections.empty((200, 200)), caption="red cup"))
    assert touched[190].all()
    assert not touched[150].any()
    tiny = grey((16, 16))
    assert not changed(tiny, draw(tiny, Detections.empty((16, 16)), caption="red cup")).any()


def test_fit_to_screen() -> None:
    assert fit_to_screen(grey((16, 8))).size == (480, 240)
    assert fit_to_screen(grey((8000, 2))).size == (1600, 1)
    image = grey((1000, 700))
    assert fit_to_screen(image) is image


def block(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((200, 200), bool)
    mask[rows, columns] = True
    return mask


def masked(*masks: np.ndarray, kind: str = "segmenter", **more: Any) -> Detections:
    number = len(masks)
    return heads(
        [[0, 0, 1, 1]] * number,  # a box out of the way
        masks=np.stack(masks),
        attributes={"mask_kind": (kind,) * number},
        **more,
    )


def test_a_mask_of_a_segmenter_is_tinted_within_its_outline() -> None:
    drawn = draw(grey(), masked(block(slice(60, 140), slice(50, 150))), chips=False)
    pixels, color = np.asarray(drawn), ImageColor.getrgb(COLORS[0])
    assert (pixels[60, 50:150] == color).all()
    assert (pixels[60:140, 149] == color).all()
    inside = pixels[65:135, 55:145].reshape(-1, 3)
    assert (inside == inside[0]).all()  # one tint, through which the picture shows
    assert GREY[2] < inside[0, 2] < color[2]
    assert pixels[59, 50:150].sum() < pixels[30, 50:150].sum()  # a dark rim
    touched = changed(grey(), drawn)
    assert not touched[:58, 10:].any()
    assert not touched[142:].any()


def test_a_coarse_mask_is_hatched_and_has_no_outline() -> None:
    mask = block(slice(60, 140), slice(50, 150))
    coarse = draw(grey(), masked(mask, kind="coarse-box"), chips=False)
    pixels = np.asarray(coarse)[60:140, 50:150].reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) == 2  # stripes and what is between them
    np.testing.assert_array_equal(changed(grey(), coarse)[10:, 10:], mask[10:, 10:])


@pytest.mark.parametrize("kind", ["coarse-box", "coarse-attention"])
def test_the_label_says_that_a_mask_is_coarse(kind: str) -> None:
    box, mask = [[20, 60, 180, 160]], block(slice(60, 160), slice(20, 180))[None]
    plain = heads(box, masks=mask, label_names=("cup",))
    coarse = heads(box, masks=mask, label_names=("cup",), attributes={"mask_kind": (kind,)})
    widths = []
    for found in (plain, coarse):
        canvas = grey()
        draw_chips(canvas, found, found.boxes, ["#00ff00"])
        widths.append(int(chip_regions(canvas, "#00ff00").any(0).sum()))
    assert widths[1] > widths[0] + 40  # more words on the chip


def test_masks_of_one_name_have_a_colour_each() -> None:
    left, right = block(slice(60, 140), slice(20, 90)), block(slice(60, 140), slice(90, 160))
    drawn = np.asarray(draw(grey(), masked(left, right), chips=False))
    assert (drawn[60, 50] == ImageColor.getrgb(COLORS[0])).all()
    assert (drawn[60, 120] == ImageColor.getrgb(COLORS[1])).all()


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (100, 100), (400, 390)])
@pytest.mark.parametrize("kind", ["segmenter", "coarse-box"])
def test_masks_on_another_size_of_the_picture(size: tuple[int, int], kind: str) -> None:
    whole = np.ones((200, 200), bool)
    drawn = draw(grey(size), masked(whole, ~whole, kind=kind), chips=False)
    assert drawn.size == size
    assert changed(grey(size), drawn).mean() > 0.9  # the empty mask adds nothing
