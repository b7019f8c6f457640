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
        assert len({text for text, _ in made}) == len(made)
        for text, rows in made:
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
    texts = [t for t, _ in scene_expressions(IMAGE, [{"bbox": [1, 2, 30, 40]}])]
    assert len(texts) == PER_PICTURE
    assert not any("looking" in t or "shirt" in t for t in texts)
