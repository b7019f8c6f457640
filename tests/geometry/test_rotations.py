"""Known answers were worked out independently of the code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from headsight.errors import InputError
from headsight.geometry.line_of_sight import to_allocentric, to_egocentric
from headsight.geometry.rotations import (
    CONVENTIONS,
    circular_mean_deg,
    convert,
    face_direction,
    geodesic_deg,
    matrix_to_quaternion,
    matrix_to_sixd,
    matrix_to_ypr,
    mean_vector_error_deg,
    mirror,
    quaternion_to_matrix,
    require_degrees,
    rotate_in_plane,
    sixd_to_matrix,
    unit_to_ypr,
    vector_errors_deg,
    wrap_deg,
    ypr_from,
    ypr_to_matrix,
    ypr_to_unit,
)

Array = Any
LIBRARIES: dict[str, Callable[[Any], Any]] = {
    "numpy": lambda values: np.asarray(values, dtype=np.float64),
    "torch": lambda values: torch.as_tensor(np.asarray(values, dtype=np.float64)),
    "torch32": lambda values: torch.as_tensor(np.asarray(values, dtype=np.float32)),
}


@pytest.fixture(params=LIBRARIES)
def array(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return LIBRARIES[request.param]


def close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=0, atol=tolerance)


def triples(count: int = 1000, seed: int = 0) -> Array:
    """Random yaw, pitch, roll with |pitch|, |roll| < 89, away from the gimbal."""
    generator = np.random.default_rng(seed)
    ypr = generator.uniform(-1, 1, (count, 3)) * (180, 89, 89)
    return ypr[np.abs(np.abs(ypr[:, 0]) - 90) > 0.5]


def elementary(axis: str, degrees: Array) -> Array:
    return Rotation.from_euler(axis, np.asarray(degrees)[..., None], degrees=True).as_matrix()


# --- the canonical frame ------------------------------------------------------------------------

YPR = (20.0, 10.0, 30.0)  # pitch 10, yaw 20, roll 30
MATRIX = (
    (0.813798, -0.469846, 0.342020),
    (0.440970, 0.882564, 0.163176),
    (-0.378522, 0.018028, 0.925417),
)


def test_matrix_of_a_known_triple(array: Any) -> None:
    matrix = ypr_to_matrix(array(YPR))
    close(matrix, MATRIX, 1e-6)
    close(matrix_to_quaternion(matrix), (-0.038135, 0.189308, 0.239298, 0.951549), 1e-6)
    ypr, flags = matrix_to_ypr(matrix)
    close(ypr, YPR)
    assert not bool(flags.gimbal)
    assert not bool(flags.upside_down)


def test_matrix_is_the_product_of_elementary_rotations() -> None:
    ypr = triples()
    product = elementary("x", -ypr[:, 1]) @ elementary("y", ypr[:, 0]) @ elementary("z", ypr[:, 2])
    close(ypr_to_matrix(ypr), product, 1e-12)


@pytest.mark.parametrize(
    ("ypr", "direction"),
    [((90, 0, 0), (-1, 0, 0)), ((0, 30, 0), (0, -0.5, -0.866025)), ((0, 0, 77), (0, 0, -1))],
)
def test_face_direction(array: Any, ypr: Any, direction: Any) -> None:
    close(face_direction(ypr_to_matrix(array(ypr))), direction, 1e-6)


def test_triple_is_recovered_over_the_full_range(array: Any) -> None:
    ypr = triples()
    read, flags = matrix_to_ypr(ypr_to_matrix(array(ypr)))
    close(read, ypr, 2e-2 if read.dtype == torch.float32 else 1e-9)
    assert not flags.upside_down.any()
    assert not flags.gimbal.any()


def test_half_of_all_rotations_have_no_usual_triple() -> None:
    matrices = Rotation.random(20_000, rng=0).as_matrix()
    ypr, flags = matrix_to_ypr(matrices)
    assert flags.upside_down.mean() == pytest.approx(0.504, abs=0.012)  # three standard errors
    assert (np.abs(ypr[flags.upside_down, 0]) <= 90).all()
    assert (
        float(geodesic_deg(ypr_to_matrix(ypr), matrices).max()) < 1e-6
    )  # the same rotation all the same


def test_alias_of_a_triple_is_the_same_rotation() -> None:
    ypr = triples(100)
    alias = np.stack((180 - ypr[:, 0], ypr[:, 1] - 180, ypr[:, 2] - 180), -1)
    close(ypr_to_matrix(ypr), ypr_to_matrix(alias), 1e-12)


@pytest.mark.parametrize("yaw", [90.0, -90.0])
def test_gimbal_keeps_the_rotation_and_says_so(array: Any, yaw: float) -> None:
    matrix = ypr_to_matrix(array((yaw, 30, 20)))
    ypr, flags = matrix_to_ypr(matrix)
    assert bool(flags.gimbal)
    assert not bool(flags.upside_down)
    assert float(ypr[2]) == 0
    assert float(geodesic_deg(ypr_to_matrix(ypr), matrix)) < 1e-1


def test_nan_stays_nan_without_a_flag(array: Any) -> None:
    ypr, flags = matrix_to_ypr(array(np.full((2, 3, 3), np.nan)))
    assert np.isnan(np.asarray(ypr)).all()
    assert not flags.upside_down.any()
    assert not flags.gimbal.any()


def test_no_rotations_and_many_axes(array: Any) -> None:
    assert tuple(ypr_to_matrix(array(np.zeros((0, 3)))).shape) == (0, 3, 3)
    assert tuple(matrix_to_ypr(array(np.zeros((0, 3, 3))))[0].shape) == (0, 3)
    assert tuple(ypr_to_matrix(array(np.zeros((2, 5, 3)))).shape) == (2, 5, 3, 3)
    assert tuple(geodesic_deg(array(np.zeros((0, 3, 3))), array(np.eye(3))).shape) == (0,)


# --- the conventions of data sets and networks --------------------------------------------------


def stored(name: str, ypr: Array) -> Array:
    """The matrix that each source stores for a triple, from its own formula."""
    yaw, pitch, roll = ypr.T
    x, y, z = (elementary("x", pitch), elementary("y", yaw), elementary("z", roll))
    transpose = (0, 2, 1)
    r_300 = x.transpose(transpose) @ y.transpose(transpose) @ z.transpose(transpose)
    if name in ("300wlp", "dad3d"):
        return r_300
    if name == "6drepnet":
        return z @ y @ x
    if name == "draw_axis":
        return x @ elementary("y", -yaw) @ z
    if name == "img2pose":  # extrinsic xyz angles of the transpose are (pitch, -yaw, -roll)
        return (
            Rotation.from_euler("xyz", np.stack((pitch, -yaw, -roll), -1), degrees=True)
            .inv()
            .as_matrix()
        )
    return ypr_to_matrix(ypr)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_convention_gives_the_same_rotation(name: str) -> None:
    ypr = triples()
    expected = ypr_to_matrix(ypr)
    close(convert(stored(name, ypr), name), expected, 1e-12)
    close(convert(expected, "cv", name), stored(name, ypr), 1e-12)


def test_convert_works_on_tensors_and_between_two_sources() -> None:
    ypr = triples(50)
    found = convert(torch.as_tensor(stored("6drepnet", ypr)), "6drepnet", "draw_axis")
    close(found, stored("draw_axis", ypr), 1e-12)


def test_biwi_angles_follow_hopenet() -> None:
    ypr = np.array([[30.0, -20.0, 10.0]])
    r = ypr_to_matrix(ypr)[0].T  # HopeNet transposes the file's matrix first
    roll = -math.degrees(math.atan2(r[1, 0], r[0, 0]))
    yaw = -math.degrees(math.atan2(-r[2, 0], math.hypot(r[2, 1], r[2, 2])))
    pitch = math.degrees(math.atan2(r[2, 1], r[2, 2]))
    close((yaw, pitch, roll), ypr[0], 1e-9)


def test_unknown_convention_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"hopenet.*6drepnet"):
        convert(np.eye(3), "hopenet")


def test_euler_signs(array: Any) -> None:
    close(ypr_from(array((20, 10, 30)), "opal23"), (-20, 10, 30))
    close(ypr_from(array((20, 10, 30)), "300wlp"), (20, 10, 30))


def test_angles_as_shares_of_their_range(array: Any) -> None:
    shares = ypr_to_unit(array((170, -30, 12)))
    close(shares, (0.972222, 0.333333, 0.566667))
    close(unit_to_ypr(shares), (170, -30, 12), tolerance=1e-4)
    close(unit_to_ypr(array((0.5, 0.5, 0.5))), (0, 0, 0))


def test_radians_are_noticed() -> None:
    with pytest.raises(InputError, match=r"look like radians \(\|max\| 1.7"):
        require_degrees(np.full((12, 3), 1.7), name="labels")
    require_degrees(np.full((12, 3), 45.0))
    require_degrees(np.zeros((2, 3)))  # too few to tell


# --- other forms --------------------------------------------------------------------------------


def test_gram_schmidt_of_known_vectors(array: Any) -> None:
    matrix = sixd_to_matrix(array((1, 1, 0, 0, 1, 1)))
    columns = (
        (0.707107, 0.707107, 0),
        (-0.408248, 0.408248, 0.816497),
        (0.577350, -0.577350, 0.577350),
    )
    close(matrix, np.transpose(columns), 1e-6)
    ypr, _ = matrix_to_ypr(convert(matrix, "6drepnet"))
    close(ypr, (0, 54.735610, 45), 1e-4)


def test_parallel_or_zero_vectors_give_nan(array: Any) -> None:
    matrix = sixd_to_matrix(
        array([[1, 2, 3, 2, 4, 6], [0] * 6, [1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 1, 0]])
    )
    assert np.isnan(np.asarray(matrix[:3])).all()
    close(matrix[3], np.eye(3))


def test_gradient_of_six_numbers_is_finite_everywhere() -> None:
    sixd = torch.tensor([[0.0] * 6, [1, 0, 0, 0, 1, 0]], requires_grad=True)
    matrix = sixd_to_matrix(sixd)
    torch.nan_to_num(matrix).sum().backward()
    assert torch.isfinite(sixd.grad).all()


def test_forms_round_trip(array: Any) -> None:
    matrix = array(Rotation.random(500, rng=1).as_matrix())
    close(sixd_to_matrix(matrix_to_sixd(matrix)), matrix)
    quaternion = matrix_to_quaternion(matrix)
    assert (quaternion[:, 3] >= 0).all()
    close(quaternion_to_matrix(quaternion), matrix)


def test_quaternions_agree_with_scipy() -> None:
    rotations = Rotation.random(500, rng=2)
    close(matrix_to_quaternion(rotations.as_matrix()), rotations.as_quat(canonical=True), 1e-12)
    close(quaternion_to_matrix(3 * rotations.as_quat()), rotations.as_matrix(), 1e-12)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_have_a_quaternion(array: Any, axis: int) -> None:
    matrix = -np.eye(3)
    matrix[axis, axis] = 1
    quaternion = np.abs(np.asarray(matrix_to_quaternion(array(matrix))))
    close(quaternion, np.eye(4)[axis])


def test_zero_quaternion_is_nan(array: Any) -> None:
    assert np.isnan(np.asarray(quaternion_to_matrix(array((0, 0, 0, 0))))).all()


# --- errors -------------------------------------------------------------------------------------


def test_known_errors(array: Any) -> None:
    a, b = array(np.eye(3)), ypr_to_matrix(array(YPR))
    assert float(geodesic_deg(a, b)) == pytest.approx(35.817101, abs=2e-5)
    close(vector_errors_deg(a, b), (35.531348, 28.046764, 22.268744), 2e-5)
    assert float(mean_vector_error_deg(a, b)) == pytest.approx(28.615619, abs=2e-5)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((170, 0, 0), (-170, 0, 0), 20),
        ((10, 170, 170), (170, -10, -10), 0),
        ((89, 0, 0), (89, 40, 40), 0.684),
        ((89, 0, 0), (89, 40, -40), 79.997),
        ((0, 0, 0), (180, 0, 0), 180),
        ((0, 0, 0), (359, 0, 0), 1),
    ],
)
def test_geodesic_angle_knows_no_seam(a: Any, b: Any, expected: float) -> None:
    one, other = ypr_to_matrix(np.array(a, float)), ypr_to_matrix(np.array(b, float))
    assert float(geodesic_deg(one, other)) == pytest.approx(expected, abs=5e-4)


def test_small_angles_survive_single_precision() -> None:
    a = ypr_to_matrix(torch.zeros(3))
    b = ypr_to_matrix(torch.tensor([0.01, 0.0, 0.0]))
    assert float(geodesic_deg(a, b)) == pytest.approx(0.01, rel=1e-3)  # acos has a floor of 0.0256


def test_geodesic_agrees_with_scipy_and_broadcasts() -> None:
    one, other = Rotation.random(200, rng=3), Rotation.random(200, rng=4)
    expected = np.degrees((one.inv() * other).magnitude())
    close(geodesic_deg(one.as_matrix(), other.as_matrix()), expected, 1e-9)
    assert geodesic_deg(one.as_matrix()[:, None], other.as_matrix()[None, :5]).shape == (200, 5)


# --- pictures that are turned, angles that wrap -------------------------------------------------


def test_flip_and_turn_of_the_picture(array: Any) -> None:
    matrix = ypr_to_matrix(array(YPR))
    close(matrix_to_ypr(mirror(matrix))[0], (-20, 10, -30), 1e-4)
    turned, _ = matrix_to_ypr(rotate_in_plane(matrix, 15.0))
    close(turned, (16.746218, 14.894382, 45.436807), 1e-4)


def test_line_of_sight_turns_the_axes_of_a_head(array: Any) -> None:
    """A head that looks along the optical axis, seen 45 degrees off it, shows its side."""
    straight = array(np.broadcast_to(np.eye(3), (3, 3, 3)).copy())
    rays = array(np.array([[0.0, 0.0, 7.0], [1.0, 0.0, 1.0], [0.0, 2.0, 2.0]]))
    ypr = matrix_to_ypr(to_allocentric(straight, rays))[0]
    np.testing.assert_allclose(np.asarray(ypr), [[0, 0, 0], [-45, 0, 0], [0, -45, 0]], atol=1e-4)


def test_wrap(array: Any) -> None:
    close(
        wrap_deg(array((0, 180, -180, 181, -181, 360, 540, 359, -0.25, 1e-9))),
        (0, 180, 180, -179, 179, 0, 180, -1, -0.25, 1e-9),
        1e-12,
    )


@given(st.floats(-1e6, 1e6))
def test_wrap_stays_in_range_and_keeps_the_direction(degrees: float) -> None:
    wrapped = float(wrap_deg(np.array(degrees)))
    assert -180 < wrapped <= 180
    assert math.cos(math.radians(wrapped - degrees)) == pytest.approx(1, abs=1e-9)


def test_circular_mean(array: Any) -> None:
    assert float(circular_mean_deg(array((359, 1)))) == pytest.approx(0, abs=1e-4)
    assert float(circular_mean_deg(array((170, -170)))) == pytest.approx(180, abs=1e-4)
    assert float(circular_mean_deg(array((0, 90)), array((1, 0)))) == pytest.approx(0, abs=1e-4)
    assert math.isnan(float(circular_mean_deg(array((0, 180)))))
    assert tuple(circular_mean_deg(array(np.zeros((4, 2, 3)))).shape) == (4, 2)


angle = st.floats(-89, 89)


@given(st.tuples(st.floats(-180, 180), angle, angle))
def test_every_form_describes_one_rotation(ypr: tuple[float, float, float]) -> None:
    matrix = ypr_to_matrix(np.array(ypr))
    for other in (
        ypr_to_matrix(matrix_to_ypr(matrix)[0]),
        quaternion_to_matrix(matrix_to_quaternion(matrix)),
        sixd_to_matrix(matrix_to_sixd(matrix)),
        mirror(mirror(matrix)),
        rotate_in_plane(rotate_in_plane(matrix, 33), -33),
    ):
        # Within the gimbal's limit the triple is exact to sqrt(2e-7) rad only.
        assert float(geodesic_deg(matrix, other)) < 0.03


@given(st.tuples(st.floats(-180, 180), angle, angle), st.tuples(st.floats(-3, 3), st.floats(-3, 3)))
def test_both_frames_lie_one_line_of_sight_apart(
    ypr: tuple[float, float, float], slope: tuple[float, float]
) -> None:
    rotation, ray = ypr_to_matrix(np.array(ypr)), np.array([*slope, 1.0])
    seen = to_allocentric(rotation, ray)
    np.testing.assert_allclose(to_egocentric(seen, ray), rotation, atol=1e-12)
    np.testing.assert_allclose(
        geodesic_deg(seen, rotation), math.degrees(math.atan(math.hypot(*slope))), atol=1e-5
    )
    looks_back = to_allocentric(np.eye(3), ray) @ ray  # the ray itself lands on the axis
    np.testing.assert_allclose(looks_back, [0, 0, np.linalg.norm(ray)], atol=1e-12)


def test_speed_of_the_converters() -> None:
    """A tenth of the target of a million rotations a second, so that a busy machine passes."""
    import time

    ypr = np.random.default_rng(0).uniform(-80, 80, (50_000, 3))
    start = time.perf_counter()
    ypr_to_matrix(ypr)
    assert len(ypr) / (time.perf_counter() - start) > 1e5
