"""How a model is asked for keypoints, and how it was taught to be.

After CapeLLM (arXiv 2411.06869).
"""

from __future__ import annotations

__all__ = ["ORDERS", "Asking", "asking_of", "order_of"]

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from headsight.errors import InputError
from headsight.geometry.keypoints import FRAMES
from headsight.language.rounds import RoundFormat
from headsight.language.schema import KeypointSchema
from headsight.models.base import VLM, AttentiveVLM

_LOG = logging.getLogger(__name__)
ORDERS = ("schema", "confidence")
"""Orders by name: that of the schema, or the surest point first."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How points are asked; what a model was taught with is kept beside its weights."""

    form: RoundFormat = field(default_factory=RoundFormat)
    """Question and answer."""
    frame: str = "crop"
    """What coordinates are fractions of: `crop` or `image`."""
    pad: int | float = 1.0
    """Side of the crop, in longer sides of the box."""
    side: int = 224
    """Of the crop as the model sees it, px."""
    mode: str = "independent"
    """Each point by itself, or (`cumulative`) behind the answers before it."""
    window: int = 16
    """Rounds that are remembered."""
    order: str | tuple[str, ...] = "schema"
    """An entry of `ORDERS`, or names of all points."""
    constrain: bool = False
    """Let the model write well-formed answers only."""
    decode: str = "argmax"
    """The answer as written, or the mean or the median of its distribution."""
    with_density: bool = False
    """Keep the distributions."""
    batch: int = 15
    """Objects in one conversation."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("frame", self.frame, FRAMES),
            ("mode", self.mode, ("independent", "cumulative")),
            ("decode", self.decode, ("argmax", "mean", "median")),
        ):
            if value not in known:
                raise InputError(f"{name} is {value!r}; expected one of {', '.join(known)}.")
        if self.window < 0 or self.batch < 1 or not self.pad > 0 or self.side < 1:
            raise InputError(
                f"window is {self.window}, batch {self.batch}, pad {self.pad} and side"
                f" {self.side}; expected 0 or more, and positive numbers."
            )


def asking_of(vlm: VLM, **changed: Any) -> Asking:
    """How this model was taught to be asked, with `changed` settings; None leaves one as it is.

    A model that was taught in rounds of any number is asked cumulatively, behind as many answers as
    it has seen, every other one point by point.
    """
    kept: Mapping[str, Any] = {}
    if isinstance(vlm, AttentiveVLM):
        kept = getattr(vlm.model.config, "headsight_keypoints", None) or {}
    told = {f.name: kept[f.name] for f in fields(RoundFormat) if f.name in kept}
    if "roles" in told:  # a list in JSON
        told["roles"] = tuple(told["roles"])
    form = RoundFormat(**told)
    is_dynamic = kept.get("rounds") == "dynamic"
    asking = Asking(
        form=form,
        mode="cumulative" if is_dynamic else "independent",
        **({"window": kept["k"] - 1} if is_dynamic and "k" in kept else {}),
        **{name: kept[name] for name in ("frame", "pad", "side") if name in kept},
    )
    asking = replace(asking, **{k: v for k, v in changed.items() if v is not None})
    most = kept.get("k", 1) if kept.get("rounds") in ("fixed", "single") else None
    if asking.mode == "cumulative" and most is not None and asking.window >= most:
        _LOG.warning(
            "event=window model=%s taught=%s rounds=%d window=%d: answers behind more rounds than"
            " were taught go wrong; use mode=independent or window=%d",
            vlm.name, kept["rounds"], most, asking.window, most - 1,
        )  # fmt: skip
    return asking


def order_of(order: str | tuple[str, ...], schema: KeypointSchema) -> list[int] | None:
    """Indices of the points in the order in which they are asked; None: by confidence.

    Raises:
        InputError: names that are not those of all points.
    """
    if order == "schema":
        return list(range(len(schema)))
    if order == "confidence":
        return None
    names = (order,) if isinstance(order, str) else order
    if sorted(names) != sorted(schema.names):
        raise InputError(
            f"The order names {', '.join(names)}; expected {' or '.join(ORDERS)}, or each of"
            f" {', '.join(schema.names)} once."
        )
    return [schema.names.index(name) for name in names]
