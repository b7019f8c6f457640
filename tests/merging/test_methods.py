"""Every method: answers worked by hand, properties, and parity with peft's tensor functions."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft.utils import merge_utils

from headsight.errors import ConfigError, InputError
from headsight.merging import METHODS, Params, merge_tensors, parse_threshold
from headsight.merging.changes import kept_by_chance
from headsight.merging.moments import Moments, exact_moments, moments
from headsight.merging.selection import decide, takes_expert

B, A, C = np.array([1, 2, -1, 0.5]), np.array([2, 2, -3, 1.5]), np.array([1.5, 1, -0.5, -0.5])


def merged(method: str, *tensors, base=B, **params) -> list[float]:
    return merge_tensors(method, base, tensors, Params(**params)).tolist()


def test_task_arithmetic() -> None:
    """Changes of A: 1, 0, -2, 1; of C: .5, -1, .5, -1."""
    assert merged("task_arithmetic", A, C, weights=(0.5, 0.25)) == [1.625, 1.75, -1.875, 0.75]
    halves = pytest.approx([1.6, 1.6, -1.6, 0.5], abs=1e-6)
    assert merged("task-arithmetic", A, C, scale=0.4) == halves


def test_forgetting_by_a_negative_weight() -> None:
    assert merged("task-arithmetic", A, weights=(-1.0,)) == [0, 2, 1, -0.5]


def test_slerp() -> None:
    """cos(B, A) = 9.75 / sqrt(6.25 * 19.25) = .8888925."""
    half = [1.5434858, 2.0579810, -2.0579810, 1.0289905]
    quarter = [1.2807961, 2.0434345, -1.5398750, 0.7699375]
    assert merged("slerp", A, t=0.5) == pytest.approx(half, abs=2e-7)
    assert merged("slerp", A, t=0.25) == pytest.approx(quarter, abs=2e-7)
    assert merged("slerp", A, t=0.0) == B.tolist()
    assert merged("slerp", A, t=1.0) == A.tolist()


def test_slerp_of_nearly_parallel_tensors_is_a_line() -> None:
    near = B * 1.001
    expected = (0.5 * B.astype(np.float32) + 0.5 * near.astype(np.float32)).tolist()
    assert merged("slerp", near, t=0.5) == expected


def test_slerp_from_zero() -> None:
    assert merged("slerp", A, base=np.zeros(4), t=1.0) == A.tolist()


def test_linear() -> None:
    assert merged("linear", B, A, weights=(1.0, 3.0)) == [1.75, 2, -2.5, 1.25]
    assert merged("linear", B, A, weights=(1.0, 3.0), normalize=False) == [7, 8, -10, 5]
    with pytest.raises(ConfigError, match="add up to 0"):
        merged("linear", B, A, weights=(1.0, -1.0))


TIES_B = np.array([1, 2, -1, 0.5, 0])
TIES_A, TIES_C = np.array([2.25, 2.1, -3, 1.5, 0.25]), np.array([1.5, 1, -0.25, -1, -0.25])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [2.25, 1, -3, -1, 0]),
        ({"weights": (0.6, 0.3)}, [2.25, 1, -3, 1.5, 0]),
        ({"weights": (0.6, 0.3), "normalize": False}, [1.75, 1.7, -2.2, 1.1, 0]),
        (
            {"weights": (0.6, 0.3), "sign_weights": False, "divide_by": "count"},
            [1.75, 1.7, -2.2, 0.05, 0],
        ),
    ],
)
def test_ties(params: dict, expected: list[float]) -> None:
    """3 of 5 changes stay: of A 1.25, -2, 1; of C -1, .75, -1.5."""
    found = merged("ties", TIES_A, TIES_C, base=TIES_B, densities=(0.6, 0.6), **params)
    assert found == pytest.approx(expected, abs=2e-7)


def test_ties_keeps_at_least_one_change() -> None:
    assert merged("ties", A, densities=(0.01,)) == [1, 2, -3, 0.5]


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1))
def test_ties_keeps_the_largest_changes(seed: int, density: float) -> None:
    """Of a long tensor as of a short one, found by sampling and then counting exactly."""
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 5000)) if seed % 8 else 200_000
    delta = random.standard_normal(size).astype(np.float32)
    kept = merge_tensors("ties", np.zeros(size), [delta], Params(densities=(density,)))
    count = max(int(density * size), 1)
    assert np.count_nonzero(kept) == count
    largest = np.sort(np.abs(delta))[-count]
    np.testing.assert_array_equal(kept, np.where(np.abs(delta) >= largest, delta, 0))


def test_ties_where_most_changes_are_alike() -> None:
    """A guess from a sample cannot separate them; equals are all kept."""
    delta = np.zeros(300_000, np.float32)
    delta[::3] = 1
    delta[7] = 2
    kept = merge_tensors("ties", np.zeros_like(delta), [delta], Params(densities=(0.1,)))
    np.testing.assert_array_equal(kept, delta)


def test_ties_of_sorted_changes() -> None:
    """The order of the numbers must not mislead the sample."""
    delta = np.arange(400_000, dtype=np.float32)
    kept = merge_tensors("ties", np.zeros_like(delta), [delta], Params(densities=(0.25,)))
    assert np.count_nonzero(kept) == 100_000
    assert kept[300_000:].all()


def test_ties_parity_with_peft() -> None:
    random = np.random.default_rng(0)
    deltas = random.standard_normal((3, 40, 30)).astype(np.float32)
    weights, density = (0.7, 0.2, 0.5), 0.3
    theirs = merge_utils.ties(
        [torch.from_numpy(d) for d in deltas], torch.tensor(weights), density
    ).numpy()
    params = Params(
        weights=weights, densities=(density,) * 3, sign_weights=False, divide_by="count"
    )
    ours = merge_tensors("ties", np.zeros((40, 30)), list(deltas), params)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-7)


def test_task_arithmetic_parity_with_peft() -> None:
    deltas = np.random.default_rng(0).standard_normal((3, 40, 30)).astype(np.float32)
    theirs = merge_utils.task_arithmetic(
        [torch.from_numpy(d) for d in deltas], torch.tensor((0.7, 0.2, 0.5))
    ).numpy()
    ours = merge_tensors(
        "task-arithmetic", np.zeros((40, 30)), list(deltas), Params(weights=(0.7, 0.2, 0.5))
    )
    np.testing.assert_array_equal(ours, theirs)


def test_dare_that_drops_nothing_is_ties_that_trims_nothing() -> None:
    weights = (0.6, 0.3)
    dare = merged("dare-ties", TIES_A, TIES_C, base=TIES_B, weights=weights)
    assert dare == merged("ties", TIES_A, TIES_C, base=TIES_B, weights=weights)
    linear = merged("dare-linear", A, C, weights=weights)
    assert linear == merged("task-arithmetic", A, C, weights=weights)


def test_dare_rescales() -> None:
    """What is kept is the change over the density, or by mergekit's rule of equal magnitude."""
    delta = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    zero = np.zeros_like(delta)
    paper = merge_tensors("dare-linear", zero, [delta], Params(densities=(0.25,), key="x"))
    is_kept = paper != 0
    np.testing.assert_array_equal(paper[is_kept], 4 * delta[is_kept])
    assert abs(is_kept.mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 10_000)
    l1 = merge_tensors(
        "dare-linear", zero, [delta], Params(densities=(0.25,), key="x", rescale="l1")
    )
    assert np.abs(l1).sum() == pytest.approx(np.abs(delta).sum(), rel=1e-5)


def test_dare_is_task_arithmetic_on_average() -> None:
    """Over 200 seeds the mean is within 3 standard errors, in 99 % of the numbers."""
    random = np.random.default_rng(1)
    base, model = random.standard_normal((2, 300)).astype(np.float32)
    runs = np.stack(
        [
            merge_tensors("dare-linear", base, [model], Params(densities=(0.5,), seed=seed))
            for seed in range(200)
        ]
    )
    error = np.abs(runs.mean(0) - model) / (runs.std(0, ddof=1) / math.sqrt(200))
    assert (error < 3).mean() > 0.99


@given(st.integers(0, 5000), st.integers(0, 300))
def test_chance_does_not_depend_on_pieces(start: int, count: int) -> None:
    params = Params(densities=(0.5,), key="a.weight")
    whole = kept_by_chance(params, 0, 0, 5400)
    np.testing.assert_array_equal(kept_by_chance(params, 0, start, count), whole[start:][:count])


def test_chance_depends_on_seed_name_and_model() -> None:
    drawn = [
        kept_by_chance(Params(densities=(0.5, 0.5), seed=seed, key=key), index, 0, 400)
        for seed, key, index in ((0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1))
    ]
    for i, one in enumerate(drawn):
        for two in drawn[:i]:
            assert 0.3 < (one == two).mean() < 0.7


def shear(t: float) -> np.ndarray:
    return np.array([[1, t], [0, 1]])


@pytest.mark.parametrize(
    ("t", "cosine"), [(0.3, 0.978232), (0.4, 0.962250), (0.46, 0.950959), (0.5, 0.942809)]
)
def test_cosine(t: float, cosine: float) -> None:
    """cos(I, shear) = 2 / sqrt(2 * (2 + t^2))."""
    identity = np.eye(2, dtype=np.float32).reshape(-1)
    other = shear(t).astype(np.float32).reshape(-1)
    assert moments(identity, other).cosine == pytest.approx(cosine, abs=1e-6)
    won = merge_tensors("layer-cosine", np.eye(2), [shear(t)], Params(threshold=0.95))
    expected = shear(t) if cosine > 0.95 else np.eye(2)
    np.testing.assert_array_equal(won, expected.astype(np.float32))


def test_cosine_of_multiples() -> None:
    assert merged("layer-cosine", 2 * B, threshold=0.999999) == (2 * B).tolist()
    assert merged("layer-cosine", -B, threshold=-1.0) == B.tolist()  # never above -1
    assert merged("layer-cosine", A, threshold=-1.0) == A.tolist()
    assert merged("layer-cosine", A, threshold=1.0) == B.tolist()


@pytest.mark.parametrize(
    ("threshold", "ratio"),
    [(0.90, 0.484), (0.92, 0.426), (0.95, 0.3287), (0.98, 0.2031), (0.99, 0.1425)],
)
def test_an_orthogonal_change_wins_up_to_a_known_length(threshold: float, ratio: float) -> None:
    weight, step = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    for factor, wins in ((0.995, True), (1.005, False)):
        other = weight + factor * ratio * step
        found = merge_tensors("layer-cosine", weight, [other], Params(threshold=threshold))
        assert bool(found[1]) is wins


def test_zero_units() -> None:
    """Only two zeros are alike."""
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert takes_expert(moments(zero, zero), 0.95)
    assert not takes_expert(moments(zero, one), -0.5)
    assert not takes_expert(moments(one, zero), -0.5)


DECISIONS = """
import numpy as np
from headsight.merging import METHODS, Params
from headsight.merging.blocks import WholeBlocks
from headsight.merging.numbers import narrow, widen

random = np.random.default_rng(0)
first = random.standard_normal((10_000, 64))
second = first + random.standard_normal((10_000, 64)) * random.uniform(0.32, 0.34, (10_000, 1))
one, two = (
    widen(narrow(x.astype(np.float32).reshape(-1), "BF16"), "BF16").reshape(x.shape)
    for x in (first, second)
)
survey, params = METHODS["layer-cosine"].survey, Params(threshold=0.95)
ours = [survey(WholeBlocks(a, (b,)), params) for a, b in zip(one, two)]
one, two = one.astype(np.float64), two.astype(np.float64)
norms = np.sqrt((one**2).sum(1) * (two**2).sum(1))
assert ours == ((one * two).sum(1) / norms > 0.95).tolist()
assert 1000 < sum(ours) < 9000
"""


def test_decisions_of_bf16_are_those_of_float64() -> None:
    """10,000 units at and around the threshold; a process of its own leaves shapes unchecked."""
    subprocess.run([sys.executable, "-c", DECISIONS], check=True)


def test_quantile() -> None:
    """Of five changed units the two least alike stay; one that is equal does not count."""
    near = {c: Moments(c, 1.0, 1.0, 2 - 2 * c) for c in (0.99, 0.5, 0.9, 0.7, 0.999)}
    units = {f"u{c}": found for c, found in near.items()} | {"same": Moments(1.0, 1.0, 1.0, 0.0)}
    chosen = decide(units, parse_threshold("quantile:0.4"))
    assert [name for name, wins in chosen.items() if not wins] == ["u0.5", "u0.7"]
    assert all(decide(units, parse_threshold("quantile:0")).values())


@pytest.mark.parametrize("text", ["high", "quantile:2", "quantile:", "nan", "quantile:-1"])
def test_thresholds_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a cosine such as 0\.95"):
        parse_threshold(text)


@given(st.integers(0, 2**32 - 1))
def test_sums_add_up(seed: int) -> None:
    random = np.random.default_rng(seed)
    one, two = random.standard_normal((2, 20_000)).astype(np.float32)
    cut = int(random.integers(0, 20_000))
    parts = moments(one[:cut], two[:cut]) + moments(one[cut:], two[cut:])
    exact = exact_moments(one, two)
    for name, value in vars(parts).items():
        assert value == pytest.approx(getattr(exact, name), rel=1e-5, abs=1e-2)
    assert parts.relative_norm == pytest.approx(
        np.linalg.norm(two - one) / np.linalg.norm(one), rel=1e-5
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_model_merged_with_itself_stays(method: str) -> None:
    found = merge_tensors(method, B, [B], Params(densities=(0.5,)))
    np.testing.assert_allclose(found, B, rtol=1e-7)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(0,), (), (1, 1), (3, 0, 2)])
def test_every_shape(method: str, shape: tuple[int, ...]) -> None:
    found = merge_tensors(method, np.ones(shape), [np.ones(shape)])
    assert found.shape == shape
    np.testing.assert_array_equal(found, np.ones(shape))


@pytest.mark.parametrize("method", ["task-arithmetic", "ties", "linear"])
@given(order=st.permutations(range(3)))
def test_the_order_of_models_does_not_matter(method: str, order: list[int]) -> None:
    models = np.random.default_rng(3).standard_normal((3, 50)).astype(np.float32)
    weights = (0.5, 0.3, 0.9)
    one = merge_tensors(
        method, models.mean(0), list(models), Params(weights=weights, densities=(0.6,) * 3)
    )
    two = merge_tensors(
        method,
        models.mean(0),
        [models[i] for i in order],
        Params(weights=tuple(weights[i] for i in order), densities=(0.6,) * 3),
    )
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)


def test_inputs_stay_as_they_are() -> None:
    base, model = B.astype(np.float32), A.astype(np.float32)
    for method in METHODS:
        merge_tensors(method, base, [model], Params(densities=(0.5,)))
    np.testing.assert_array_equal(base, B)
    np.testing.assert_array_equal(model, A)


def test_wrong_calls() -> None:
    with pytest.raises(ConfigError, match="Did you mean ties"):
        merge_tensors("tiess", B, [A])
    with pytest.raises(InputError, match="slerp needs 1 model beside the base; found 2"):
        merge_tensors("slerp", B, [A, C])
    with pytest.raises(InputError, match="none is given"):
        merge_tensors("ties", None, [A])
    with pytest.raises(InputError, match="expected one shape"):
        merge_tensors("ties", B, [A[:2]])
    with pytest.raises(ConfigError, match="density is 0"):
        Params(densities=(0.0,))
    with pytest.raises(ConfigError, match="rescale is 'l2'"):
        Params(rescale="l2")
