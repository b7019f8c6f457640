"""Head rotations: one frame inside, every data set's own convention at the edges.

Frame "cv": camera x right, y down, z into the scene; a head that looks straight at the camera is
the identity, its face direction is -z. `R = Rx(-pitch) Ry(yaw) Rz(roll)` maps head to camera.
Angles are always in the order yaw, pitch, roll and in degrees: yaw > 0 turns the face to the image
left, pitch > 0 looks up, roll > 0 turns the head clockwise in the image. Every function takes numpy
arrays and torch tensors alike, with free leading dimensions.

The six-number form follows 6DRepNet (arXiv:2202.12555); the geodesic angle uses atan2 where that
paper's code clamps acos, so that it is exact at 0 and 180 degrees and keeps its gradient.
"""
# mypy: disable-error-code="no-any-return"
# (the array module is numpy or torch, so what it returns is typed by the signatures alone)

from __future__ import annotations

__all__ = [
    "CONVENTIONS",
    "EULER_SIGNS",
    "Convention",
    "EulerFlags",
    "circular_mean_deg",
    "convert",
    "face_direction",
    "geodesic_deg",
    "matrix_to_quaternion",
    "matrix_to_sixd",
    "matrix_to_ypr",
    "mean_vector_error_deg",
    "mirror",
    "quaternion_to_matrix",
    "require_degrees",
    "rotate_in_plane",
    "sixd_to_matrix",
    "unit_to_ypr",
    "vector_errors_deg",
    "wrap_deg",
    "ypr_from",
    "ypr_to_matrix",
    "ypr_to_unit",
]

from dataclasses import dataclass
from typing import Any, Generic

from jaxtyping import Bool, Float

from headsight.errors import InputError
from headsight.geometry.arrays import ArrayT, namespace

GIMBAL_LIMIT = 1 - 1e-7
SMALLEST_NORM = 1e-8
FULL_TURN = 360.0


@dataclass(frozen=True)
class EulerFlags(Generic[ArrayT]):
    """Where yaw, pitch and roll do not describe a rotation well."""

    gimbal: Bool[ArrayT, "*batch"]
    """Yaw is +-90 degrees: only pitch and roll together are defined (roll is given as 0)."""
    upside_down: Bool[ArrayT, "*batch"]
    """No triple with |pitch| < 90 and |roll| < 90 exists; the one with |yaw| <= 90 is given."""


@dataclass(frozen=True)
class Convention:
    """How a stored matrix M relates to ours: `R_cv = D M D` (or `D M^T D`) with D = diag(signs)."""

    signs: tuple[int, int, int]
    """Diagonal of D: which axes point the other way."""
    transposed: bool
    """True where the stored matrix maps camera to head."""
    meaning: str
    """What the source stores."""


CONVENTIONS: dict[str, Convention] = {
    "cv": Convention((1, 1, 1), False, "camera x right, y down, z into the scene; head to camera"),
    "300wlp": Convention((1, -1, -1), False, "3DDFA, 300W-LP, AFLW2000: Rx(p)^T Ry(y)^T Rz(r)^T"),
    "6drepnet": Convention((1, -1, -1), True, "6DRepNet network output: Rz(r) Ry(y) Rx(p)"),
    "draw_axis": Convention((1, 1, -1), False, "what draw_axis draws: Rx(p) Ry(-y) Rz(r)"),
    "biwi": Convention((1, 1, 1), False, "the 3x3 block of BIWI *_pose.txt"),
    "agora_hpe": Convention((1, 1, 1), False, "AGORA-HPE, CMU-HPE: matrix of euler_angles"),
    "img2pose": Convention((1, 1, 1), False, "matrix of the img2pose rotation vector"),
    "dad3d": Convention((1, -1, -1), False, "DAD-3DHeads model_view_matrix[:3, :3] (unverified)"),
}

EULER_SIGNS: dict[str, tuple[int, int, int]] = {
    "cv": (1, 1, 1),
    "300wlp": (1, 1, 1),
    "biwi": (1, 1, 1),
    "agora_hpe": (1, 1, 1),
    "opal23": (-1, 1, 1),
}
"""Signs that turn a source's own yaw, pitch, roll into ours.

"opal23" are that repository's BIWI and Panoptic label tables.
"""


def ypr_to_matrix(ypr_deg: Float[ArrayT, "*batch 3"]) -> Float[ArrayT, "*batch 3 3"]:
    """Rotation matrices of yaw, pitch, roll."""
    xp = namespace(ypr_deg)
    rad = xp.deg2rad(ypr_deg)
    cos, sin = xp.cos(rad), xp.sin(rad)
    cy, cp, cr = cos[..., 0], cos[..., 1], cos[..., 2]
    sy, sp, sr = sin[..., 0], sin[..., 1], sin[..., 2]
    rows = (
        (cy * cr, -cy * sr, sy),
        (cp * sr - sp * sy * cr, cp * cr + sp * sy * sr, sp * cy),
        (-sp * sr - cp * sy * cr, -sp * cr + cp * sy * sr, cp * cy),
    )
    return _matrix(xp, rows)


def matrix_to_ypr(
    rotations: Float[ArrayT, "*batch 3 3"],
) -> tuple[Float[ArrayT, "*batch 3"], EulerFlags[ArrayT]]:
    """Yaw in (-180, 180], pitch and roll in (-90, 90), and flags where no such triple exists.

    A rotation that is NaN gives NaN angles and no flag.
    """
    xp = namespace(rotations)
    r = rotations
    sine = xp.clip(r[..., 0, 2], -1.0, 1.0)
    yaw_front = xp.arcsin(sine)
    gimbal = abs(r[..., 0, 2]) > GIMBAL_LIMIT
    candidates = []
    for sign in (1.0, -1.0):  # cos(yaw) >= 0, then the other solution, 180 - yaw
        pitch = xp.arctan2(sign * r[..., 1, 2], sign * r[..., 2, 2])
        roll = xp.arctan2(-sign * r[..., 0, 1], sign * r[..., 0, 0])
        candidates.append((xp.rad2deg(pitch), xp.rad2deg(roll)))
    (pitch, roll), (pitch_back, roll_back) = candidates
    is_front = (abs(pitch) < 90) & (abs(roll) < 90)
    is_back = ~is_front & (abs(pitch_back) < 90) & (abs(roll_back) < 90) & ~gimbal
    yaw = xp.rad2deg(yaw_front)
    yaw = xp.where(is_back, wrap_deg(180.0 - yaw), yaw)
    pitch = xp.where(is_back, pitch_back, pitch)
    roll = xp.where(is_back, roll_back, roll)
    pitch = xp.where(gimbal, xp.rad2deg(xp.arctan2(-r[..., 2, 1], r[..., 1, 1])), pitch)
    roll = xp.where(gimbal, xp.zeros_like(roll), roll)
    upside_down = ~is_front & ~is_back & ~gimbal & xp.isfinite(pitch)
    return xp.stack((yaw, pitch, roll), -1), EulerFlags(gimbal, upside_down)


def convert(
    rotations: Float[ArrayT, "*batch 3 3"], source: str, target: str = "cv"
) -> Float[ArrayT, "*batch 3 3"]:
    """Matrices stored in convention `source`, written in convention `target`.

    Raises:
        InputError: a name that is not in `CONVENTIONS`.
    """
    xp = namespace(rotations)
    result: Any = rotations
    for name in (source, target):  # each convention's map is its own inverse
        convention = _look_up(CONVENTIONS, name)
        signs = _vector(xp, convention.signs, rotations)
        result = result * signs[:, None] * signs
        if convention.transposed:
            result = result.swapaxes(-1, -2)
    return result


def ypr_from(ypr_deg: Float[ArrayT, "*batch 3"], source: str) -> Float[ArrayT, "*batch 3"]:
    """Yaw, pitch, roll in our signs, of triples in the signs of `source` (see `EULER_SIGNS`)."""
    xp = namespace(ypr_deg)
    return ypr_deg * _vector(xp, _look_up(EULER_SIGNS, source), ypr_deg)


def require_degrees(ypr_deg: Float[ArrayT, "n 3"], *, name: str = "ypr_deg") -> None:
    """Pass a table of angles that can be degrees.

    Raises:
        InputError: ten rows or more and no angle beyond 3.2: they look like radians.
    """
    if len(ypr_deg) >= 10 and (largest := float(abs(ypr_deg).max())) <= 3.2:
        raise InputError(
            f"{name}: angles look like radians (|max| {largest:.1f} over {len(ypr_deg)} rows), but"
            " degrees in the order yaw, pitch, roll are expected. Convert them with numpy.rad2deg."
        )


def wrap_deg(degrees: Float[ArrayT, "*batch"]) -> Float[ArrayT, "*batch"]:
    """The same angles in (-180, 180]."""
    xp = namespace(degrees)
    # Not 180 - (180 - d) mod 360: that would round every small angle to the precision of 180.
    turned = xp.fmod(degrees, FULL_TURN)
    turned = xp.where(turned > 180.0, turned - FULL_TURN, turned)
    return xp.where(turned <= -180.0, turned + FULL_TURN, turned)


def circular_mean_deg(
    degrees: Float[ArrayT, "*batch n"], weights: Float[ArrayT, "*#batch n"] | None = None
) -> Float[ArrayT, "*batch"]:
    """(Weighted) mean direction over the last axis, in (-180, 180]; NaN where all cancels out."""
    xp = namespace(degrees)
    rad = xp.deg2rad(degrees)
    cos, sin = xp.cos(rad), xp.sin(rad)
    if weights is not None:
        cos, sin = cos * weights, sin * weights
        total = abs(weights).sum(-1)
    else:
        total = xp.asarray(float(degrees.shape[-1]))
    x, y = cos.sum(-1), sin.sum(-1)
    mean = wrap_deg(xp.rad2deg(xp.arctan2(y, x)))
    is_defined = x * x + y * y > (1e-6 * total) ** 2  # exact zero is lost to rounding
    return xp.where(is_defined, mean, float("nan"))


def sixd_to_matrix(sixd: Float[ArrayT, "*batch 6"]) -> Float[ArrayT, "*batch 3 3"]:
    """Gram-Schmidt of two 3-vectors into columns x, y, z; NaN where they are parallel or zero.

    The numbers are the first two *columns*; libraries that stack rows hold our numbers of the
    transposed matrix.
    """
    xp = namespace(sixd)
    first, second = sixd[..., :3], sixd[..., 3:]
    x, x_norm = _unit(xp, first)
    z, z_norm = _unit(xp, _cross(xp, x, _unit(xp, second)[0]))
    y = _cross(xp, z, x)
    is_rotation = (x_norm > SMALLEST_NORM) & (z_norm > _parallel_limit(xp, sixd))
    matrix = xp.stack((x, y, z), -1)
    return xp.where(is_rotation[..., None, None], matrix, float("nan"))


def matrix_to_sixd(rotations: Float[ArrayT, "*batch 3 3"]) -> Float[ArrayT, "*batch 6"]:
    """The first two columns, one after the other."""
    xp = namespace(rotations)
    return xp.concatenate((rotations[..., 0], rotations[..., 1]), -1)


def matrix_to_quaternion(rotations: Float[ArrayT, "*batch 3 3"]) -> Float[ArrayT, "*batch 4"]:
    """Unit quaternions x, y, z, w with w >= 0."""
    xp = namespace(rotations)
    r = rotations
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    skew, even = r - r.swapaxes(-1, -2), r + r.swapaxes(-1, -2)
    wx, wy, wz = skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]
    xy, xz, yz = even[..., 0, 1], even[..., 0, 2], even[..., 1, 2]
    candidates = _matrix(  # 4 q_i q for i = x, y, z, w; the longest row is the well-conditioned one
        xp,
        (
            (1 + xx - yy - zz, xy, xz, wx),
            (xy, 1 - xx + yy - zz, yz, wy),
            (xz, yz, 1 - xx - yy + zz, wz),
            (wx, wy, wz, 1 + xx + yy + zz),
        ),
    )
    squares = (candidates * candidates).sum(-1)
    chosen = (candidates * _is_largest(xp, squares)[..., None]).sum(-2)
    unit, _ = _unit(xp, chosen)
    return xp.where(unit[..., 3:] < 0, -unit, unit)


def quaternion_to_matrix(quaternions: Float[ArrayT, "*batch 4"]) -> Float[ArrayT, "*batch 3 3"]:
    """Rotation matrices of quaternions x, y, z, w of any length but zero (NaN there)."""
    xp = namespace(quaternions)
    unit, norm = _unit(xp, quaternions)
    x, y, z, w = unit[..., 0], unit[..., 1], unit[..., 2], unit[..., 3]
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    is_rotation = norm > SMALLEST_NORM
    return xp.where(is_rotation[..., None, None], _matrix(xp, rows), float("nan"))


def geodesic_deg(
    a: Float[ArrayT, "*#batch 3 3"], b: Float[ArrayT, "*#batch 3 3"]
) -> Float[ArrayT, "*batch"]:
    """Angle in [0, 180] of the rotation that takes `a` to `b`; leading dimensions broadcast."""
    xp = namespace(a, b)
    between = a.swapaxes(-1, -2) @ b
    skew = between - between.swapaxes(-1, -2)
    sine = xp.sqrt((skew * skew).sum(-1).sum(-1) / 8)
    cosine = (between[..., 0, 0] + between[..., 1, 1] + between[..., 2, 2] - 1) / 2
    return xp.rad2deg(xp.arctan2(sine, cosine))


def vector_errors_deg(
    a: Float[ArrayT, "*#batch 3 3"], b: Float[ArrayT, "*#batch 3 3"]
) -> Float[ArrayT, "*batch 3"]:
    """Angle between the first, second and third columns of `a` and `b`."""
    xp = namespace(a, b)
    p, q = a.swapaxes(-1, -2), b.swapaxes(-1, -2)
    cross = _cross(xp, p, q)
    sine, cosine = xp.sqrt((cross * cross).sum(-1)), (p * q).sum(-1)
    return xp.rad2deg(xp.arctan2(sine, cosine))


def mean_vector_error_deg(
    a: Float[ArrayT, "*#batch 3 3"], b: Float[ArrayT, "*#batch 3 3"]
) -> Float[ArrayT, "*batch"]:
    """MAEV: mean of the three column angles."""
    return vector_errors_deg(a, b).mean(-1)


def mirror(rotations: Float[ArrayT, "*batch 3 3"]) -> Float[ArrayT, "*batch 3 3"]:
    """The rotation seen in the picture flipped left to right: yaw and roll change sign."""
    xp = namespace(rotations)
    signs = _vector(xp, (-1.0, 1.0, 1.0), rotations)
    return rotations * signs[:, None] * signs


def rotate_in_plane(
    rotations: Float[ArrayT, "*batch 3 3"], clockwise_deg: int | float
) -> Float[ArrayT, "*batch 3 3"]:
    """The rotation seen in the picture turned clockwise (not the same as adding to roll)."""
    xp = namespace(rotations)
    turn = ypr_to_matrix(_vector(xp, (0.0, 0.0, clockwise_deg), rotations))
    return turn @ rotations


def face_direction(rotations: Float[ArrayT, "*batch 3 3"]) -> Float[ArrayT, "*batch 3"]:
    """Unit vector out of the face, in camera axes."""
    return -rotations[..., 2]


def _look_up(table: dict[str, Any], name: str) -> Any:
    if name not in table:
        known = ", ".join(table)
        raise InputError(f"Unknown rotation convention {name!r}; expected one of {known}.")
    return table[name]


def _vector(xp: Any, values: tuple[int | float, ...], like: Any) -> Any:
    """`values` as an array of the dtype and device of `like`."""
    return xp.asarray(values, dtype=like.dtype, device=like.device)


def _matrix(xp: Any, rows: tuple[tuple[Any, ...], ...]) -> Any:
    return xp.stack([xp.stack(row, -1) for row in rows], -2)


def _unit(xp: Any, vectors: Any) -> tuple[Any, Any]:
    """Unit vectors (zero stays zero) and the norms."""
    squares = (vectors * vectors).sum(-1)
    is_long = squares > SMALLEST_NORM**2
    # The square root of 1 in place of 0 keeps the gradient finite.
    norm = xp.sqrt(xp.where(is_long, squares, xp.ones_like(squares)))
    return vectors / norm[..., None], xp.where(is_long, norm, xp.zeros_like(norm))


def _cross(xp: Any, a: Any, b: Any) -> Any:
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return xp.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), -1)


def _parallel_limit(xp: Any, like: Any) -> float:
    """Sine below which two unit vectors of this dtype cannot be told apart."""
    return 4 * float(xp.finfo(like.dtype).eps)


def _is_largest(xp: Any, values: Any) -> Any:
    """One True per row of the last axis, at its first largest value."""
    return xp.arange(values.shape[-1], device=values.device) == values.argmax(-1)[..., None]


def ypr_to_unit(ypr_deg: Float[ArrayT, "*batch 3"]) -> Float[ArrayT, "*batch 3"]:
    """Shares in [0, 1] of the ranges 360, 180, 180 degrees; zero is 0.5 (arXiv:2302.01110)."""
    return ypr_deg / _spans(ypr_deg) + 0.5


def unit_to_ypr(shares: Float[ArrayT, "*batch 3"]) -> Float[ArrayT, "*batch 3"]:
    """Yaw, pitch, roll in degrees; the inverse of `ypr_to_unit`."""
    return (shares - 0.5) * _spans(shares)


def _spans(like: Float[ArrayT, "*batch 3"]) -> Float[ArrayT, 3]:
    xp = namespace(like)
    return xp.asarray([360.0, 180.0, 180.0], dtype=like.dtype)
