"""The shipped schemas: their numbers, their texts, and that their order is that of the data sets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from headsight.errors import AnnotationError, InputError
from headsight.language.schema import KeypointSchema
from headsight.language.schema_library import (
    mp100_schema,
    read_schema,
    read_schemas,
    schema,
    schema_json,
    schemas,
)
from headsight.language.schema_lint import has_side, lint_schema, mentioned, mirrored_text

ANIMALS = {
    2, 3, 5, 6, 9, 15, 20, 21, 26, 27, 29, 30, 31, 33, 35, 42, 43, 50, 52, 54, 55, 58, 68, 70, 71,
    73, 76, 85, 87, 88, 90, 91, 95, 100,
}  # fmt: skip
OF_MP100 = {  # ids of MP-100's categories: points
    "skirt-8": {1}, "sling-dress-19": {8}, "vest-dress-19": {11},
    "bird-15": {14, 16, 28, 41, 46, 53, 59, 86}, "sling-15": {17}, "face-19": {18},
    "short-sleeved-shirt-25": {25}, "vehicle-13": {32, 38, 51}, "swivel-chair-13": {39},
    "face-68": {40}, "locust-35": {44}, "chair-10": {45}, "sofa-14": {49},
    "short-sleeved-dress-29": {60}, "vest-15": {62}, "long-sleeved-dress-37": {64}, "fly-32": {66},
    "trousers-14": {67}, "person-17": {72}, "shorts-10": {75}, "long-sleeved-outerwear-39": {78},
    "hand-21": {80}, "short-sleeved-outerwear-31": {83}, "bed-10": {84}, "macaque-17": {92},
    "long-sleeved-shirt-33": {97}, "table-8": {98}, "animal-17": ANIMALS,
}  # fmt: skip
FACES = set(range(1, 101)) - set().union(*OF_MP100.values())
OF_MP100["animal-face-9"] = FACES
ALL = pytest.mark.parametrize("name", schemas())


def test_all_of_mp100_and_nothing_twice() -> None:
    shipped = {s.name: set(s.mp100) for s in schemas().values() if s.mp100}
    assert shipped == OF_MP100
    assert len(FACES) == 30
    assert len(shipped) == 29
    ids = [number for s in schemas().values() for number in s.mp100]
    assert sorted(ids) == list(range(1, 101))
    assert sum(len(schema(name)) for name in shipped) == 612
    assert set(schemas()) - set(shipped) == {"face-5"}


@ALL
def test_lint_length_and_form(name: str) -> None:
    found = schema(name)
    assert lint_schema(found) == []
    assert len(found) == int(name.rpartition("-")[2])
    assert found.source
    assert found.categories
    for point in found.keypoints:
        assert 12 <= len(re.findall(r"[\w'-]+", point.description)) <= 35, point
        assert re.fullmatch(r"[A-Z][^\n]*[^\s.]\.", point.description), point
        assert "  " not in point.description
    assert all(mentioned(found, index) for index in range(len(found)))


@ALL
def test_both_sides_are_told_alike(name: str) -> None:
    found = schema(name)
    for first, second in found.left_right_pairs:
        one, other = found.keypoints[first], found.keypoints[second]
        if has_side(one.name):  # the wheels of a swivel chair have none
            assert mirrored_text(one.name) == other.name
            assert mirrored_text(one.description) == other.description


@ALL
def test_the_skeleton_holds_together_and_is_symmetric(name: str) -> None:
    found = schema(name)
    swap = dict(found.left_right_pairs) | {b: a for a, b in found.left_right_pairs}
    edges = {frozenset(edge) for edge in found.skeleton}
    mirrored = {frozenset(swap.get(point, point) for point in edge) for edge in edges}
    assert edges == mirrored
    assert {point for edge in edges for point in edge} == set(range(len(found)))


def flips(*pairs: str) -> set[frozenset[int]]:
    """ "1-5 6:12" is the pair 1, 5 and, from 6 up and 12 down, 6-12, 7-11, 8-10."""
    found = set()
    for pair in " ".join(pairs).split():
        first, second = map(int, re.split("[-:]", pair))
        found.add(frozenset((first, second)))
        while ":" in pair and second - first > 2:
            first, second = first + 1, second - 1
            found.add(frozenset((first, second)))
    return found


# which points trade places, as the data sets or their published configurations say, from 0
PUBLISHED_FLIPS = {
    "person-17": "1-2 3-4 5-6 7-8 9-10 11-12 13-14 15-16",
    "macaque-17": "1-2 3-4 5-6 7-8 9-10 11-12 13-14 15-16",
    "animal-17": "0-1 5-8 6-9 7-10 11-14 12-15 13-16",
    "animal-face-9": "0:3 5-6",
    "bird-15": "6-10 7-11 8-12",
    "fly-32": "1-2 " + " ".join(f"{i}-{i + 12}" for i in range(6, 18)) + " 30-31",
    "locust-35": " ".join(f"{i}-{i + 15}" for i in range(5, 20)),
    "hand-21": "",
    "face-19": "0:5 6:11 12-14 15-17",
    "face-68": "0:16 17:26 31:35 36-45 37-44 38-43 39-42 40-47 41-46 48:54 55:59 60:64 65-67",
    "vehicle-13": "0-1 2-3 4-5 6-7 9-10 11-12",
    "bed-10": "0-5 1-6 2-7 3-8 4-9",
    "chair-10": "0-1 2-3 4-5 6-7 8-9",
    "sofa-14": "0-7 1-8 2-9 3-10 4-11 5-12 6-13",
    "swivel-chair-13": "0:4 7-8 9-10 11-12",
    "table-8": "0-2 1-3 4-6 5-7",
    "short-sleeved-shirt-25": "1:5 6:24",
    "long-sleeved-shirt-33": "1:5 6:32",
    "short-sleeved-outerwear-31": "1-25 2-4 3-5 6-24 7-23 8-22 9-21 10-20 11-19 12-18 13-17 14-16"
    " 15-28 26-29 27-30",
    "long-sleeved-outerwear-39": "1:5 3-33 6-32 7-31 8-30 9-29 10-28 11-27 12-26 13-25 14-24 15-23"
    " 16-22 17-21 18-20 19-36 34-37 35-38",
    "vest-15": "1:5 6:14",
    "sling-15": "1:5 6:14",
    "shorts-10": "0-2 3:9",
    "trousers-14": "0-2 3:13",
    "skirt-8": "0-2 3:7",
    "short-sleeved-dress-29": "1:5 6:28",
    "long-sleeved-dress-37": "1:5 6:36",
    "vest-dress-19": "1:5 6:18",
    "sling-dress-19": "1:5 6:18",
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED_FLIPS)
def test_the_pairs_are_those_of_the_data_sets(name: str) -> None:
    ours = {frozenset(pair) for pair in schema(name).left_right_pairs}
    assert ours == flips(PUBLISHED_FLIPS[name])


def test_every_schema_of_mp100_has_its_flips_checked() -> None:
    assert set(PUBLISHED_FLIPS) == set(OF_MP100)


# the data sets' own words, and which of ours they are
COCO = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow"
    " right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle"
    " right_ankle"
)
AP10K = (
    "left_eye right_eye nose neck root_of_tail left_shoulder left_elbow left_front_paw"
    " right_shoulder right_elbow right_front_paw left_hip left_knee left_back_paw right_hip"
    " right_knee right_back_paw"
)
CUB = (
    "back beak belly breast crown forehead left_eye left_leg left_wing nape right_eye right_leg"
    " right_wing tail throat"
)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("person-17", COCO), ("macaque-17", COCO), ("animal-17", AP10K), ("bird-15", CUB)],
)
def test_names_are_the_data_sets_own(name: str, theirs: str) -> None:
    assert schema(name).names == tuple(word.replace("_", " ") for word in theirs.split())


def test_legs_of_insects_are_numbered_from_the_body() -> None:
    parts = ("base", "knee", "ankle", "tip")

    def legs(side: str) -> list[str]:
        return [f"{side} {leg} {p}" for leg in ("foreleg", "midleg", "hindleg") for p in parts]

    assert list(schema("fly-32").names[6:30]) == [*legs("right"), *legs("left")]
    locust = schema("locust-35").names
    assert [*locust[8:20], *locust[23:35]] == [*legs("left"), *legs("right")]
    hand = schema("hand-21").names
    assert hand[4::4] == tuple(
        f"{f} tip" for f in ("thumb", "forefinger", "middle finger", "ring finger", "little finger")
    )


MP100_NAMES = {  # of the categories in its annotation files, for some of each kind
    1: "skirt", 3: "dog_body", 4: "fennecfox_face", 8: "sling_dress", 12: "przewalskihorse_face",
    13: "californiansealion_face", 14: "Woodpecker", 17: "sling", 19: "arcticwolf_face",
    25: "short_sleeved_shirt", 34: "greyseal_face", 38: "bus", 39: "swivelchair",
    43: "spider_monkey_body", 44: "locust", 48: "goldenretriever_face", 51: "suv", 53: "Tern",
    57: "bonobo_face", 61: "gibbons_face", 66: "fly", 67: "trousers", 69: "olivebaboon_face",
    72: "person", 74: "germanshepherddog_face", 76: "polar_bear_body", 77: "commonwarthog_face",
    78: "long_sleeved_outwear", 80: "hand", 81: "bighornsheep_face", 83: "short_sleeved_outwear",
    84: "bed", 89: "proboscismonkey_face", 92: "macaque", 94: "blackbuck_face", 98: "table",
}  # fmt: skip


@pytest.mark.parametrize("number", MP100_NAMES)
def test_found_by_mp100s_own_names(number: int) -> None:
    assert schema(MP100_NAMES[number]) is mp100_schema(number)


@pytest.mark.parametrize("words", ["animal-17", "Animal 17", "dog", "DOG", "dog_body", "animal"])
def test_case_and_marks_do_not_matter(words: str) -> None:
    assert schema(words).name == "animal-17"


def test_an_unknown_category_lists_the_nearest_and_all() -> None:
    with pytest.raises(
        InputError, match=r"called 'zebraa' or is for it\. Nearest: zebra \(animal-17"
    ):
        schema("zebraa")
    with pytest.raises(InputError) as caught:
        schema("qqqqq")
    assert "Nearest" not in str(caught.value)
    assert all(name in str(caught.value) for name in schemas())
    with pytest.raises(InputError, match="no category 101; expected an id from 1 to 100"):
        mp100_schema(101)


def test_a_category_of_several_schemas() -> None:
    with pytest.raises(
        InputError, match="several keypoint schemas are for: face-5, face-19, face-68"
    ):
        schema("face")


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(schema_json(schema("person-17")), "utf-8")
    assert schema(path) == schema(str(path)) == read_schema(path) == schema("person-17")


def test_what_is_written_is_json_with_a_keypoint_a_line() -> None:
    text = schema_json(schema("bird-15"))
    assert KeypointSchema.from_dict(json.loads(text)) == schema("bird-15")
    assert len(re.findall(r'^  \{"name": .*\},?$', text, re.M)) == 15


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory. Give a file that"),
        ("{", "is no JSON: .* Mend that place"),
        ('{"name": "x", "keypoints": []}', "mine.json: The schema 'x' has no keypoints"),
        ("[]", "mine.json: This is no keypoint schema"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(AnnotationError, match=said):
        schema(path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AnnotationError, match="is no JSON"):
        read_schema(path)


def test_schemas_cannot_be_changed_by_mistake() -> None:
    with pytest.raises(TypeError):
        schemas()["mine"] = schema("bed")  # type: ignore[index]


def test_the_example_of_the_page_keeps_the_rules() -> None:
    page = (Path(__file__).parents[2] / "docs" / "keypoints.md").read_text("utf-8")
    (example,) = re.findall(
        r"^```json\n(\{\n \"schema\": \"headsight.keypoints.*?)^```$", page, re.M | re.S
    )
    found = KeypointSchema.from_dict(json.loads(example))
    assert lint_schema(found) == []
    assert json.loads(example) == found.to_dict()


def test_the_page_names_every_schema_but_the_garments() -> None:
    page = (Path(__file__).parents[2] / "docs" / "keypoints.md").read_text("utf-8")
    unnamed = {name for name in schemas() if f"`{name}`" not in page}
    assert all(schema(name).source.startswith("DeepFashion2") for name in unnamed)
    assert len([s for s in schemas().values() if s.source.startswith("DeepFashion2")]) == 13


def test_schemas_beside_rendered_objects(tmp_path: Path) -> None:
    path = tmp_path / "schemas.json"
    written = {"categories": {"wolf": "animal-17", "lynx": "animal-17"},
               "schemas": [schema("animal-17").to_dict()]}  # fmt: skip
    path.write_text(json.dumps(written))
    [found] = read_schemas(path)
    assert found.categories == ("wolf", "lynx")
    assert found.names == schema("animal-17").names
    assert schema(f"{path}#animal-17") == schema(f"{path}#Lynx") == found
    with pytest.raises(InputError, match=r"no schema 'lion'. It holds animal-17 \(wolf, lynx\)"):
        schema(f"{path}#lion")
    with pytest.raises(AnnotationError, match=r"holds 1 schemas.*schemas\.json#animal-17"):
        schema(str(path))
    path.write_text("[]")
    with pytest.raises(AnnotationError, match=r"schemas\.json holds no schemas"):
        read_schemas(path)
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_schemas(tmp_path / "none.json")
