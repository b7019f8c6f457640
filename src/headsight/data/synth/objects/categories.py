"""Every kind of rendered object, one line each: seen to train on, unseen to measure transfer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from headsight.data.synth.objects import creatures, figures, furniture, garments, things, vehicles
from headsight.data.synth.objects.birds import BIRDS, bird
from headsight.data.synth.objects.builds import BUILDS
from headsight.data.synth.objects.category import Category, Split, View
from headsight.data.synth.objects.kit import Kit
from headsight.data.synth.objects.quadrupeds import quadruped

__all__ = ["CATEGORIES", "names_of"]

_ROOM = View(elevation=(2.0, 42.0))
_NEAR = View(azimuth=(-50.0, 50.0), elevation=(2.0, 42.0))
"""Of a table the near side is the front."""
_ROAD = View(elevation=(-3.0, 30.0))
_ABOVE = View(elevation=(15.0, 85.0), roll=25.0)
_SWIM = View(elevation=(-25.0, 30.0), roll=8.0, has_ground=False)
_FLY = View(elevation=(-50.0, 55.0), roll=12.0, has_ground=False)
_WORN = View(azimuth=(-70.0, 70.0), elevation=(-10.0, 20.0), roll=9.0, has_ground=False)
_HEAD = View(azimuth=(-75.0, 75.0), elevation=(-18.0, 22.0), roll=9.0, has_ground=False)
_ANY = View(elevation=(-30.0, 50.0), roll=180.0, has_ground=False)
_LYING = View(elevation=(35.0, 90.0), roll=180.0)


def _of(
    name: str,
    schema: str,
    build: Callable[[Kit], None],
    view: View = View(),  # noqa: B008  (frozen)
    split: Split = "seen",
) -> Category:
    return Category(name=name, schema=schema, build=build, view=view, split=split)


def _animal(name: str, split: Split = "seen", view: View = View()) -> Category:  # noqa: B008
    return _of(name, "animal-17", partial(quadruped, build=BUILDS[name]), view, split)


def _bird(name: str, view: View = View(), split: Split = "seen") -> Category:  # noqa: B008
    return _of(name, "bird-15", partial(bird, kind=BIRDS[name]), view, split)


_ALL = (
    _animal("dog"),
    _animal("cat"),
    _animal("horse"),
    _animal("cow"),
    _animal("pig"),
    _animal("sheep"),
    _animal("elephant"),
    _animal("rabbit"),
    _animal("bear"),
    _animal("giraffe", "unseen"),
    _animal("deer", "unseen"),
    _animal("lizard", "unseen", View(elevation=(10.0, 75.0), roll=12.0)),
    _bird("songbird"),
    _bird("gull", _FLY),
    _bird("duck"),
    _bird("heron", split="unseen"),
    _of("fish", "fish-13", creatures.fish, _SWIM),
    _of("shark", "fish-13", creatures.shark, _SWIM, "unseen"),
    _of("beetle", "insect-13", creatures.beetle, _ABOVE),
    _of("ant", "insect-13", creatures.ant, _ABOVE, "unseen"),
    _of("fly", "winged-insect-15", creatures.fly, _ABOVE),
    _of("spider", "spider-12", creatures.spider, _ABOVE),
    _of("chair", "chair-10", furniture.chair, _ROOM),
    _of("table", "table-8", furniture.table, _NEAR),
    _of("stool", "table-8", furniture.stool, _NEAR),
    _of("sofa", "sofa-14", furniture.sofa, _ROOM),
    _of("bed", "bed-10", furniture.bed, View(elevation=(8.0, 50.0)), "unseen"),
    _of("lamp", "lamp-9", furniture.lamp, _ROOM),
    _of("car", "vehicle-13", vehicles.car, _ROAD),
    _of("truck", "vehicle-13", vehicles.truck, _ROAD),
    _of("bus", "vehicle-13", vehicles.bus, _ROAD, "unseen"),
    _of("bicycle", "bicycle-12", vehicles.bicycle, _ROAD),
    _of("airplane", "airplane-12", vehicles.airplane, _FLY),
    _of("shirt", "shirt-14", garments.shirt, _WORN),
    _of("trousers", "trousers-12", garments.trousers, _WORN),
    _of("skirt", "skirt-8", garments.skirt, _WORN, "unseen"),
    _of("dress", "dress-14", garments.dress, _WORN),
    _of("hand", "hand-21", figures.hand, _ANY),
    _of("face", "face-20", figures.face, _HEAD),
    _of("person", "person-17", figures.person, View(elevation=(-6.0, 25.0))),
    _of("robot", "person-17", figures.robot, View(elevation=(-6.0, 25.0)), "unseen"),
    _of("scissors", "scissors-9", things.scissors, _LYING),
    _of("hammer", "hammer-8", things.hammer, _ANY),
    _of("axe", "axe-8", things.axe, _ANY, "unseen"),
    _of("mug", "mug-11", things.mug, View(elevation=(5.0, 60.0))),
    _of("teapot", "teapot-10", things.teapot, View(elevation=(5.0, 55.0)), "unseen"),
)
CATEGORIES = {category.name: category for category in _ALL}
"""By name."""


def names_of(split: Split) -> tuple[str, ...]:
    """The names of the categories of a split."""
    return tuple(c.name for c in _ALL if c.split == split)
