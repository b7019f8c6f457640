"""What a way of merging is made of, and the settings that it reads."""

from __future__ import annotations

__all__ = ["Method", "Params"]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headsight.errors import ConfigError
from headsight.merging.blocks import Block, Blocks
from headsight.merging.numbers import Floats


@dataclass(frozen=True, kw_only=True)
class Params:
    """Settings for one tensor; each method reads its own."""

    weights: tuple[float, ...] = ()
    """One a model; empty: 1 for each."""
    densities: tuple[float, ...] = ()
    """Share of each model's changes that is kept, in (0, 1]; empty: all."""
    scale: float = 1.0
    """Lambda: factor of the summed changes."""
    t: float = 0.5
    """Place between two models: 0 is the base."""
    normalize: bool | None = None
    """Divide by the weights (of those that agree, in TIES); None: as the method has it."""
    rescale: str = "density"
    """DARE: `density` divides what is kept by it (the paper), `l1` keeps the sum of sizes."""
    sign_weights: bool = True
    """TIES: whether weights count when signs are elected."""
    divide_by: str = "weights"
    """TIES: normalise by the `weights` that agree, or by their `count` (as peft does)."""
    threshold: float = 0.95
    """Cosine that a unit must exceed to be taken from the expert."""
    seed: int = 0
    """Of what is drawn."""
    key: str = ""
    """Name of the tensor; with the seed it decides what is drawn."""

    def __post_init__(self) -> None:
        if bad := [d for d in self.densities if not 0 < d <= 1]:
            raise ConfigError(f"density is {bad[0]}; expected more than 0 and at most 1.")
        for name, known in (
            ("rescale", ("density", "l1", "none")),
            ("divide_by", ("weights", "count")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name} is '{getattr(self, name)}'; expected one of {', '.join(known)}."
                )

    def weight(self, index: int) -> float:
        """Of the model at `index`."""
        return self.weights[index] if self.weights else 1.0

    def density(self, index: int) -> float:
        """Of the model at `index`."""
        return self.densities[index] if self.densities else 1.0


def survey_nothing(blocks: Blocks, params: Params) -> None:
    """For methods that need to see only the piece at hand."""


def always(params: Params) -> bool:
    """For methods under which equal tensors stay as they are."""
    return True


@dataclass(frozen=True)
class Method:
    """A way of merging: a look at the whole tensor where one is needed, then piece by piece."""

    name: str
    combine: Callable[[Block, Params, Any], Floats]
    """The merged numbers of one piece; the last argument is what `survey` found."""
    survey: Callable[[Blocks, Params], Any] = survey_nothing
    needs_base: bool = True
    """Whether changes against a base are merged; else the models themselves are."""
    models: tuple[int, int | None] = (1, None)
    """Fewest and most models beside the base."""
    keeps_equal: Callable[[Params], bool] = always
    """Whether a tensor that is the same in all models comes out as it is."""
