"""Settings that change with the name and the depth of a tensor, in mergekit's words."""

from __future__ import annotations

__all__ = ["Setting", "check_setting", "value_at"]

from typing import Any

from headsight.errors import ConfigError

Setting = Any
"""A number, true, false or a word; numbers spread evenly over the layers; or `{filter, value}`s."""


def value_at(setting: Setting, name: str, depth: float) -> Any:
    """The value for one tensor; None where no filter fits.

    A list of numbers is interpolated at `depth` (0 is the first layer, 1 the last). Of a list of
    `{filter, value}` the first counts whose filter is part of the name, or missing, or '*'.
    """
    if not isinstance(setting, list):
        return setting
    if not isinstance(setting[0], dict):
        place = depth * (len(setting) - 1)
        low = min(int(place), len(setting) - 1)
        high = min(low + 1, len(setting) - 1)
        share = place - low
        return (1 - share) * setting[low] + share * setting[high]
    for condition in setting:
        wanted = condition.get("filter")
        if wanted in (None, "*") or str(wanted) in name:
            return value_at(condition["value"], name, depth)
    return None


def check_setting(key: str, setting: Setting) -> None:
    """Pass if `setting` can be read.

    Raises:
        ConfigError: it is empty, mixed, or a filter has other keys than filter and value.
    """
    if setting is None or isinstance(setting, dict) or setting == []:
        raise ConfigError(
            f"{key} is {setting!r}; expected a number, a list of numbers over the layers, or a list"
            " of filter and value."
        )
    if not isinstance(setting, list):
        return
    if isinstance(setting[0], dict):
        for item in setting:
            if not isinstance(item, dict) or not {"value"} <= set(item) <= {"filter", "value"}:
                raise ConfigError(f"{key} holds {item!r}; expected the keys filter and value.")
            check_setting(key, item["value"])
        return
    if not all(isinstance(item, int | float) and not isinstance(item, bool) for item in setting):
        raise ConfigError(f"{key} is {setting!r}; a list must hold numbers only, or filters only.")
