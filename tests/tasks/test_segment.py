"""Masks of what was found: by a segmenter, by where heads look, or the filled box, always told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headsight.detections import Detections
from headsight.errors import InputError
from headsight.geometry.masks import boxes_to_masks
from headsight.geometry.region_maps import RegionMap
from headsight.models.segmenters import CoarseSegmenter, Masks, Seen
from headsight.picture import Picture
from headsight.tasks.segment import MaskMaker, check_request

WHOLE = (0.0, 0.0, 40.0, 20.0)


class TopHalf:
    """A third-party segmenter that says the object is the upper half of its box."""

    name = "top-half"
    reads_maps = True

    def __init__(self) -> None:
        self.looks = 0
        self.asked: list[tuple[int, Any, str]] = []

    def embed(self, picture: Picture) -> Seen:
        self.looks += 1
        return Seen(picture.image_wh)

    def from_boxes(self, seen: Seen, boxes: Any, *, maps: Any = None, words: str = "") -> Masks:
        self.asked.append((len(boxes), maps, words))
        middle = boxes * [1, 1, 1, 0.5] + np.stack([boxes[:, 1] * 0] * 3 + [boxes[:, 1] / 2], 1)
        scores = np.linspace(0.5, 1, len(boxes))
        return Masks(boxes_to_masks(middle, seen.image_wh), scores, "segmenter")


class Blind(TopHalf):
    """Finds nothing in any box, and has no use for maps."""

    name = "blind"
    reads_maps = False

    def from_boxes(self, seen: Seen, boxes: Any, *, maps: Any = None, words: str = "") -> Masks:
        width, height = seen.image_wh
        return Masks(np.zeros((len(boxes), height, width), bool), np.zeros(len(boxes)), "segmenter")


def cups(*boxes: tuple[float, float, float, float], **more: Any) -> Detections:
    return Detections(
        np.array(boxes, np.float64).reshape(-1, 4),
        np.full(len(boxes), 0.5),
        np.zeros(len(boxes), np.int64),
        ("red cup",),
        (40, 20),
        picture=Picture(Image.new("RGB", (40, 20))),
        **more,
    )


def test_the_filled_box_where_nothing_better_is_at_hand() -> None:
    found = MaskMaker().add(cups((10, 5, 20, 15), (0, 0, 4, 2)))
    assert found.masks is not None
    assert found.masks.sum((1, 2)).tolist() == [100, 8]
    assert found.masks[0, 5:15, 10:20].all()
    assert found.attributes == {
        "mask_kind": ("coarse-box", "coarse-box"),
        "box_from": ("answer", "answer"),
    }


def test_where_the_heads_looked() -> None:
    """A map of 2 cells whose right one is hot: above the mean from the middle of the picture on."""
    heat = RegionMap(np.array([[0.0, 1.0]]), WHOLE)
    found = MaskMaker().add(cups((10, 5, 30, 15), heat=heat))
    assert found.masks is not None
    np.testing.assert_array_equal(
        found.masks[0], boxes_to_masks(np.array([[20.0, 5, 30, 15]]), (40, 20))[0]
    )
    assert found.attributes == {"mask_kind": ("coarse-attention",), "box_from": ("attention",)}


def test_a_map_that_says_nothing_within_the_box_leaves_the_box() -> None:
    heat = RegionMap(np.array([[0.0, 1.0]]), WHOLE)
    found = MaskMaker().add(cups((0, 0, 10, 10), heat=heat))
    assert found.masks is not None
    assert found.masks.sum() == 100
    assert found.attributes["mask_kind"] == ("coarse-box",)


def test_a_segmenter_draws_and_says_how_sure_it_is() -> None:
    segmenter = TopHalf()
    found = MaskMaker(segmenter).add(cups((10, 4, 20, 16), (0, 0, 4, 2)))
    assert found.masks is not None
    assert found.masks.sum((1, 2)).tolist() == [60, 4]
    assert found.attributes == {
        "mask_kind": ("segmenter", "segmenter"),
        "mask_by": ("top-half", "top-half"),
        "mask_prompt": ("box", "box"),
        "mask_score": (0.5, 1.0),
        "box_from": ("answer", "answer"),
    }
    assert segmenter.asked == [(2, None, "red cup")]


def test_box_and_map_are_the_prompt_together() -> None:
    segmenter, heat = TopHalf(), RegionMap(np.eye(2), WHOLE)
    found = MaskMaker(segmenter, sam_prompt="box+mask").add(cups((0, 0, 9, 9), heat=heat))
    assert segmenter.asked[0][1] == [heat]
    assert found.attributes["mask_prompt"] == ("box+mask",)
    MaskMaker(segmenter).add(cups((0, 0, 9, 9), heat=heat))
    assert segmenter.asked[1][1] is None


def test_the_box_is_read_again_from_the_mask_where_there_is_one() -> None:
    found = MaskMaker(TopHalf(), rec_box="sam").add(cups((10, 4, 20, 16)))
    np.testing.assert_array_equal(found.boxes, [[10, 4, 20, 10]])
    assert found.attributes["box_from"] == ("sam",)
    kept = MaskMaker(Blind(), rec_box="sam").add(cups((10, 4, 20, 16)))
    np.testing.assert_array_equal(kept.boxes, [[10, 4, 20, 16]])
    assert kept.attributes["box_from"] == ("answer",)


def test_a_segmenter_that_finds_nothing_gives_an_empty_mask() -> None:
    found = MaskMaker(Blind()).add(cups((10, 4, 20, 16)))
    assert found.masks is not None
    assert not found.masks.any()
    assert found.attributes["mask_kind"] == ("segmenter",)
    assert found.attributes["mask_score"] == (0.0,)


def test_an_empty_answer_is_no_work() -> None:
    segmenter = TopHalf()
    for maker in (MaskMaker(segmenter), MaskMaker()):
        found = maker.add(cups(heat=RegionMap(np.eye(2), WHOLE)))
        assert found.masks is not None
        assert found.masks.shape == (0, 20, 40)
        assert found.attributes["mask_kind"] == ()
    assert segmenter.looks == 0


def test_a_point_has_no_mask_and_spoils_no_other() -> None:
    """Families that point give boxes without area."""
    segmenter = TopHalf()
    for maker, kind in ((MaskMaker(segmenter), "segmenter"), (MaskMaker(), "coarse-box")):
        found = maker.add(cups((5, 5, 5, 5), (10, 4, 20, 16)))
        assert found.masks is not None
        assert not found.masks[0].any()
        assert found.masks[1].any()
        assert found.attributes["mask_kind"] == ("none", kind)
    assert segmenter.asked[0][0] == 1
    scores = MaskMaker(segmenter).add(cups((5, 5, 5, 5))).attributes["mask_score"]
    assert np.isnan(scores[0])


class Dot(TopHalf):
    """Says that the object is the 2 x 2 px below and right of its first point."""

    name = "dot"

    def from_points(self, seen: Seen, points: Any, *, words: str = "") -> Masks:
        self.asked.append((len(points), points, words))
        boxes = np.concatenate([points[:, 0], points[:, 0] + 2], 1)
        return Masks(boxes_to_masks(boxes, seen.image_wh), np.full(len(boxes), 0.7), "segmenter")


def pointed(*points: tuple[float, float, float]) -> Detections:
    rows = np.array(points, np.float64)
    return replace(cups(*[(x, y, x, y) for x, y, _ in points]), keypoints=rows.reshape(-1, 1, 3))


def test_a_point_prompts_a_segmenter_that_can_start_from_it() -> None:
    segmenter = Dot()
    found = MaskMaker(segmenter).add(pointed((5, 5, 2), (30, 10, 2), (7, 7, 0)))
    assert found.masks is not None
    assert found.masks.sum((1, 2)).tolist() == [4, 4, 0]
    assert found.masks[0, 5:7, 5:7].all()
    assert found.attributes["mask_kind"] == ("segmenter", "segmenter", "none")  # one is not seen
    assert found.attributes["mask_prompt"] == ("point", "point", "box")
    assert found.attributes["mask_score"][:2] == (0.7, 0.7)
    np.testing.assert_array_equal(found.boxes[0], [5, 5, 5, 5])
    [(number, points, words)] = segmenter.asked
    assert (number, words) == (2, "red cup")
    np.testing.assert_array_equal(points, [[[5, 5]], [[30, 10]]])


def test_a_point_gets_the_box_of_its_mask_if_that_is_wanted() -> None:
    found = MaskMaker(Dot(), rec_box="sam").add(pointed((5, 5, 2)))
    np.testing.assert_array_equal(found.boxes, [[5, 5, 7, 7]])
    assert found.attributes["box_from"] == ("sam",)


def test_points_stay_points_without_such_a_segmenter() -> None:
    for maker in (MaskMaker(TopHalf()), MaskMaker()):
        found = maker.add(pointed((5, 5, 2)))
        assert found.masks is not None
        assert not found.masks.any()
        assert found.attributes["mask_kind"] == ("none",)


def test_a_picture_is_looked_at_once_for_many_words() -> None:
    segmenter = TopHalf()
    maker, first, second = MaskMaker(segmenter), cups((0, 0, 9, 9)), cups((0, 0, 9, 9))
    for found in (first, first[:0], first, second, second):
        maker.add(found)
    assert segmenter.looks == 2


def test_what_else_was_found_stays() -> None:
    before = cups((0, 0, 9, 9), attributes={"seen": ("twice",)})
    after = MaskMaker().add(before)
    assert after.attributes["seen"] == ("twice",)
    assert after.exchanges == before.exchanges
    assert after.picture is before.picture
    assert before.masks is None


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"sam_prompt": "points"}, "sam_prompt is 'points'; expected one of box, box[+]mask"),
        ({"rec_box": "mine"}, "rec_box is 'mine'; expected one of attention, sam"),
        ({"sam_prompt": "box+mask"}, "sam_prompt 'box[+]mask' needs a segmenter"),
        ({"rec_box": "sam"}, "rec_box 'sam' needs a segmenter"),
        (
            {"sam_prompt": "box+mask", "has_segmenter": True},
            "needs the map of attention heads, .* Pass heads with it, or use 'box'",
        ),
    ],
)
def test_requests_that_cannot_be_met(request_: dict[str, Any], message: str) -> None:
    whole = {"sam_prompt": "box", "rec_box": "attention", "has_segmenter": False, "by_heads": False}
    with pytest.raises(InputError, match=message):
        check_request(**{**whole, **request_})


def test_a_segmenter_without_use_for_maps_is_not_given_one_in_silence() -> None:
    with pytest.raises(InputError, match=r"blind has no use for maps.*Use sam_prompt 'box'"):
        MaskMaker(Blind(), sam_prompt="box+mask")


def test_detections_without_their_picture_need_one_for_a_segmenter() -> None:
    with pytest.raises(InputError, match="hold no picture"):
        MaskMaker(TopHalf()).add(replace(cups((0, 0, 9, 9)), picture=None))


def test_a_map_as_the_prompt_needs_a_map() -> None:
    maker = MaskMaker(CoarseSegmenter(), sam_prompt="box+mask")
    with pytest.raises(InputError, match="0 maps came with 1 boxes"):
        maker.add(cups((0, 0, 9, 9)))
