from __future__ import annotations

from typing import Any

from headsight.cli.scene_expressions import PER_PICTURE, scene_expressions

IMAGE = {"id": 3, "width": 400, "height": 200}


def head(x: float, **attributes: Any) -> dict[str, Any]:
    turned = [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]
    return {"bbox": [x, 20, 40, 50], "rotation": turned, "attributes": attributes}


def test_each_expression_points_at_the_heads_it_names() -> None:
    heads = [head(300, gender="woman"), head(10, gender="man"), head(150, gender="man")]
    known = {
        "the leftmost head": [1], "the person on the left": [1], "the woman": [0],
        "the men": [1, 2], "the person in the middle": [2], "the rightmost head": [0],
        "the second person from the left": [2], "the first person from the right": [0],
        "the two people on the left": [1, 2],
    }  # fmt: skip
    seen = set()
    for number in range(60):
        made = scene_expressions(IMAGE | {"id": number}, heads)
        assert 0 < len(made) <= PER_PICTURE
        assert len({text for text, _, _ in made}) == len(made)
        for text, rows, _ in made:
            if text in known:
                assert list(rows) == known[text]
                seen.add(text)
    assert seen == set(known)


def test_the_same_picture_gets_the_same_expressions() -> None:
    heads = [head(10), head(150), head(300)]
    assert scene_expressions(IMAGE, heads) == scene_expressions(IMAGE, heads)
    others = [scene_expressions(IMAGE | {"id": n}, heads) for n in range(5)]
    assert any(o != others[0] for o in others)


def test_bare_boxes_and_nobody() -> None:
    assert scene_expressions(IMAGE, []) == []
    texts = [t for t, _, _ in scene_expressions(IMAGE, [{"bbox": [1, 2, 30, 40]}])]
    assert len(texts) == PER_PICTURE
    assert not any("looking" in t or "shirt" in t for t in texts)


def test_what_an_expression_goes_by() -> None:
    heads = [
        head(300, gender="woman", clothes_color="red", hat="none", glasses=True),
        head(10, gender="man", clothes_color="blue", hat="cap", hat_color="red", glasses=False),
    ]
    types = {t: k for n in range(300) for t, _, k in scene_expressions(IMAGE | {"id": n}, heads)}
    assert types["the woman in the red shirt"] == ("colour", "sex")
    assert types["the person with the red hat"] == ("colour", "hat")
    assert types["the person wearing glasses"] == ("glasses",)
    assert types["the leftmost head"] == types["the first person from the right"] == ("place",)
    assert types["the people looking at the camera"] == ("gaze",)
    assert not [text for text, found in types.items() if not found]
