"""Sensitivities: no neighbours' releases are farther apart than what is charged for, and rows can come close to it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chain.fixedpoint import squared_norm, to_float
from chain.number import Number
from fl.dataset import Dataset, DenseData, to_sparse
from fl.kernels import private_reference as reference
from fl.models.shape import PassLimits
from fl.payload import bound_squared
from fl.plan.schema import AlgorithmSpec, FedAvg, FedSvrg
from fl.privacy.clipping import clipped_gradients, row_clip
from fl.privacy.sensitivity import is_bounded_pass, is_single_step, l1_sensitivity, sensitivity_squared
from fl.problem import Problem
from tests.fl.privacy.neighbours import (
    EPOCHS,
    ONE_STEP,
    SVRG,
    Unit,
    algorithms,
    as_kind,
    extreme_rows,
    hides,
    private_problem,
    scenes,
    with_rows,
)
from tests.fl.problems import random_data
from tests.fl.test_kernels import a_rule, as_lists, as_reference

MODELS = [
    ("linear", 2, ()),
    ("logistic", 2, ()),
    ("softmax", 3, ()),
    ("logistic", 2, ((3, "tanh"),)),
]


def distance_squared(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    return sum(int(a - b) ** 2 for a, b in zip(one.tolist(), other.tolist(), strict=True))


@pytest.mark.parametrize("algorithm", algorithms())
@pytest.mark.parametrize(("model", "classes", "hidden"), MODELS)
@given(seed=st.integers(0, 10**6), unit=st.sampled_from(["record", "device"]), is_sparse=st.booleans())
@settings(max_examples=5, deadline=None)
def test_neighbours_are_no_farther_apart_than_the_sensitivity(
    algorithm: AlgorithmSpec, model: str, classes: int, hidden: tuple, seed: int, unit: Unit, is_sparse: bool
) -> None:
    """One row, or all, replaced by extreme ones: every algorithm, every kind of model, dense and sparse rows."""
    problem = private_problem(4, model, hides(unit), classes=classes, hidden=hidden, algorithm=algorithm)
    random = np.random.default_rng(seed)
    size = int(random.integers(2, 40))
    data = extreme_rows(problem, size, random) if seed % 2 else random_data(problem, size, seed)
    assert isinstance(data, DenseData)
    changed = extreme_rows(problem, 1 if unit == "record" else size, random)
    where = int(random.integers(0, size)) if unit == "record" else 0
    for scene in scenes(problem, size, seed):
        one = scene.train(as_kind(data, is_sparse))
        other = scene.train(as_kind(with_rows(data, where, changed), is_sparse))
        assert distance_squared(one, other) <= sensitivity_squared(problem.plan, scene.phase, size)


def test_a_vector_may_spread_its_length_over_all_coordinates() -> None:
    """The L1 sensitivity is √d times the other, not less: equal coordinates use it up."""
    for features in (1, 7, 1000):
        plan = private_problem(features).plan
        for phase in (0, 1):
            squared = sensitivity_squared(plan, phase, 30)
            assert l1_sensitivity(plan, phase, 30) ** 2 <= (features + 1) * squared
            assert (l1_sensitivity(plan, phase, 30) + 1) ** 2 > (features + 1) * squared


def far_apart(problem: Problem, size: int, phase: int) -> float:
    """Return how much of the sensitivity two opposite first rows use up."""
    x, y = np.zeros((size, problem.features)), np.zeros(size)
    x[0], y[0] = 1.0, 1.0
    other = DenseData(-x, y)
    scene = list(scenes(problem, size, 1))[phase]
    moved = distance_squared(scene.train(DenseData(x, y)), scene.train(other))
    return float(np.sqrt(moved / sensitivity_squared(problem.plan, phase, size)))


@pytest.mark.parametrize("algorithm", [SVRG, ONE_STEP])
def test_a_row_can_use_up_nearly_all_of_what_is_charged_for_it(algorithm: AlgorithmSpec) -> None:
    """The bound is no wild guess: opposite rows whose gradients are clipped come within some percent of it."""
    problem = private_problem(4, algorithm=algorithm, sample_clip="0.1", l2="0", intercept=False)
    assert far_apart(problem, 20, 0) > 0.9


def test_a_pass_of_federated_svrg_hides_a_row_the_better_the_more_there_are() -> None:
    """Its sensitivity is 2·step·clip/n_k and little more; the whole update's clip is all that a network has."""
    convex = private_problem(30, "logistic", sample_clip="1", update_clip="10")
    network = private_problem(30, "logistic", sample_clip="1", update_clip="10", hidden=((3, "tanh"),))
    for samples in (10, 100, 1000):
        moved = sensitivity_squared(convex.plan, 1, samples) ** 0.5 / 2.0**convex.fraction_bits
        assert 1.0 <= moved / (2 * 0.5 / samples) < 1.001
        whole = sensitivity_squared(network.plan, 1, samples) ** 0.5 / 2.0**network.fraction_bits
        assert whole == pytest.approx(20.0)


def test_a_step_that_would_part_trajectories_is_made_smaller() -> None:
    """With a step of 100 rows of length 2 are far too steep: without the bound of their weight neighbours part."""
    problem = private_problem(4, "linear", algorithm=FedSvrg(Number.of(100), False, False), update_clip="1000")
    random = np.random.default_rng(3)
    data = extreme_rows(problem, 30, random)
    assert is_bounded_pass(problem.plan, 30)
    scene = list(scenes(problem, 30, 5))[1]
    for number in range(10):
        other = with_rows(data, number, extreme_rows(problem, 1, random))
        moved = distance_squared(scene.train(data), scene.train(other))
        assert moved <= sensitivity_squared(problem.plan, 1, 30)


def test_which_updates_are_bounded_follows_from_the_plan() -> None:
    """One step over all rows for any model; passes for convex models; else the whole update's clip."""
    assert is_single_step(private_problem(3, algorithm=ONE_STEP).plan)
    assert not is_single_step(private_problem(3, algorithm=FedAvg(Number.of(1), 1, 999)).plan)
    assert not is_single_step(private_problem(3, algorithm=ONE_STEP, privacy=hides("device")).plan)
    assert is_bounded_pass(private_problem(3, algorithm=EPOCHS).plan, 5)
    assert not is_bounded_pass(private_problem(3, algorithm=EPOCHS, hidden=((2, "relu"),)).plan, 5)
    assert not is_bounded_pass(private_problem(3, algorithm=EPOCHS, privacy=hides("device")).plan, 5)
    assert not is_bounded_pass(private_problem(3, l2="20").plan, 5), "the L2 term alone turns every step round"


def test_every_rows_part_of_a_sum_is_exactly_within_the_clip() -> None:
    """Part by part, in exact integers: from tiny to huge gradients."""
    problem = private_problem(6, "linear", sample_clip="0.3")
    allowed = bound_squared(Number.of("0.3").fraction(), problem.fraction_bits)
    random = np.random.default_rng(4)
    for scale in (1e-200, 1e-9, 1.0, 1e9, 1e160):
        rows = DenseData(random.normal(0, 1, (20, 6)) * scale, random.normal(0, 1, 20))
        for i in range(20):
            alone = DenseData(rows.x[i : i + 1], rows.y[i : i + 1])
            part = clipped_gradients(problem, np.ones(problem.dimension), alone)
            assert squared_norm(part) <= allowed
        whole = clipped_gradients(problem, np.ones(problem.dimension), rows)
        parts = [
            clipped_gradients(problem, np.ones(problem.dimension), DenseData(rows.x[i : i + 1], rows.y[i : i + 1]))
            for i in range(20)
        ]
        assert np.array_equal(whole, np.sum(parts, axis=0)), "a sum is the sum of its rows' parts, to the unit"


@pytest.mark.parametrize("unit", ["record", "device"])
def test_no_rows_make_a_device_fail_or_stay_silent(unit: Unit) -> None:
    """Training that leaves the range of numbers gives a release of noise alone, since silence tells something."""
    problem = private_problem(2, "linear", hides(unit), algorithm=FedAvg(Number.of(10**9), 5, 1), update_clip="1")
    huge = DenseData(np.full((9, 2), 1e300), np.full(9, 1e300))
    for scene in scenes(problem, 9, 1):
        assert not scene.train(huge).any() or squared_norm(scene.train(huge)) <= bound_squared(
            Number.of(1).fraction(), problem.fraction_bits
        )
    gradients = private_problem(2, "linear", hides(unit))
    assert not next(iter(scenes(gradients, 9, 1))).train(DenseData(np.full((9, 2), 1e300), np.full(9, 1e300))).any()


@pytest.mark.parametrize(("model", "classes"), [("linear", 2), ("logistic", 2), ("softmax", 3)])
@given(seed=st.integers(0, 10**6), is_sparse=st.booleans(), intercept=st.booleans(), batch=st.sampled_from([1, 3, 50]))
@settings(max_examples=5, deadline=None)
def test_the_kernels_give_the_bits_of_the_readable_reference(
    model: str, classes: int, seed: int, is_sparse: bool, intercept: bool, batch: int
) -> None:
    """Clipped sums and bounded passes, dense and sparse."""
    problem = private_problem(5, model, classes=classes, intercept=intercept)
    random = np.random.default_rng(seed)
    dense = random_data(problem, 12, seed, density=0.6)
    assert isinstance(dense, DenseData)
    data: Dataset = to_sparse(dense) if is_sparse else dense
    weights = random.normal(0.0, 1.0, problem.dimension)
    known = (problem.model.loss, as_lists(data), data.y.tolist(), weights.tolist(), 5, problem.model.classes)
    clip = row_clip(problem)
    found = problem.model.clipped_sum(weights, data, clip, problem.fraction_bits)
    expected = reference.clipped_sum(*known, is_sparse=is_sparse, unit=2.0**problem.fraction_bits, clip=clip)
    assert found.tolist() == expected
    for corrected in (True, False):
        rule = a_rule(problem.model, 12, batch, corrected, random)
        limits = PassLimits(clip=0.4, room=3.0, box=0.2)
        run = problem.model.bounded_pass(weights, data, rule, limits, np.zeros(problem.dimension))
        again = reference.bounded_pass(*known, as_reference(rule), is_sparse=is_sparse, clip=0.4, room=3.0, box=0.2)
        assert run.tolist() == again


def test_dense_and_sparse_rows_give_the_same_clipped_sums() -> None:
    """Networks unroll sparse rows; others read them as they are: the same integers."""
    for model, classes, hidden in MODELS:
        problem = private_problem(7, model, classes=classes, hidden=hidden)
        data = random_data(problem, 30, 5, density=0.4)
        assert isinstance(data, DenseData)
        weights = to_float(next(scenes(problem, 5, 1)).model, problem.fraction_bits)
        dense, sparse = (clipped_gradients(problem, weights, part) for part in (data, to_sparse(data)))
        assert np.abs(dense - sparse).max() <= 30, "outputs differ in their last bit: by a unit a row at most"
