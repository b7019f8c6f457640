"""Rotations relative to the camera's axes, and as seen along the line of sight.

A rotation is egocentric (relative to the camera's axes) or allocentric (relative to the line of
sight to the head): the same head at the border of a wide picture has two. What a crop shows, and
what every method that reads crops says, is the allocentric one; the two differ by the angle of the
line of sight, which takes the focal length to be known.
"""
# mypy: disable-error-code="no-any-return"
# (the array module is numpy or torch, so what it returns is typed by the signatures alone)

from __future__ import annotations

__all__ = ["to_allocentric", "to_egocentric"]

from typing import Any

from jaxtyping import Float

from headsight.geometry.arrays import ArrayT, namespace


def to_allocentric(
    rotations: Float[ArrayT, "*batch 3 3"], rays: Float[ArrayT, "*batch 3"]
) -> Float[ArrayT, "*batch 3 3"]:
    """Rotations relative to the line of sight, from those relative to the camera's axes.

    Args:
        rotations: head to camera.
        rays: from the camera to the heads, of any length, z > 0; for a head at (u, v) px and a
            camera with the focal length f and the middle (cx, cy): (u - cx, v - cy, f).

    Example:
        >>> import numpy as np
        >>> from headsight.geometry.rotations import matrix_to_ypr
        >>> ray = np.array([1.0, 0.0, 1.0])  # 45 degrees to the right of the picture's middle
        >>> matrix_to_ypr(to_allocentric(np.eye(3), ray))[0].round(6) + 0.0
        array([-45.,   0.,   0.])
    """
    return _from_ray(rays) @ rotations


def to_egocentric(
    rotations: Float[ArrayT, "*batch 3 3"], rays: Float[ArrayT, "*batch 3"]
) -> Float[ArrayT, "*batch 3 3"]:
    """Rotations relative to the camera's axes, from those relative to the line of sight.

    The inverse of `to_allocentric`, where `rays` are explained.
    """
    return _from_ray(rays).swapaxes(-1, -2) @ rotations


def _from_ray(rays: Any) -> Any:
    """The smallest rotations that turn `rays` onto the optical axis."""
    xp = namespace(rays)
    unit = rays / xp.sqrt((rays * rays).sum(-1))[..., None]
    x, y, z = unit[..., 0], unit[..., 1], unit[..., 2]
    share = 1 / (1 + z)
    across, down = 1 - x * x * share, 1 - y * y * share
    mixed = -x * y * share
    rows = ((across, mixed, -x), (mixed, down, -y), (x, y, z))
    return xp.stack([xp.stack(row, -1) for row in rows], -2)
