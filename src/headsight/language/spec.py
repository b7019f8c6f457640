"""What a text format is: the record that is saved with every model and every data file."""

from __future__ import annotations

__all__ = ["ANGLE_BINS", "KINDS", "CodecSpec", "Kind"]

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from headsight.errors import ConfigError

Kind = Literal["boxes", "pose", "point", "points", "count"]
Rounding = Literal["round", "floor"]
Frame = Literal["image", "crop"]
Visibility = Literal["assume", "ask"]

KINDS: tuple[Kind, ...] = get_args(Kind)
ANGLE_BINS = 360
ANGLE_CONVENTION = "yaw-left,pitch-up,roll-clockwise"


@dataclass(frozen=True)
class CodecSpec:
    """How places are written as text. Two texts may be compared only under equal specs."""

    kind: Kind
    """boxes `[[x0,y0,x1,y1;...]]`, pose `{yaw,pitch,roll}`, point `[0.x,0.y]`, points, count."""
    digits: int = 3
    """Digits of a box edge, decimals of a point: 10**digits steps a side (angles: always 3)."""
    rounding: Rounding = "round"
    """How the writer cut to steps; "floor" is read back at the middle of the step."""
    frame: Frame = "image"
    """What the numbers are relative to."""
    convention: str = ANGLE_CONVENTION
    """Signs of the three angles."""
    visibility: Visibility = "assume"
    """With "ask", a hidden point is answered by `none`."""

    def __post_init__(self) -> None:
        for name, choices in (
            ("kind", KINDS),
            ("rounding", get_args(Rounding)),
            ("frame", get_args(Frame)),
            ("visibility", get_args(Visibility)),
            ("convention", (ANGLE_CONVENTION,)),
        ):
            if (value := getattr(self, name)) not in choices:
                raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")
        if not isinstance(self.digits, int) or not 1 <= self.digits <= 6:
            raise ConfigError(f"digits is {self.digits!r}, but must be a whole number from 1 to 6.")

    @property
    def steps(self) -> int:
        """Number of steps that a side is divided into."""
        return int(10**self.digits)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or TOML."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CodecSpec:
        """The spec that `to_dict` wrote.

        Raises:
            ConfigError: an unknown or missing key, or a value out of range.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0)[0]
                raise ConfigError(f"Unknown codec key {key!r}. Did you mean {near!r}?")
        if "kind" not in values:
            raise ConfigError(f"The codec has no key 'kind'; expected one of {', '.join(KINDS)}.")
        return cls(**values)

    def require_same(self, other: CodecSpec, *, force: bool = False) -> None:
        """Pass when texts written under `other` may be read under this spec.

        Raises:
            ConfigError: the two differ, and `force` is not given.
        """
        if self == other or force:
            return
        mine, theirs = self.to_dict(), other.to_dict()
        differences = ", ".join(
            f"{key} {theirs[key]!r} (here {mine[key]!r})"
            for key in mine
            if mine[key] != theirs[key]
        )
        raise ConfigError(
            f"The text was written with another codec: {differences}."
            " Read it with its own spec, or pass force=True if you are sure."
        )
