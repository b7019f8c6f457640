"""Measures of animals on four legs."""

from __future__ import annotations

from dataclasses import dataclass

from headsight.data.synth.objects.skins import Colour

__all__ = ["BUILDS", "WHITE", "Build"]

_BROWN: Colour = (0.45, 0.29, 0.17)
_TAN: Colour = (0.76, 0.58, 0.38)
_GREY: Colour = (0.50, 0.49, 0.48)
WHITE: Colour = (0.90, 0.88, 0.85)
_COAL: Colour = (0.13, 0.12, 0.12)
_GINGER: Colour = (0.75, 0.42, 0.17)
_PINK: Colour = (0.90, 0.68, 0.64)
_GREEN: Colour = (0.35, 0.47, 0.18)


@dataclass(frozen=True, kw_only=True)
class Build:
    """Measures in lengths of the trunk, from the shoulder to the hip."""

    leg: float
    """Height of the shoulder above the ground."""
    girth: float
    """Half the height of the trunk."""
    width: float = 0.8
    """Of the trunk, relative to its height."""
    neck: float
    neck_up: float
    """Degrees above the horizontal."""
    head: float
    """Length from nape to nose."""
    snout: float = 0.5
    """Share of the head before the eyes."""
    muzzle: float = 0.45
    """Thickness of the nose's end relative to the skull."""
    limb: float
    """Radius of the lower leg."""
    ear: float
    """Length, in heads."""
    ear_shape: str = "pointed"
    """pointed, floppy, round or none."""
    tail: float
    tail_up: float = -50.0
    """Degrees above the horizontal."""
    tail_thick: float = 0.05
    crest: str = ""
    """mane, horns, antlers, trunk, wool or knobs."""
    sits: float = 0.0
    """Share of animals that sit."""
    sprawls: bool = False
    is_digitigrade: bool = True
    """The middle joint of its hind legs is the hock, which bends backward."""
    colours: tuple[Colour, ...]
    patterns: tuple[str, ...]


BUILDS: dict[str, Build] = {
    "dog": Build(
        leg=0.8,
        girth=0.28,
        neck=0.3,
        neck_up=46.0,
        head=0.5,
        limb=0.055,
        ear=0.42,
        ear_shape="either",
        tail=0.6,
        tail_up=25.0,
        sits=0.25,
        snout=0.48,
        muzzle=0.5,
        colours=(_BROWN, _TAN, WHITE, _COAL, _GREY),
        patterns=("plain", "patches", "belly"),
    ),
    "cat": Build(
        leg=0.62,
        girth=0.23,
        neck=0.26,
        neck_up=35.0,
        head=0.40,
        limb=0.05,
        ear=0.42,
        tail=0.9,
        tail_up=30.0,
        sits=0.3,
        snout=0.28,
        muzzle=0.5,
        colours=(_GINGER, _GREY, WHITE, _COAL, _TAN),
        patterns=("plain", "stripes", "patches"),
    ),
    "horse": Build(
        leg=1.15,
        girth=0.31,
        width=0.75,
        neck=0.72,
        neck_up=48.0,
        head=0.68,
        limb=0.05,
        ear=0.2,
        tail=0.75,
        tail_up=-70.0,
        tail_thick=0.07,
        crest="mane",
        snout=0.66,
        colours=(_BROWN, _GINGER, _COAL, WHITE, _GREY),
        patterns=("plain", "plain", "patches"),
    ),
    "cow": Build(
        leg=0.82,
        girth=0.34,
        width=0.85,
        neck=0.4,
        neck_up=18.0,
        head=0.5,
        limb=0.06,
        ear=0.36,
        ear_shape="floppy",
        tail=0.7,
        tail_up=-80.0,
        tail_thick=0.025,
        crest="horns",
        snout=0.6,
        muzzle=0.7,
        colours=(_BROWN, WHITE, _COAL, _TAN),
        patterns=("patches", "patches", "plain"),
    ),
    "pig": Build(
        leg=0.52,
        girth=0.33,
        width=0.95,
        neck=0.16,
        neck_up=0.0,
        head=0.48,
        limb=0.06,
        ear=0.36,
        ear_shape="either",
        tail=0.2,
        tail_up=30.0,
        tail_thick=0.02,
        snout=0.55,
        muzzle=0.5,
        colours=(_PINK, _PINK, _COAL, WHITE),
        patterns=("plain", "plain", "patches"),
    ),
    "sheep": Build(
        leg=0.70,
        girth=0.36,
        width=0.95,
        neck=0.3,
        neck_up=40.0,
        head=0.40,
        limb=0.045,
        ear=0.42,
        ear_shape="floppy",
        tail=0.2,
        tail_up=-60.0,
        tail_thick=0.05,
        crest="wool",
        snout=0.55,
        colours=(WHITE, WHITE, _TAN, _GREY),
        patterns=("plain",),
    ),
    "elephant": Build(
        is_digitigrade=False,
        leg=0.98,
        girth=0.43,
        width=0.85,
        neck=0.2,
        neck_up=25.0,
        head=0.52,
        limb=0.125,
        ear=0.95,
        ear_shape="fan",
        tail=0.6,
        tail_up=-75.0,
        tail_thick=0.025,
        crest="trunk",
        snout=0.3,
        muzzle=0.6,
        colours=(_GREY, (0.42, 0.38, 0.35)),
        patterns=("plain",),
    ),
    "rabbit": Build(
        leg=0.42,
        girth=0.36,
        width=0.9,
        neck=0.12,
        neck_up=40.0,
        head=0.46,
        limb=0.05,
        ear=1.05,
        ear_shape="tall",
        tail=0.12,
        tail_up=40.0,
        tail_thick=0.09,
        sits=0.4,
        snout=0.38,
        muzzle=0.55,
        colours=(_BROWN, WHITE, _GREY, _TAN),
        patterns=("plain", "patches", "belly"),
    ),
    "bear": Build(
        is_digitigrade=False,
        leg=0.72,
        girth=0.36,
        width=0.95,
        neck=0.25,
        neck_up=20.0,
        head=0.5,
        limb=0.1,
        ear=0.24,
        ear_shape="round",
        tail=0.08,
        tail_thick=0.05,
        snout=0.5,
        muzzle=0.4,
        sits=0.15,
        colours=(_BROWN, _COAL, WHITE),
        patterns=("plain",),
    ),
    "giraffe": Build(
        leg=1.55,
        girth=0.36,
        width=0.7,
        neck=1.45,
        neck_up=62.0,
        head=0.48,
        limb=0.055,
        ear=0.3,
        ear_shape="floppy",
        tail=0.7,
        tail_up=-75.0,
        tail_thick=0.03,
        crest="knobs",
        snout=0.62,
        colours=(_TAN, _BROWN),
        patterns=("spots", "patches"),
    ),
    "deer": Build(
        leg=1.05,
        girth=0.26,
        width=0.72,
        neck=0.55,
        neck_up=58.0,
        head=0.46,
        limb=0.035,
        ear=0.45,
        ear_shape="pointed",
        tail=0.14,
        tail_up=10.0,
        crest="antlers",
        snout=0.58,
        colours=(_BROWN, _TAN, _GINGER),
        patterns=("belly", "plain", "spots"),
    ),
    "lizard": Build(
        is_digitigrade=False,
        leg=0.22,
        girth=0.13,
        width=1.3,
        neck=0.2,
        neck_up=8.0,
        head=0.36,
        limb=0.035,
        ear=0.0,
        ear_shape="none",
        tail=1.3,
        tail_up=-4.0,
        tail_thick=0.1,
        sprawls=True,
        snout=0.5,
        muzzle=0.5,
        colours=(_GREEN, _BROWN, _GREY, _GINGER),
        patterns=("spots", "stripes", "plain"),
    ),
}
"""By category."""
